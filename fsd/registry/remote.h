/* An image's documents, out of the cache or the registry, verified. Blocks: workers only. */
#ifndef BANGER_REGISTRY_REMOTE_H
#define BANGER_REGISTRY_REMOTE_H

#include "registry/digest.h"
#include "registry/manifest.h"
#include "registry/session.h"

struct remote_document {
	char *text; /* NUL-terminated */
	size_t n;
	char *content_type; /* what the server called it; NULL: it didn't, or the cache had it */
	char digest[DIGEST_TEXT_MAX];
};
void remote_document_clear(struct remote_document *d);

/*
 * The manifest or index that REF (a tag, or a digest) leads to. SIZE: what a descriptor says of it; 0: none does. S keeps what didn't come out of the cache, until
 * session_publish().
 * -ENOENT, -EACCES, -EBADMSG, -EFBIG, the network's.
 */
int remote_manifest(struct session *s, struct http *h, const char *ref, uint64_t size,
	struct remote_document *ret, struct err *e);
/* The blob with DIGEST: a configuration. As above. */
int remote_config(struct session *s, struct http *h, const char *digest, uint64_t size,
	struct remote_document *ret, struct err *e);

/* What TAG leads to now, by HEAD where the registry answers it. The caller's. */
int remote_resolve(struct session *s, struct http *h, const char *tag, char **ret_digest, struct err *e);

#endif
