/*
 * Requests about one repository at one registry: where it is reached, as whom, and again when that may help.
 *
 * A struct session may be used by several threads at once, each with its own struct http, once session_reach() has succeeded.
 */
#ifndef BANGER_REGISTRY_SESSION_H
#define BANGER_REGISTRY_SESSION_H

#include "registry/http.h"
#include "registry/pull.h"

struct session {
	struct registry *registry; /* borrowed, as what follows */
	struct op *op;
	char *host, *path;   /* "docker.io", "library/alpine"; PATH NULL: the registry itself is meant */
	const char *actions; /* "pull", "pull,push" */
	const char
		*from; /* another repository there, to be read too: blobs are mounted from it; NULL: none */
	const struct credentials *as; /* who to be; NULL: whom the files name */
	struct endpoint *endpoints;
	size_t count;
	size_t at;    /* the endpoint that has what is asked for */
	bool reached; /* it was asked */
};

/* HOSTS is not used after the call. */
int session_new(struct registry *r, const struct hosts_config *hosts, const char *host, const char *path,
	const char *actions, struct op *op, struct session **ret, struct err *e);
struct session *session_free(struct session *s);
DEFINE_CLEANUP(struct session *, session_free)

/*
 * Asks for REQUEST, whose url is a path here ("manifests/3.20": below /v2/PATH/; "" : /v2/), at endpoint S->at. As http_run(), with -EACCES
 * when the registry lets nobody in that there are credentials for. Any other status is for the caller. Tries again what is transient, when RETRY.
 * A whole address, which the registry gave, is asked for as it is; one of another host without saying who asks.
 */
int session_run(struct session *s, struct http *h, const struct http_request *request, bool retry,
	struct http_answer *ret, struct err *e);

/* As session_run(), at each endpoint in turn till one has it (any status but 404 of the last one); S->at is that one afterwards. One thread. */
int session_reach(struct session *s, struct http *h, const struct http_request *request,
	struct http_answer *ret, struct err *e);

/* An answer that is no success, in words: the registry's own where it gave any. WHAT: "manifest of 3.20". -ENOENT, -EACCES, -EBUSY (429), -EROFS
 * (it takes no pushes), -EFBIG, -ENOSPC, -EIO. */
int session_refused(const struct session *s, const char *what, const struct http_answer *a, struct err *e);

#endif
