/*
 * The documents of an image that is made here: configuration and manifest (OCI image-spec 1.1 config.md, manifest.md). The same input makes the same
 * bytes.
 *
 * Pure functions, any thread.
 */
#ifndef BANGER_REGISTRY_COMPOSE_H
#define BANGER_REGISTRY_COMPOSE_H

#include <stddef.h>
#include <stdint.h>

#include "banger/err.h"

#define COMPOSE_LAYER "application/vnd.oci.image.layer.v1.tar+gzip" /* of a layer that is made here */
#define COMPOSE_IMAGE "application/vnd.oci.image.manifest.v1+json"

struct compose {
	const char *base;            /* the configuration that it is made from; "": none */
	const char *platform;        /* "linux/amd64", of one without a base; "": this machine's */
	const char *const *diff_ids; /* of all layers, the lowest first */
	size_t count;
	size_t fresh; /* so many of them, the last, are none of BASE's; the others are all that BASE has */
	const char *created_by; /* for the history of the fresh ones */
	uint64_t created;       /* CLOCK_REALTIME usec */
};
/*
 * The configuration: BASE's, with rootfs, history and created as they are now. A history that doesn't fit BASE's layers is made anew. *RET is the
 * caller's. -EBADMSG: BASE is none; -ENOMEM.
 */
int compose_config(const struct compose *c, char **ret, struct err *e);

/*
 * The manifest of CONFIG and LAYERS ("DIGEST SIZE MEDIA-TYPE", a line each, the lowest first); Docker's media types become OCI's. *RET is the caller's.
 */
int compose_manifest(const char *config, const char *layers, char **ret, struct err *e);

#endif
