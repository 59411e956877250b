#include "registry/session.h"

#include <ctype.h>
#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "registry/auth.h"
#include "registry/http_redirect.h"
#include "registry/registry_state.h"

#define TRIES_MAX           5
#define FIRST_WAIT_MSEC     500
#define RETRY_AFTER_MAX_SEC 60
#define WORDS_MAX           200 /* of what a registry says */

struct session_document {
	char *digest, *text;
	size_t n;
	SLIST_ENTRY(session_document) link;
};

static void document_free(struct session_document *d)
{
	if (!d)
		return;
	free(d->digest);
	free(d->text);
	free(d);
}

int session_new(struct registry *r, const struct hosts_config *hosts, const char *host, const char *path,
	const char *actions, struct op *op, struct session **ret, struct err *e)
{
	_cleanup_(session_freep) struct session *s = calloc(1, sizeof(*s));
	int code;

	if (!s)
		return err_sys(e, -ENOMEM, "session");
	s->registry = r;
	s->op = op;
	s->actions = actions;
	s->host = strdup(host);
	s->path = path ? strdup(path) : NULL;
	if (!s->host || (path && !s->path))
		return err_sys(e, -ENOMEM, "session");
	code = hosts_endpoints(hosts, host, &s->endpoints, &s->count, e);
	if (code < 0)
		return code;
	*ret = TAKE_PTR(s);
	return 0;
}

struct session *session_free(struct session *s)
{
	if (!s)
		return NULL;
	while (!SLIST_EMPTY(&s->documents)) {
		struct session_document *d = SLIST_FIRST(&s->documents);

		SLIST_REMOVE_HEAD(&s->documents, link);
		document_free(d);
	}
	endpoints_free(s->endpoints, s->count);
	free(s->host);
	free(s->path);
	free(s);
	return NULL;
}

static int copy_text(const char *from, char **to)
{
	*to = from ? strdup(from) : NULL;
	return from && !*to ? -ENOMEM : 0;
}

static int copy_endpoint(const struct endpoint *from, struct endpoint *to)
{
	*to = (struct endpoint){
		.mirror = from->mirror, .insecure = from->insecure, .try_http = from->try_http};
	return copy_text(from->base, &to->base) < 0 || copy_text(from->ca_file, &to->ca_file) < 0 ||
			       copy_text(from->cert_file, &to->cert_file) < 0 ||
			       copy_text(from->key_file, &to->key_file) < 0
		       ? -ENOMEM
		       : 0;
}

int session_copy(const struct session *s, struct session **ret, struct err *e)
{
	_cleanup_(session_freep) struct session *copy = calloc(1, sizeof(*copy));
	int r = copy ? 0 : -ENOMEM;

	if (r == 0) {
		*copy = *s;
		SLIST_INIT(&copy->documents);
		copy->path = NULL;
		copy->count = 0;
		copy->endpoints = calloc(s->count, sizeof(*copy->endpoints));
		/* Calloc'ed ones are empty: all of them may be freed. */
		copy->count = copy->endpoints ? s->count : 0;
		r = copy_text(s->host, &copy->host) < 0 || copy_text(s->path, &copy->path) < 0 ||
				    !copy->endpoints
			    ? -ENOMEM
			    : 0;
	}
	for (size_t i = 0; r == 0 && i < s->count; i++)
		r = copy_endpoint(&s->endpoints[i], &copy->endpoints[i]);
	if (r < 0)
		return err_sys(e, r, "session");
	*ret = TAKE_PTR(copy);
	return 0;
}

static char *whole_url(const struct session *s, const char *path)
{
	const struct endpoint *at = &s->endpoints[s->at];
	char *url = NULL;
	int n;

	/* An upload's address is the registry's to choose. */
	if (strstr(path, "://"))
		return strdup(path);
	if (!s->path)
		n = asprintf(&url, "%s/v2/%s", at->base, path);
	else
		n = asprintf(&url, "%s/v2/%s/%s%s%s", at->base, s->path, path, at->mirror ? "?ns=" : "",
			at->mirror ? s->host : "");
	return n < 0 ? NULL : url;
}

