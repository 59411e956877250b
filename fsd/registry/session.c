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
	endpoints_free(s->endpoints, s->count);
	free(s->host);
	free(s->path);
	free(s);
	return NULL;
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

/* One try, with as many logins as it takes: a token that has ended, then one of too little scope. */
static int once(
	struct session *s, struct http *h, struct http_request *q, struct http_answer *ret, struct err *e)
{
	_cleanup_free_ char *header = q->stranger ? NULL : auth_known(s);
	bool known = header;

	for (int logins = 0;; logins++) {
		_cleanup_free_ char *fresh = NULL;
		int r;

		http_answer_clear(ret);
		q->authorization = header;
		r = http_run(h, q, ret, e);
		if (r < 0)
			return r;
		if (q->stranger || ret->status != 401 || ret->challenges.count == 0 ||
			logins == (known ? 2 : 1))
			return 0;
		r = auth_renew(s, h, &ret->challenges, header, &fresh, e);
		if (r < 0)
			return r;
		free(header);
		header = TAKE_PTR(fresh);
	}
}

/* Half a second, one, two ...; what the registry asks for instead, within reason. */
static int wait_for_retry(struct http *h, int tries, const struct http_answer *a, struct err *e)
{
	unsigned msec = FIRST_WAIT_MSEC << tries;

	if (a->retry_after)
		msec = a->retry_after * 1000;
	return http_wait(h, msec, e);
}

static bool worth_waiting(int code, const struct http_answer *a)
{
	if (code < 0)
		return http_transient_error(code);
	return http_transient_status(a->status) && a->retry_after <= RETRY_AFTER_MAX_SEC;
}

int session_run(struct session *s, struct http *h, const struct http_request *request, bool retry,
	struct http_answer *ret, struct err *e)
{
	_cleanup_free_ char *url = whole_url(s, request->url);
	struct http_request q = *request;

	if (!url)
		return err_sys(e, -ENOMEM, "session");
	q.url = url;
	q.endpoint = &s->endpoints[s->at];
	q.stranger = !url_same_origin(url, q.endpoint->base);
	for (int tries = 0;; tries++) {
		_cleanup_err_ struct err own = {0};
		int r = once(s, h, &q, ret, &own);

		if (!retry || !worth_waiting(r, ret) || tries == TRIES_MAX - 1)
			return r < 0 ? err_move(e, &own) : 0;
		op_stage(s->op, "wait for the registry");
		r = wait_for_retry(h, tries, ret, e);
		if (r < 0)
			return r;
	}
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

static int make_plain(struct session *s, bool remember, struct err *e)
{
	struct endpoint *at = &s->endpoints[s->at];
	_cleanup_free_ char *base = NULL;
	struct plain *one;

	if (strncmp(at->base, "https://", 8) != 0)
		return 0;
	if (asprintf(&base, "http://%s", at->base + 8) < 0) {
		base = NULL;
		return err_sys(e, -ENOMEM, "session");
	}
	if (remember) {
		one = calloc(1, sizeof(*one));
		if (!one)
			return err_sys(e, -ENOMEM, "session");
		one->base = at->base;
		pthread_mutex_lock(&s->registry->lock);
		LIST_INSERT_HEAD(&s->registry->plains, one, link);
		pthread_mutex_unlock(&s->registry->lock);
	} else {
		free(at->base);
	}
	at->base = TAKE_PTR(base);
	return 0;
}

static void forget_plain(struct session *s)
{
	const char *host = s->endpoints[s->at].base;
	struct registry *r = s->registry;
	struct plain *one, *next;

	host = strstr(host, "://");
	pthread_mutex_lock(&r->lock);
	for (one = LIST_FIRST(&r->plains); one; one = next) {
		next = LIST_NEXT(one, link);
		if (host && strcmp(one->base + strlen("https"), host) == 0) {
			LIST_REMOVE(one, link);
			free(one->base);
			free(one);
		}
	}
	pthread_mutex_unlock(&r->lock);
}

/* At the endpoint S->at, by https or, where that is allowed and nobody speaks it, http. */
static int reach_one(struct session *s, struct http *h, const struct http_request *request,
	struct http_answer *ret, struct err *e)
{
	_cleanup_err_ struct err https = {0};
	bool may = s->endpoints[s->at].try_http && strncmp(s->endpoints[s->at].base, "https://", 8) == 0;
	int r;

	if (!may)
		return session_run(s, h, request, true, ret, e);
	if (is_plain(s)) {
		r = make_plain(s, false, e);
		if (r == 0)
			r = session_run(s, h, request, false, ret, e);
		/* It may speak https by now: next time that is tried first again. */
		if (r < 0)
			forget_plain(s);
		return r;
	}
	r = session_run(s, h, request, false, ret, &https);
	if (r != -EPROTO && r != -ECONNREFUSED && r != -ECONNRESET && r != -ETIMEDOUT)
		return r < 0 ? err_move(e, &https) : 0;
	r = make_plain(s, true, e);
	if (r == 0)
		r = session_run(s, h, request, false, ret, e);
	if (r < 0) {
		forget_plain(s);
		err_join(e, "by https: %s", err_text(&https));
	}
	return r;
}

int session_reach(struct session *s, struct http *h, const struct http_request *request,
	struct http_answer *ret, struct err *e)
{
	for (s->at = 0;; s->at++) {
		_cleanup_err_ struct err own = {0};
		int r = reach_one(s, h, request, ret, &own);
		bool last = s->at == s->count - 1;

		if (r == -EINTR || last || (r == 0 && ret->status >= 200 && ret->status < 300)) {
			s->reached = r == 0;
			return r < 0 ? err_move(e, &own) : 0;
		}
		http_answer_clear(ret);
	}
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
				"%s: nothing may be pushed to %s%s: log in as somebody who may: banger login "
				"%s",
				s->host, s->path, more, s->host);
		return err_set(e, -EACCES,
			"%s: %s may not be read, or doesn't exist%s: check the name, or log in: banger login "
			"%s",
			s->host, what, more, s->host);
	case 404:
		return err_set(e, -ENOENT, "%s has no %s%s", s->host, what, more);
	case 429:
		return err_set(e, -EBUSY,
			"%s: too many requests%s: wait%s, or log in for a higher limit: banger login %s",
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
