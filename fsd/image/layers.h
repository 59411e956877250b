/*
 * An image of an OCI image's layers, written in one pass: several are unpacked side by side, their contents straight into the image, and what they change is
 * merged in memory, bottom-up. Blocks: workers only.
 */
#ifndef BANGER_IMAGE_LAYERS_H
#define BANGER_IMAGE_LAYERS_H

#include <stdbool.h>

#include "image/image.h"

#define LAYERS_MAX 500 /* docker's own limit is 127 */
/* -EBADMSG: none, or more than that. */
int layers_check_count(size_t n, struct err *e);

struct image_layer {
	int fd; /* the blob as the registry has it, from where it stands; borrowed; a layer shares its position with no other */
	int grow; /* it is still being written: a pipe that tells how far (registry/blobs.h, blob_follow()); -1: it is whole */
	uint64_t size;      /* of the blob, as the manifest has it; 0: not known */
	bool window;        /* FD goes on behind those bytes: it is a part of an archive */
	const char *digest; /* "sha256:..." of the blob, as the manifest has it; NULL: not known */
	bool verified; /* somebody else answers for DIGEST and SIZE: only DIFF_ID is verified, so that the blob isn't hashed twice */
	const char *diff_id; /* "sha256:..." of the tar in it, as the configuration has it; NULL: not known */
};

/*
 * As image_from_tar(), of N layers, the lowest first (OCI image-spec layer.md: whiteouts, opaque folders). Both digests of each are
 * verified (unless .verified), and the size: -EBADMSG. -EIO: the download of a layer that grows failed; why is its downloader's to say. Errors say which layer and entry. RET->digest is "", for
 * the manifest's is the image's; of layers without .digest, which have no manifest, it is the sha256 of their 32 bytes each.
 */
int image_from_layers(const struct image_layer *layers, size_t n, int out_fd, const char *uuid_seed,
	struct op *op, struct image_result *ret, struct err *e);

/* The same with at most AT_ONCE layers at work side by side, instead of as many as there are cores; the same bytes. */
int image_from_layers_by(unsigned at_once, const struct image_layer *layers, size_t n, int out_fd,
	const char *uuid_seed, struct op *op, struct image_result *ret, struct err *e);

#endif
