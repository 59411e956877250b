#include "registry/upload.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>

#include "registry/http_redirect.h"
#include "registry/registry_state.h"

#define TRIES_MAX        5
#define FIRST_WAIT_MSEC  500u
#define RETRY_WAIT_LIMIT (60 * 1000)
#define ANSWER_MAX       (64 * 1024) /* nobody reads it */
#define REDIRECTS_MAX    3

static void show(const struct upload *u, const char *stage, uint64_t done)
{
	const char *hex = strchr(u->blob->digest, ':');
	char name[16];

	snprintf(name, sizeof(name), "%.12s", hex ? hex + 1 : u->blob->digest);
	op_part(u->session->op, u->part, name, stage, done, u->blob->size);
}

static void on_sent(void *user, uint64_t n)
{
	show(user, "push", n);
}

static int refused(const struct upload *u, const struct http_answer *a, struct err *e)
{
	_cleanup_free_ char *what = NULL;

	if (asprintf(&what, "blob %s", u->blob->digest) < 0) {
		what = NULL;
		return err_sys(e, -ENOMEM, "blob");
	}
	return session_refused(u->session, what, a, e);
}

/* 1: the registry has it. */
static int is_there(const struct upload *u, struct http *h, struct err *e)
{
	_cleanup_(http_answer_clear) struct http_answer a = {0};
	_cleanup_free_ char *path = NULL;
	struct http_request request = {.method = "HEAD"};
	int r;

	if (asprintf(&path, "blobs/%s", u->blob->digest) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "blob");
	}
	request.url = path;
	r = session_run(u->session, h, &request, true, &a, e);
	if (r < 0)
		return r;
	/* Somebody who may write and not read is none of the specification's, but what HEAD says to him is no reason to give up. */
	return a.status >= 200 && a.status < 300;
}

/* TO, as it stands in an answer to what was asked at FROM, whole, and where it may lead. */
static int absolute(const struct session *s, const char *from, const char *to, char **ret, struct err *e)
{
	const struct endpoint *at = &s->endpoints[s->at];
	CURLU *url = curl_url();
	char *whole = NULL;
	int r = 0;

	if (!to || !url || curl_url_set(url, CURLUPART_URL, from, 0) != CURLUE_OK ||
		curl_url_set(url, CURLUPART_URL, to, 0) != CURLUE_OK ||
		curl_url_get(url, CURLUPART_URL, &whole, 0) != CURLUE_OK)
		r = err_set(e, -EPROTO, "%s doesn't say where a blob is to be sent", at->base);
	else
		r = url_may_follow(at, at->base, whole, e);
	if (r == 0 && !(*ret = strdup(whole)))
		r = err_sys(e, -ENOMEM, "blob");
	curl_free(whole);
	curl_url_cleanup(url);
	return r;
}

static char *escape(const char *text)
{
	char *escaped = curl_easy_escape(NULL, text, 0), *copy = escaped ? strdup(escaped) : NULL;

	curl_free(escaped);
	return copy;
}

static int begin_path(const struct upload *u, char **ret, struct err *e)
{
	_cleanup_free_ char *digest = escape(u->blob->digest),
			    *from = u->session->from ? escape(u->session->from) : NULL;
	int n = -1;

	if (digest && from)
		n = asprintf(ret, "blobs/uploads/?mount=%s&from=%s", digest, from);
	else if (digest && !u->session->from)
		n = asprintf(ret, "blobs/uploads/");
	return n < 0 ? err_sys(e, -ENOMEM, "blob") : 0;
}

