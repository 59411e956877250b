/* Entries of a tar on their way into an image. */
#ifndef BANGER_IMAGE_TAR_H
#define BANGER_IMAGE_TAR_H

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

#endif
