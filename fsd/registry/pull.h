/*
 * Images out of registries. A pull resolves the reference, gets manifest and configuration, and fetches the layers side by side, each by
 * a thread and a connection of its own, into the cache of blobs; who makes the image of them may read along.
 *
 * Everything blocks: workers only. A struct registry is any thread's; a struct pull one thread's at a time.
 */
#ifndef BANGER_REGISTRY_PULL_H
#define BANGER_REGISTRY_PULL_H

#include "registry/blobs.h"
#include "registry/credentials.h"
#include "registry/hosts.h"
#include "registry/manifest.h"
#include "registry/reference.h"

/* How patient requests are; 0: as said. */
struct registry_limits {
	unsigned slow_sec;   /* what moves less than 1 KiB/s for so long is given up: 30 */
	unsigned retry_msec; /* the wait before the second try, twice as long before each further one: 500 */
};

/* What all pulls share. */
struct registry;
struct registry_config {
	struct blobs *blobs;              /* borrowed */
	struct credentials_places places; /* copied */
	struct registry_limits limits;
};
int registry_new(const struct registry_config *config, struct registry **ret, struct err *e);
struct registry *registry_free(struct registry *r);

struct pull_request {
	const struct reference *ref;
	const char *platform; /* "" : this machine's */
	struct hosts_config hosts;
};

struct pull;

/*
 * Resolves, gets the documents, begins to fetch the layers; what the cache has isn't asked for again. Progress goes to OP: a part per layer (op_part()).
 * -ENOENT no such image, or none for the platform; -EACCES not allowed, E says to log in; -EBADMSG a document or digest is wrong; -EOPNOTSUPP it is no image; what
 * the network says (registry/http.h); -EINTR.
 */
int pull_begin(struct registry *r, const struct pull_request *request, struct op *op, struct pull **ret,
	struct err *e);
/* Ends the transfers; parts stay for the next one. */
struct pull *pull_free(struct pull *p);
DEFINE_CLEANUP(struct pull *, pull_free)

/* Of the image's manifest (not the index's): what the image's digest is. Borrowed from P, as all of these. */
const char *pull_digest(const struct pull *p);
/* What the reference led to: the index's, where there is one. The same as long as nobody moves the tag. */
const char *pull_ref_digest(const struct pull *p);
const struct manifest *pull_manifest(const struct pull *p);
const struct image_config *pull_config(const struct pull *p);
/* The configuration's bytes as they came, NUL-terminated. */
const char *pull_config_text(const struct pull *p);

/* Layer I, 0 the lowest: as blob_follow(); *RET_GROW -1 when it was there already. Both the caller's. */
int pull_layer(struct pull *p, size_t i, int *ret_fd, int *ret_grow, struct err *e);
/* Waits for all layers: 0, they are in the cache, verified, and so are the documents; or the first one's error, which names it. */
int pull_wait(struct pull *p, struct err *e);

/*
 * What REF leads to now, by one HEAD request (or a GET, where that gives no digest): *RET_DIGEST as pull_ref_digest(), the caller's.
 */
int pull_resolve(struct registry *r, const struct pull_request *request, struct op *op, char **ret_digest,
	struct err *e);

/* Forgets what was granted to whoever was logged in: it is somebody else now, or nobody. */
void registry_forget(struct registry *r);

/* Asks the registry whether C may come in. -EACCES: it may not. */
int registry_login(struct registry *r, const struct hosts_config *hosts, const char *host,
	const struct credentials *c, struct op *op, struct err *e);

/*
 * Push: blobs that the registry hasn't, then the manifest under REF's tag. MANIFEST: the document's bytes; its config and layers are in the cache
 * of blobs. FROM: where a blob may be mounted from instead of sent ("library/debian" at the same host), or NULL.
 */
int push_run(struct registry *r, const struct pull_request *request, const char *manifest, size_t n,
	const char *media_type, const char *from, struct op *op, struct err *e);

#endif
