/*
 * Writing an ext4 by libext2fs: contents first (lane.h), straight to runs of blocks in the sparse file; inodes, folders and bitmaps at the end, once. (design: facts on
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
	size_t lanes;     /* that contents come in side by side; 0: one */
	const uint64_t
		*weights; /* how much each may come to hold, compared with the others; NULL: there is one */
	const char
		*seed; /* of uuid and hash seed; the same seed and input make the same bytes. NULL: random */
};

/* Makes a file system in the empty file FD (borrowed). */
int writer_new(int fd, const struct writer_shape *shape, struct writer **ret, struct err *e);
struct writer *writer_free(struct writer *w);
DEFINE_CLEANUP(struct writer *, writer_free)

/* Gives an inode's blocks back (struct itree's drop): to be called where lanes are over or on the turn of the last that the inode can be of. */
void writer_drop(void *writer, struct inode *inode);
/* The contents of the next lane are all there (lane_finish()), and nothing of it or of a lane before is dropped any more: it's the turn of the one after it. */
void writer_turn(struct writer *w);
/* Ends whatever a lane waits for: the image comes to nothing. */
void writer_stop(struct writer *w);

/* Everything else, when all lanes are over: then the file system is whole. *RET_SIZE: bytes of contents written. */
int writer_finish(struct writer *w, struct itree *t, uint64_t *ret_content, struct err *e);

#endif
