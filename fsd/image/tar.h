/* Entries of a tar into an image that is being made. */
#ifndef BANGER_IMAGE_TAR_H
#define BANGER_IMAGE_TAR_H

#include <locale.h>

#include "image/source.h"
#include "image/stream.h"

enum tar_kind {
	TAR_ROOTFS, /* a name is a name */
	TAR_LAYER,  /* names that begin with ".wh." delete (OCI image-spec layer.md) */
};

/* All of STREAM, to the last byte behind the archive's end. Errors name the entry. */
int tar_read(struct source *s, struct stream *stream, enum tar_kind kind, struct err *e);

/* A tar as libarchive reads it out of a stream; the rest of it belongs to tar.c. One thread. */
struct archive;
struct tar_input {
	struct stream *stream; /* borrowed */
	struct err err;        /* of the stream */
	locale_t utf8, before;
};
/* *RET ends by tar_close(), on the same thread. EMPTY: an archive without entries is one. */
int tar_open(struct tar_input *in, bool empty, struct archive **ret, struct err *e);
void tar_close(struct tar_input *in, struct archive *a);
/* The error that A, or what it reads from, has come to. Returns its code. */
int tar_failure(struct archive *a, const struct tar_input *in, struct err *e);
/* Reads what follows the archive's end, to the stream's. */
int tar_rest(struct tar_input *in, struct err *e);

#endif