/* *RET: where it is to be sent, the caller's; NULL: it needn't be, the registry has mounted it. */
static int begin(const struct upload *u, struct http *h, char **ret, struct err *e)
{
	const struct session *s = u->session;
	_cleanup_(http_answer_clear) struct http_answer a = {0};
	_cleanup_free_ char *path = NULL, *base = NULL;
	struct http_request request = {.method = "POST", .data = "", .body_max = ANSWER_MAX};
	int r = begin_path(u, &path, e);

	if (r < 0)
		return r;
	request.url = path;
	r = session_run(u->session, h, &request, true, &a, e);
	if (r < 0)
		return r;
	*ret = NULL;
	if (a.status == 201)
		return 0;
	if (a.status != 202)
		return refused(u, &a, e);
	if (asprintf(&base, "%s/v2/%s/blobs/uploads/", s->endpoints[s->at].base, s->path) < 0) {
		base = NULL;
		return err_sys(e, -ENOMEM, "blob");
	}
	return absolute(s, base, a.location, ret, e);
}

/* Sends all of FD to TO. 0: it is there; -EAGAIN: from the beginning, E says why it wasn't. */
static int put(
	const struct upload *u, struct http *h, int fd, const char *to, unsigned *ret_wait, struct err *e)
{
	_cleanup_free_ char *digest = escape(u->blob->digest), *url = NULL;
	struct http_request request = {.method = "PUT",
		.content_type = "application/octet-stream",
		.send_file = true,
		.file = fd,
		.file_size = u->blob->size,
		.sent = on_sent,
		.user = (void *)u,
		.body_max = ANSWER_MAX};

	if (!digest || asprintf(&url, "%s%cdigest=%s", to, strchr(to, '?') ? '&' : '?', digest) < 0) {
		url = NULL;
		return err_sys(e, -ENOMEM, "blob");
	}
	for (int hops = 0;; hops++) {
		_cleanup_(http_answer_clear) struct http_answer a = {0};
		char *next = NULL;
		int r;

		request.url = url;
		r = session_run(u->session, h, &request, false, &a, e);
		if (http_transient_error(r))
			return -EAGAIN;
		if (r < 0)
			return r;
		if (a.status == 201 || a.status == 204)
			return 0;
		if ((a.status == 307 || a.status == 308) && hops < REDIRECTS_MAX) {
			r = absolute(u->session, url, a.location, &next, e);
			if (r < 0)
				return r;
			free(url);
			url = next;
			continue;
		}
		r = refused(u, &a, e);
		*ret_wait = a.retry_after * 1000;
		/* An upload that it has lost is begun anew. */
		return http_transient_status(a.status) || a.status == 404 || a.status == 416 ? -EAGAIN : r;
	}
}

int upload_run(const struct upload *u, struct http *h, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	uint64_t size;
	int r;

	show(u, "ask the registry", 0);
	r = is_there(u, h, e);
	if (r == 1)
		show(u, "there", u->blob->size);
	if (r != 0)
		return r < 0 ? r : 0;
	for (unsigned tries = 1;; tries++) {
		_cleanup_free_ char *to = NULL;
		_cleanup_err_ struct err own = {0};
		unsigned msec = 0;

		r = begin(u, h, &to, e);
		if (r < 0)
			return r;
		if (!to) {
			show(u, "there", u->blob->size);
			return 0;
		}
		if (fd < 0)
			r = blobs_open(u->session->registry->blobs, u->blob->digest, &fd, &size, e);
		if (r < 0)
			return r;
		if (size != u->blob->size)
			return err_set(e, -EBADMSG,
				"blob %s has %llu bytes here, not the %llu that the manifest says",
				u->blob->digest, (unsigned long long)size, (unsigned long long)u->blob->size);
		show(u, "push", 0);
		r = put(u, h, fd, to, &msec, &own);
		if (r == 0) {
			show(u, "there", size);
			return 0;
		}
		msec = msec ? msec : FIRST_WAIT_MSEC << (tries - 1);
		if (r != -EAGAIN || tries == TRIES_MAX || msec > RETRY_WAIT_LIMIT)
			return err_move(e, &own);
		show(u, "wait for the registry", 0);
		r = http_wait(h, msec, e);
		if (r < 0)
			return r;
	}
}
