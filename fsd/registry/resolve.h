/* From a reference to one image: through indexes to the manifest of a platform and its configuration. Blocks: workers only. */
#ifndef BANGER_REGISTRY_RESOLVE_H
#define BANGER_REGISTRY_RESOLVE_H

#include "registry/remote.h"

struct resolved {
	char ref_digest[DIGEST_TEXT_MAX]; /* of what the reference led to */
	char digest[DIGEST_TEXT_MAX];     /* of the manifest */
	struct manifest *manifest;
	struct image_config *config;
	char *config_text;
};
void resolved_clear(struct resolved *r);

/* Where documents are found by their digest; as remote_manifest() and remote_config(). */
struct documents {
	int (*manifest)(
		void *user, const char *digest, uint64_t size, struct remote_document *ret, struct err *e);
	int (*config)(
		void *user, const char *digest, uint64_t size, struct remote_document *ret, struct err *e);
	void *user;
};
/* As resolve_image(), of what INDEX leads to; RET->ref_digest stays empty. */
int resolve_index(const struct documents *from, const struct manifest *index, const char *platform,
	struct resolved *ret, struct err *e);

/*
 * REF: a tag or a digest in S's repository. PLATFORM: "" for this machine's. Number and digests of layers and configuration fit each other. -ENOENT: none for the
 * platform, E lists those that there are; otherwise remote_manifest()'s and manifest_parse()'s errors.
 */
int resolve_image(struct session *s, struct http *h, const char *ref, const char *platform,
	struct resolved *ret, struct err *e);

#endif
