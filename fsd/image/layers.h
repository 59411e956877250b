/*
 * An image of an OCI image's layers, bottom-up: merged in memory, written in one pass. Blocks: workers only.
 */
#ifndef BANGER_IMAGE_LAYERS_H
#define BANGER_IMAGE_LAYERS_H

#include <stdbool.h>

#include "image/image.h"

#define LAYERS_MAX 500 /* docker's own limit is 127 */
/* -EBADMSG: none, or more than that. */
int layers_check_count(size_t n, struct err *e);

struct image_layer {
	int fd; /* the blob as the registry has it, from where it stands; borrowed */
	int grow; /* it is still being written: a pipe that tells how far (registry/blobs.h, blob_follow()); -1: it is whole */
	uint64_t size;       /* of the blob, as the manifest has it; 0: not known */
	bool window;         /* FD goes on behind those bytes: it is a part of an archive */
	const char *digest;  /* "sha256:..." of the blob, as the manifest has it; NULL: not known */
	const char *diff_id; /* "sha256:..." of the tar in it, as the configuration has it; NULL: not known */
};

/*
 * As image_from_tar(), of N layers, the lowest first (OCI image-spec layer.md: whiteouts, opaque folders). Both digests of each are
 * verified, and the size: -EBADMSG. -EIO: the download of a layer that grows failed; why is its downloader's to say. Errors say which layer and entry. RET->digest is "": the manifest's is the image's.
 */
int image_from_layers(const struct image_layer *layers, size_t n, int out_fd, const char *uuid_seed,
	struct op *op, struct image_result *ret, struct err *e);

#endif
