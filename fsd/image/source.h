/* What tar.c, dir.c and busybox.c share. */
#ifndef BANGER_IMAGE_SOURCE_H
#define BANGER_IMAGE_SOURCE_H

#include "image/image.h"
#include "image/lane.h"

/* Stages of an operation (job/op.h), those that a worker tells of (worker_wire.c). */
#define IMAGE_STAGE_TAR     "unpack"
#define IMAGE_STAGE_LAYERS  "unpack layers"
#define IMAGE_STAGE_MEMBERS "read the archive"
#define IMAGE_STAGE_DIR     "read the folder"
#define IMAGE_STAGE_CHECK   "check"
#define IMAGE_STAGE_JOURNAL "make a journal"
#define IMAGE_STAGE_WRITE   "write the image"
#define IMAGE_STAGE_PACK    "pack a layer"

#define SOURCE_SIZE_MAX (1ull << 40) /* of an image's file */

/* An image being made: tree and writer. */
struct source {
	struct itree *tree;
	struct writer *writer;
	struct lane *lane; /* NULL: contents come in several, of the caller's */
	struct op *op;
	uint64_t bytes_max;
};

/*
 * BYTES: what contents there may be, 0: not known; the file system is made large enough and stays sparse. The image's file is
 * writer's: OUT_FD borrowed.
 */
int source_begin(
	int out_fd, uint64_t bytes, const char *seed, struct op *op, struct source *ret, struct err *e);
/* Writes the rest, syncs, fills in RET but for the digest. */
int source_finish(struct source *s, int out_fd, struct image_result *ret, struct err *e);
/* The same for contents that come in lanes, side by side, which are the caller's; WEIGHTS: writer.h. */
int source_begin_lanes(int out_fd, const uint64_t *weights, size_t lanes, const char *seed, struct op *op,
	struct source *ret, struct err *e);
void source_clear(struct source *s);

/* A regular file of constant contents, or a folder, or a link. */
int source_add(struct source *s, const char *path, uint32_t mode, const void *data, size_t n, struct err *e);
int source_add_link(struct source *s, const char *path, const char *target, struct err *e);

/* Whether an extended attribute is an image's. */
bool source_xattr_wanted(const char *name);

/* "sha256:..." of 32 bytes. */
void source_digest(const unsigned char sum[32], char ret[72]);

#endif