/* The token is a good one, and not for this. */
static bool wants_more(const struct http_answer *a)
{
	if (a->status != 401 && a->status != 403)
		return false;
	for (size_t i = 0; i < a->challenges.count; i++)
		if (a->challenges.list[i].scheme == CHALLENGE_BEARER && a->challenges.list[i].error &&
			strcmp(a->challenges.list[i].error, "insufficient_scope") == 0)
			return true;
	return false;
}

/* One try, with as many logins as it takes: a token that has ended, another one, one of wider scope. */
static int once(
	struct session *s, struct http *h, struct http_request *q, struct http_answer *ret, struct err *e)
{
	_cleanup_free_ char *header = q->stranger ? NULL : auth_known(s);
	int left = header ? 2 : 1;
	bool wider = false;

	for (;; left--) {
		_cleanup_free_ char *fresh = NULL;
		int r;

		http_answer_clear(ret);
		q->authorization = header;
		r = http_run(h, q, ret, e);
		if (r < 0)
			return r;
		if (!wider && left == 0 && wants_more(ret)) {
			wider = true;
			left++;
		}
		if (q->stranger || (ret->status != 401 && !wants_more(ret)) || ret->challenges.count == 0 ||
			left == 0)
			return 0;
		r = auth_renew(s, h, &ret->challenges, header, &fresh, e);
		if (r < 0)
			return r;
		free(header);
		header = TAKE_PTR(fresh);
	}
}

bool session_may_retry(int tries, int code, const struct http_answer *a)
{
	if (tries >= TRIES_MAX - 1)
		return false;
	if (code < 0)
		return http_transient_error(code);
	return http_transient_status(a->status) && a->retry_after <= RETRY_AFTER_MAX_SEC;
}

/* Half a second, one, two ...; what the registry asks for instead, within reason. */
int session_wait(struct session *s, struct http *h, int tries, const struct http_answer *a, struct err *e)
{
	unsigned first = s->registry->limits.retry_msec ? s->registry->limits.retry_msec : FIRST_WAIT_MSEC;

	return http_wait(h, a->retry_after ? a->retry_after * 1000 : first << tries, e);
}

/* What is tried again. */
enum patience {
	PATIENCE_NONE,
	PATIENCE_SPOKEN, /* what somebody answered, and broke off */
	PATIENCE_ALL,    /* and where nobody answered at all */
};

static bool worth(enum patience patience, int code, int tries)
{
	/* Nobody is there, or of that name: it is rather the name that is wrong than the moment. */
	if ((code == -EHOSTUNREACH || code == -ECONNREFUSED) && tries > 0)
		return false;
	return patience == PATIENCE_ALL ||
	       (patience == PATIENCE_SPOKEN && (code == 0 || code == -ECONNRESET));
}

static int run(struct session *s, struct http *h, const struct http_request *request, enum patience patience,
	struct http_answer *ret, struct err *e)
{
	_cleanup_free_ char *url = whole_url(s, request->url);
	struct http_request q = *request;

	if (!url)
		return err_sys(e, -ENOMEM, "session");
	q.url = url;
	q.endpoint = &s->endpoints[s->at];
	q.stranger = !url_same_origin(url, q.endpoint->base);
	q.slow_sec = s->registry->limits.slow_sec;
	for (int tries = 0;; tries++) {
		_cleanup_err_ struct err own = {0};
		int r = once(s, h, &q, ret, &own);

		if (!worth(patience, r, tries) || !session_may_retry(tries, r, ret))
			return r < 0 ? err_move(e, &own) : 0;
		op_stage(s->op, "wait for the registry");
		r = session_wait(s, h, tries, ret, e);
		if (r < 0)
			return r;
	}
}

int session_run(struct session *s, struct http *h, const struct http_request *request, bool retry,
	struct http_answer *ret, struct err *e)
{
	return run(s, h, request, retry ? PATIENCE_ALL : PATIENCE_NONE, ret, e);
}

