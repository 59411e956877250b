/*
 * HTTP by libcurl: one request at a time, redirects followed without telling a stranger who asks, ended at once when somebody wants it.
 *
 * A struct http is one thread's; it keeps its connections for the next request. Everything blocks. Without a limit on the whole time:
 * what moves less than 1 KiB/s for 30 s is given up.
 */
#ifndef BANGER_REGISTRY_HTTP_H
#define BANGER_REGISTRY_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banger/cleanup.h"
#include "banger/err.h"
#include "registry/challenge.h"
#include "registry/hosts.h"

struct http;

/* STOP_FDS: readable means stop (borrowed; negative ones are skipped). Once per process curl_global_init() was called (registry_new() does). */
#define HTTP_STOPS 2
int http_new(const int stop_fds[HTTP_STOPS], struct http **ret, struct err *e);
struct http *http_free(struct http *h);
DEFINE_CLEANUP(struct http *, http_free)
/* Whether one of the stop descriptors is readable: -EINTR. 0 after MSEC without. */
int http_wait(struct http *h, unsigned msec, struct err *e);

struct http_answer {
	long status;
	char *content_type, *digest /* Docker-Content-Digest */, *location;
	struct challenges challenges; /* of the registry itself; none of a host that it redirected to */
	bool redirected;              /* the last answer is of another host */
	bool ranged;                  /* 206, and from the byte that was asked for */
	unsigned retry_after;         /* seconds; 0: not said */
	char *body;                   /* NUL-terminated; what a sink took is not in it */
	size_t length;
};
void http_answer_clear(struct http_answer *a);

struct http_request {
	const struct endpoint *endpoint;
	const char *method;        /* NULL: GET */
	const char *url;           /* whole */
	const char *authorization; /* the header's value, for URL's host only; NULL: none */
	const char *accept;        /* NULL: nothing in particular */
	const char *content_type;  /* of what is sent */
	const void *data;          /* sent with POST, PUT; NULL: none */
	size_t data_size;
	int file; /* sent in its stead, FILE_SIZE bytes of it from its start; used when FILE_SIZE > 0 or SEND_FILE */
	uint64_t file_size;
	bool send_file;
	uint64_t from;     /* Range: bytes=FROM- */
	size_t body_max;   /* -EFBIG above */
	unsigned slow_sec; /* what is slow for so long is given up; 0: 30 */
	/*
	 * Takes the body of a 200 or 206 piece by piece; RANGED as in the answer. Not 0: the transfer ends with that.
	 */
	int (*sink)(void *user, const void *data, size_t n, bool ranged, struct err *e);
	/* How much of FILE is on its way. */
	void (*sent)(void *user, uint64_t n);
	void *user;
};

/*
 * 0: there was an answer, whatever its status; RET must be empty and is the caller's to clear. -EINTR stopped; -EHOSTUNREACH, -ECONNREFUSED, -ETIMEDOUT,
 * -ECONNRESET the network; -EPROTO TLS or HTTP isn't what is spoken there; -EKEYREJECTED its certificate is not trusted; -EPERM a redirect to where it may not lead;
 * -ELOOP too many of them; -ERANGE a part of a blob that wasn't asked for; what SINK returned.
 */
int http_run(struct http *h, const struct http_request *request, struct http_answer *ret, struct err *e);

/* Whether trying again may help. */
bool http_transient_error(int code);
bool http_transient_status(long status);

#endif
