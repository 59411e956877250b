/* Entries of a tar on their way into an image. */
#ifndef BANGER_IMAGE_TAR_H
#define BANGER_IMAGE_TAR_H

#include <locale.h>

#include "image/change.h"
#include "image/lane.h"
#include "image/stream.h"

enum tar_kind {
	TAR_ROOTFS, /* a name is a name */
	TAR_LAYER,  /* names that begin with ".wh." delete (OCI image-spec layer.md) */
};

/* Where a tar goes: contents into LANE, no file with more than BYTES_MAX; all else to SINK. */
struct tar_place {
	enum tar_kind kind;
	struct lane *lane;
	uint64_t bytes_max;
	struct change_sink sink;
};

/* All of STREAM, to the last byte behind the archive's end. Errors name the entry. */
int tar_read(struct stream *stream, const struct tar_place *place, struct err *e);

/* A tar as libarchive reads it out of a stream; the rest of it belongs to tar.c. One thread. */
struct archive;
struct tar_input {
	struct stream *stream; /* borrowed */
	struct err err;        /* of the stream */
	locale_t before;
};
/* *RET ends by tar_close(), on the same thread. EMPTY: an archive without entries is one. */
int tar_open(struct tar_input *in, bool empty, struct archive **ret, struct err *e);
void tar_close(struct tar_input *in, struct archive *a);
/* The error that A, or what it reads from, has come to. Returns its code. */
int tar_failure(struct archive *a, const struct tar_input *in, struct err *e);
/* Reads what follows the archive's end, to the stream's. */
int tar_rest(struct tar_input *in, struct err *e);

#endif
