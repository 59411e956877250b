/* One blob to a registry (distribution-spec 1.1, "Pushing blobs"). Blocks: workers only. */
#ifndef BANGER_REGISTRY_UPLOAD_H
#define BANGER_REGISTRY_UPLOAD_H

#include "registry/session.h"

/* What is sent, as the operation shows it. */
struct upload {
	struct session *
		session; /* borrowed, as all of it; session_reach() has succeeded; S->from: mounted from there, where it can be */
	const struct descriptor *blob; /* in the cache of blobs */
	size_t part;                   /* its number among the operation's parts */
};

/*
 * Sends the blob, unless the registry has it. What breaks off is begun again, a few times. -ENOENT: the cache hasn't got it; -EACCES, -EROFS, ... as
 * session_refused(); the network's; -EINTR.
 */
int upload_run(const struct upload *u, struct http *h, struct err *e);

#endif
