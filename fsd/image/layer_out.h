/*
 * A layer being written: a pax tar (with nanoseconds, xattrs, sparse files), gzip around it, both digests computed on the way. What goes in alone decides
 * what comes out: no clock, no name of the host's.
 *
 * One thread at a time. Errors: writing's own, -ENOMEM.
 */
#ifndef BANGER_IMAGE_LAYER_OUT_H
#define BANGER_IMAGE_LAYER_OUT_H

#include "image/tree.h"

struct layer_out;

/* FD: borrowed, written from where it stands. */
int layer_out_new(int fd, struct layer_out **ret, struct err *e);
struct layer_out *layer_out_free(struct layer_out *o);
DEFINE_CLEANUP(struct layer_out *, layer_out_free)

/*
 * An entry PATH of INODE: "etc/passwd", "./" for the root. Of a regular file as many bytes as it has follow by layer_out_data(); where SPARSE, zeros outside its
 * extents (of BLOCK bytes) are left out.
 */
int layer_out_entry(struct layer_out *o, const char *path, const struct inode *inode, bool sparse,
	uint32_t block, struct err *e);
/* N bytes of the file; DATA NULL: zeros. */
int layer_out_data(struct layer_out *o, const void *data, uint64_t n, struct err *e);
/* PATH is what TARGET, an earlier entry, is. */
int layer_out_link(struct layer_out *o, const char *path, const char *target, struct err *e);
/* A file of no bytes: what stands for a deletion. */
int layer_out_mark(struct layer_out *o, const char *path, struct err *e);

struct layer_sums {
	unsigned char packed[32], plain[32]; /* sha256 of the gzip, of the tar */
	uint64_t size;                       /* of the gzip */
};
/* The archive's end; nothing more may be written. */
int layer_out_finish(struct layer_out *o, struct layer_sums *ret, struct err *e);

#endif
