/* Entries of a tar into an image that is being made. */
#ifndef BANGER_IMAGE_TAR_H
#define BANGER_IMAGE_TAR_H

#include "image/source.h"
#include "image/stream.h"

enum tar_kind {
	TAR_ROOTFS, /* a name is a name */
	TAR_LAYER,  /* names that begin with ".wh." delete (OCI image-spec layer.md) */
};

/* All of STREAM, to the last byte behind the archive's end. Errors name the entry. */
int tar_read(struct source *s, struct stream *stream, enum tar_kind kind, struct err *e);

#endif
