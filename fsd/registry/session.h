/*
 * Requests about one repository at one registry: where it is reached, as whom, and again when that may help.
 *
 * A struct session is one thread's; another one gets a copy.
 */
#ifndef BANGER_REGISTRY_SESSION_H
#define BANGER_REGISTRY_SESSION_H

#include <sys/queue.h>

#include "registry/http.h"
#include "registry/pull.h"

struct session_document;

struct session {
	struct registry *registry; /* borrowed, as what follows */
	struct op *op;
	char *host, *path;   /* "docker.io", "library/alpine"; PATH NULL: the registry itself is meant */
	const char *actions; /* "pull", "pull,push" */
	const struct credentials *as; /* who to be; NULL: whom the files name */
	struct endpoint *endpoints;
	size_t count;
	size_t at;                                /* the endpoint that has what is asked for */
	bool reached;                             /* it was asked */
	SLIST_HEAD(, session_document) documents; /* that came, verified, and aren't in the cache yet */
};

/* HOSTS is not used after the call. */
int session_new(struct registry *r, const struct hosts_config *hosts, const char *host, const char *path,
	const char *actions, struct op *op, struct session **ret, struct err *e);
struct session *session_free(struct session *s);
DEFINE_CLEANUP(struct session *, session_free)
/* For another thread: it stands where S stands, without its documents. */
int session_copy(const struct session *s, struct session **ret, struct err *e);

/*
 * Asks for REQUEST, whose url is a path here ("manifests/3.20": below /v2/PATH/; "" : /v2/), at endpoint S->at. As http_run(), with -EACCES
 * when the registry lets nobody in that there are credentials for. Any other status is for the caller. Tries again what is transient, when RETRY.
 */
int session_run(struct session *s, struct http *h, const struct http_request *request, bool retry,
	struct http_answer *ret, struct err *e);

/* As session_run(), at each endpoint in turn till one has it (any status but 404 of the last one); S->at is that one afterwards. One thread. */
int session_reach(struct session *s, struct http *h, const struct http_request *request,
	struct http_answer *ret, struct err *e);

/* As session_reach(), at S->at alone and without trying again. */
int session_once(struct session *s, struct http *h, const struct http_request *request,
	struct http_answer *ret, struct err *e);

/* Whether what ended with CODE (0: with the answer A) may be tried after TRIES other tries; and the wait before that, -EINTR. */
bool session_may_retry(int tries, int code, const struct http_answer *a);
int session_wait(struct session *s, struct http *h, int tries, const struct http_answer *a, struct err *e);

/*
 * What was got of an image goes into the cache when all of it is there: what is refused for something else in it leaves nothing. session_keep()
 * copies; session_publish() puts all that was kept into the cache.
 */
int session_keep(struct session *s, const char *digest, const char *text, size_t n, struct err *e);
int session_publish(struct session *s, struct err *e);

/* An answer that is no success, in words: the registry's own where it gave any. WHAT: "manifest of 3.20". -ENOENT, -EACCES, -EBUSY (429), -EIO. */
int session_refused(const struct session *s, const char *what, const struct http_answer *a, struct err *e);

#endif
