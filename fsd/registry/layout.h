/*
 * Images that lie in files instead of a registry: OCI layouts (image-spec 1.1 image-layout.md: oci-layout, index.json, blobs/), and what
 * `docker save` writes (manifest.json; since its version 25 it is both, and then read as a layout). Which image is meant, its documents, verified, and
 * in which files its layers are; those are read and verified by whoever makes the image.
 *
 * Files are asked for by name. A name is "oci-layout", "index.json", "manifest.json", "blobs/ALGORITHM/HEX" of a checked digest, or, of
 * docker's, as the archive has it: relative, without "..". Blocks: workers only.
 */
#ifndef BANGER_REGISTRY_LAYOUT_H
#define BANGER_REGISTRY_LAYOUT_H

#include "registry/digest.h"
#include "registry/manifest.h"

struct layout_file {
	char digest[DIGEST_TEXT_MAX];
	uint64_t size;
	const char *packing; /* constant: "", "+gzip" or "+zstd", as media types end */
};

struct layout_files {
	/* All of NAME, the caller's, NUL-terminated. -ENOENT: it isn't there; -EFBIG: more than MAX bytes. */
	int (*read)(void *user, const char *name, size_t max, char **ret, size_t *ret_n, struct err *e);
	/* What NAME is, of docker's only. -ENOENT. */
	int (*look)(void *user, const char *name, struct layout_file *ret, struct err *e);
	void *user;
};

struct layout;

/*
 * TAG: the one that is meant, by name, as the archive has it, or digest; NULL: there is only one. PLATFORM: "" for this machine's.
 * -EINVAL: there are several, E lists them and says what to type; -ENOENT: none of that name, or for the platform; -EBADMSG: something is missing, damaged
 * or no image; FILES' own. It is borrowed for the call.
 */
int layout_open(const struct layout_files *files, const char *tag, const char *platform, struct layout **ret,
	struct err *e);
struct layout *layout_free(struct layout *l);
DEFINE_CLEANUP(struct layout *, layout_free)

/* As the functions of pull.h; borrowed from L. Of docker's, the manifest is made here: it has none. */
const char *layout_digest(const struct layout *l);
const char *layout_ref_digest(const struct layout *l);
const struct manifest *layout_manifest(const struct layout *l);
const struct image_config *layout_config(const struct layout *l);
const char *layout_config_text(const struct layout *l);
/* The name of the file of layer I, 0 the lowest. */
const char *layout_layer(const struct layout *l, size_t i);

#endif
