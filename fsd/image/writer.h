/*
 * Writing an ext4 by libext2fs: contents first, straight to runs of blocks in the sparse file; inodes, folders and bitmaps at the end, once. (design: facts on
 * images, 3.)
 */
#ifndef BANGER_IMAGE_WRITER_H
#define BANGER_IMAGE_WRITER_H

#include "image/tree.h"

#define WRITER_BLOCK 4096u

struct writer;

struct writer_shape {
	uint64_t size;    /* of the file system, bytes */
	uint64_t inodes;  /* 0: one for 16 KiB */
	uint64_t journal; /* bytes, 0: none */
	const char
		*seed; /* of uuid and hash seed; the same seed and input make the same bytes. NULL: random */
};

/* Makes a file system in the empty file FD (borrowed). */
int writer_new(int fd, const struct writer_shape *shape, struct writer **ret, struct err *e);
struct writer *writer_free(struct writer *w);
DEFINE_CLEANUP(struct writer *, writer_free)

/* Contents of INODE at OFFSET, in any pieces, in rising order; blocks of zeros become holes. -ENOSPC */
int writer_data(
	struct writer *w, struct inode *inode, uint64_t offset, const void *data, size_t n, struct err *e);
/* The contents of the inode at work are over; SIZE is the file's. */
int writer_end(struct writer *w, struct inode *inode, uint64_t size, struct err *e);
/* Gives an inode's blocks back (struct itree's drop). */
void writer_drop(void *writer, struct inode *inode);

/* Everything else: then the file system is whole. *RET_SIZE: bytes of contents written. */
int writer_finish(struct writer *w, struct itree *t, uint64_t *ret_content, struct err *e);

#endif