/* Whether https has been given up for the endpoint. */
static bool is_plain(struct session *s)
{
	const struct endpoint *at = &s->endpoints[s->at];
	struct registry *r = s->registry;
	struct plain *one;
	bool found = false;

	pthread_mutex_lock(&r->lock);
	LIST_FOREACH (one, &r->plains, link)
		found = found || strcmp(one->base, at->base) == 0;
	pthread_mutex_unlock(&r->lock);
	return found;
}

/* What nobody has said anything about yet is https. */
static void remember_plain(struct session *s, const char *base, bool plain)
{
	struct registry *r = s->registry;
	struct plain *one, *next;
	char *copy = plain ? strdup(base) : NULL;
	struct plain *fresh = copy ? calloc(1, sizeof(*fresh)) : NULL;

	if (!fresh)
		free(copy);
	else
		fresh->base = copy;
	pthread_mutex_lock(&r->lock);
	for (one = LIST_FIRST(&r->plains); one; one = next) {
		next = LIST_NEXT(one, link);
		if (strcmp(one->base, base) != 0)
			continue;
		LIST_REMOVE(one, link);
		free(one->base);
		free(one);
	}
	if (fresh)
		LIST_INSERT_HEAD(&r->plains, fresh, link);
	pthread_mutex_unlock(&r->lock);
}

/* Whether the end of a request says that this isn't what is spoken there; HTTP spoken to TLS gets a 400 from some. */
static bool is_foreign(int code, const struct http_answer *a, bool plain)
{
	if (code == -ECONNREFUSED || code == -ETIMEDOUT || code == -EPROTO)
		return true;
	return plain && (code == -ECONNRESET || (code == 0 && a->status == 400));
}

/* By https, then by http; the other way round where that was right last time. The endpoint is what was right from then on. */
static int find_scheme(struct session *s, struct http *h, const struct http_request *request,
	enum patience patience, struct http_answer *ret, struct err *e)
{
	struct endpoint *at = &s->endpoints[s->at];
	_cleanup_err_ struct err by_https = {0}, by_http = {0};
	struct err *first, *second;
	_cleanup_free_ char *https = strdup(at->base), *http = NULL;
	bool plain = is_plain(s), found = false;
	int r = 0;

	if (!https || asprintf(&http, "http://%s", https + strlen("https://")) < 0) {
		http = NULL;
		return err_sys(e, -ENOMEM, "session");
	}
	for (int i = 0; !found && i < 2; i++, plain = !plain) {
		http_answer_clear(ret);
		free(at->base);
		at->base = strdup(plain ? http : https);
		if (!at->base)
			return err_sys(e, -ENOMEM, "session");
		r = run(s, h, request, patience, ret, plain ? &by_http : &by_https);
		found = !is_foreign(r, ret, plain) || (r == 0 && i == 1);
		if (found && r == 0) {
			at->try_http = plain;
			remember_plain(s, https, plain);
			return 0;
		}
	}
	/* It may speak anything next time. */
	remember_plain(s, https, false);
	free(at->base);
	at->base = TAKE_PTR(https);
	/* PLAIN is the other of the two by now. What wasn't foreign is what counts; both are told. */
	first = found ? plain ? &by_https : &by_http : by_http.code ? &by_http : &by_https;
	second = first == &by_http ? &by_https : &by_http;
	if (second->code && first->code != -EINTR)
		err_join(first, "by %s: %s", second == &by_https ? "https" : "http", err_text(second));
	return err_move(e, first);
}

static int reach_one(struct session *s, struct http *h, const struct http_request *request,
	enum patience patience, struct http_answer *ret, struct err *e)
{
	const struct endpoint *at = &s->endpoints[s->at];

	if (!at->try_http || strncmp(at->base, "https://", strlen("https://")) != 0)
		return run(s, h, request, patience, ret, e);
	return find_scheme(s, h, request, patience == PATIENCE_ALL ? PATIENCE_SPOKEN : patience, ret, e);
}

int session_once(struct session *s, struct http *h, const struct http_request *request,
	struct http_answer *ret, struct err *e)
{
	return reach_one(s, h, request, PATIENCE_NONE, ret, e);
}

int session_reach(struct session *s, struct http *h, const struct http_request *request,
	struct http_answer *ret, struct err *e)
{
	/* What one hasn't, of an image, the others before it haven't either: they aren't asked again. */
	for (;; s->at++) {
		_cleanup_err_ struct err own = {0};
		bool last = s->at == s->count - 1;
		int r = reach_one(s, h, request, last ? PATIENCE_ALL : PATIENCE_NONE, ret, &own);

		if (r == -EINTR || last || (r == 0 && ret->status >= 200 && ret->status < 300)) {
			s->reached = r == 0;
			return r < 0 ? err_move(e, &own) : 0;
		}
		http_answer_clear(ret);
	}
}

int session_keep(struct session *s, const char *digest, const char *text, size_t n, struct err *e)
{
	struct session_document *d = calloc(1, sizeof(*d));

	if (d) {
		d->digest = strdup(digest);
		d->text = malloc(n ? n : 1);
		d->n = n;
	}
	if (!d || !d->digest || !d->text) {
		document_free(d);
		return err_sys(e, -ENOMEM, "document");
	}
	memcpy(d->text, text, n);
	SLIST_INSERT_HEAD(&s->documents, d, link);
	return 0;
}

int session_publish(struct session *s, struct err *e)
{
	while (!SLIST_EMPTY(&s->documents)) {
		struct session_document *d = SLIST_FIRST(&s->documents);
		int r = blobs_put(s->registry->blobs, d->digest, d->text, d->n, e);

		if (r < 0)
			return r;
		SLIST_REMOVE_HEAD(&s->documents, link);
		document_free(d);
	}
	return 0;
}

/* The first error of distribution-spec's form: "NAME_UNKNOWN: repository name not known to registry". */
static char *words(const struct http_answer *a)
{
	json_object *root = a->body ? json_tokener_parse(a->body) : NULL, *list = NULL, *first, *code = NULL,
		    *message = NULL;
	char *text = NULL;

	if (json_object_is_type(root, json_type_object) && json_object_object_get_ex(root, "errors", &list) &&
		json_object_is_type(list, json_type_array) && json_object_array_length(list) > 0) {
		first = json_object_array_get_idx(list, 0);
		if (json_object_is_type(first, json_type_object)) {
			json_object_object_get_ex(first, "code", &code);
			json_object_object_get_ex(first, "message", &message);
		}
		if ((code || message) &&
			asprintf(&text, ": %.*s%s%.*s", WORDS_MAX, code ? json_object_get_string(code) : "",
				code && message ? ": " : "", WORDS_MAX,
				message ? json_object_get_string(message) : "") < 0)
			text = NULL;
	}
	json_object_put(root);
	for (char *c = text; c && *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
	return text;
}

int session_refused(const struct session *s, const char *what, const struct http_answer *a, struct err *e)
{
	_cleanup_free_ char *said = words(a);
	const char *more = said ? said : "";
	bool push = strstr(s->actions, "push");

	switch (a->status) {
	case 401:
	case 403:
		if (push)
			return err_set(e, -EACCES,
				"%s: nothing may be pushed to %s%s: log in as somebody who may: banger "
				"image login %s",
				s->host, s->path, more, s->host);
		return err_set(e, -EACCES,
			"%s: %s may not be read, or doesn't exist%s: check the name, or log in: banger "
			"image login %s",
			s->host, what, more, s->host);
	case 404:
		return err_set(e, -ENOENT, "%s has no %s%s", s->host, what, more);
	case 429:
		return err_set(e, -EBUSY,
			"%s: too many requests%s: wait%s, or log in for a higher limit: banger image login "
			"%s",
			s->host, more, a->retry_after ? "" : " a while", s->host);
	case 405:
		if (push)
			return err_set(e, -EROFS,
				"%s takes no pushes%s: it is read-only, or a mirror: push to another "
				"registry",
				s->host, more);
		break;
	case 413:
		return err_set(e, -EFBIG, "%s: %s is larger than it takes%s", s->host, what, more);
	case 507:
		return err_set(e, -ENOSPC, "%s has no room for %s%s", s->host, what, more);
	}
	return err_set(e, -EIO, "%s: %s: HTTP status %ld%s", s->host, what, a->status, more);
}
