#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <strings.h>

#include "banger/parse.h"
#include "registry/http.h"
#include "registry/http_redirect.h"

#define REDIRECTS_MAX       10
#define CONNECT_TIMEOUT_SEC 30L
#define SLOW_BYTES_SEC      1024L
#define SLOW_SEC            30L
#define DAY_SEC             86400
#define ERROR_BODY_MAX      (64 * 1024) /* an error's text */
#define BUFFER_BYTES        (256 * 1024L)
#define POLL_MSEC           1000

struct http {
	CURL *curl;
	CURLM *multi;
	int stops[HTTP_STOPS];
};

/* One transfer: what the callbacks share. */
struct transfer {
	const struct http_request *request;
	struct http_answer *answer;
	CURL *curl;
	bool own; /* still at the origin that was asked */
	uint64_t range_start;
	bool have_range;
	int sunk; /* what the sink returned */
	struct err *e;
	uint64_t sent;
	char why[CURL_ERROR_SIZE]; /* libcurl's own words, "": it has none */
};

int http_new(const int stop_fds[HTTP_STOPS], struct http **ret, struct err *e)
{
	_cleanup_(http_freep) struct http *h = calloc(1, sizeof(*h));

	if (!h)
		return err_sys(e, -ENOMEM, "http");
	h->curl = curl_easy_init();
	h->multi = curl_multi_init();
	if (!h->curl || !h->multi)
		return err_sys(e, -ENOMEM, "http");
	for (size_t i = 0; i < HTTP_STOPS; i++)
		h->stops[i] = stop_fds[i];
	*ret = TAKE_PTR(h);
	return 0;
}

struct http *http_free(struct http *h)
{
	if (!h)
		return NULL;
	curl_easy_cleanup(h->curl);
	curl_multi_cleanup(h->multi);
	free(h);
	return NULL;
}

void http_answer_clear(struct http_answer *a)
{
	free(a->content_type);
	free(a->digest);
	free(a->location);
	free(a->body);
	challenges_clear(&a->challenges);
	*a = (struct http_answer){0};
}

int http_wait(struct http *h, unsigned msec, struct err *e)
{
	struct pollfd polled[HTTP_STOPS];

	for (size_t i = 0; i < HTTP_STOPS; i++)
		polled[i] = (struct pollfd){.fd = h->stops[i], .events = POLLIN};
	if (poll(polled, HTTP_STOPS, (int)msec) > 0)
		return err_set(e, -EINTR, "cancelled");
	return 0;
}

static void keep(char **to, const char *value, size_t n)
{
	free(*to);
	*to = strndup(value, n);
}

/* "bytes 5-9/10" */
static void content_range(struct transfer *t, const char *value)
{
	_cleanup_free_ char *copy = NULL;
	size_t n;

	if (strncasecmp(value, "bytes ", 6) != 0)
		return;
	value += 6;
	n = strspn(value, "0123456789");
	copy = strndup(value, n);
	t->have_range = copy && value[n] == '-' && parse_u64(copy, 0, INT64_MAX, &t->range_start) == 0;
}

static void header(struct transfer *t, const char *name, size_t name_n, const char *value, size_t n)
{
	struct http_answer *a = t->answer;
#define IS(text) (name_n == strlen(text) && strncasecmp(name, text, name_n) == 0)

	if (IS("content-type")) {
		const char *end = memchr(value, ';', n);

		n = end ? (size_t)(end - value) : n;
		while (n && isspace((unsigned char)value[n - 1]))
			n--;
		keep(&a->content_type, value, n);
	} else if (IS("docker-content-digest")) {
		keep(&a->digest, value, n);
	} else if (IS("location")) {
		keep(&a->location, value, n);
	} else if (IS("www-authenticate")) {
		/* A stranger's challenge is none that the registry's credentials are for. */
		if (t->own)
			(void)challenges_add(&a->challenges, value, n, NULL);
	} else if (IS("content-range")) {
		_cleanup_free_ char *copy = strndup(value, n);

		if (copy)
			content_range(t, copy);
	}
#undef IS
}

static void begin_answer(struct transfer *t)
{
	bool redirected = t->answer->redirected;

	http_answer_clear(t->answer);
	t->answer->redirected = redirected;
	t->have_range = false;
}

static size_t on_header(char *line, size_t size, size_t count, void *user)
{
	struct transfer *t = user;
	size_t n = size * count, left;
	const char *colon, *value;

	/* Each answer begins anew: 100 Continue and a proxy's are answers too. */
	if (n >= 5 && strncasecmp(line, "HTTP/", 5) == 0) {
		begin_answer(t);
		return n;
	}
	colon = memchr(line, ':', n);
	if (!colon)
		return n;
	value = colon + 1;
	left = (size_t)(line + n - value);
	while (left && isspace((unsigned char)*value)) {
		value++;
		left--;
	}
	while (left && isspace((unsigned char)value[left - 1]))
		left--;
	header(t, line, (size_t)(colon - line), value, left);
	return n;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
	struct transfer *t = user;
	struct http_answer *a = t->answer;
	const struct http_request *q = t->request;
	size_t n = size * count, max;
	bool good;
	long status = 0;
	char *more;

	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
	good = status == 200 || status == 206;
	if (status >= 300 && status < 400)
		return n;
	if (good && q->sink) {
		a->ranged = status == 206 && t->have_range && t->range_start == q->from;
		if (status == 206 && !a->ranged) {
			t->sunk = err_set(t->e, -ERANGE, "%s sent another part of a blob than was asked for",
				q->endpoint->base);
			return 0;
		}
		t->sunk = q->sink(q->user, data, n, a->ranged, t->e);
		return t->sunk == 0 ? n : 0;
	}
	max = good ? q->body_max : ERROR_BODY_MAX;
	if (n > max - a->length) {
		if (!good)
			return n;
		t->sunk = err_set(t->e, -EFBIG, "%s sent more than %zu bytes", q->endpoint->base, max);
		return 0;
	}
	more = realloc(a->body, a->length + n + 1);
	if (!more) {
		t->sunk = err_sys(t->e, -ENOMEM, "http");
		return 0;
	}
	a->body = more;
	memcpy(a->body + a->length, data, n);
	a->length += n;
	a->body[a->length] = '\0';
	return n;
}

static size_t on_read(char *to, size_t size, size_t count, void *user)
{
	struct transfer *t = user;
	uint64_t left = t->request->file_size - t->sent;
	size_t n = size * count < left ? size * count : (size_t)left;
	ssize_t got = n ? pread(t->request->file, to, n, (off_t)t->sent) : 0;

	if (got < 0 || (n && got == 0)) {
		t->sunk = err_sys(t->e, got < 0 ? -errno : -ENODATA, "reading what is to be sent");
		return CURL_READFUNC_ABORT;
	}
	t->sent += (uint64_t)got;
	if (t->request->sent)
		t->request->sent(t->request->user, t->sent);
	return (size_t)got;
}

static int on_seek(void *user, curl_off_t offset, int origin)
{
	struct transfer *t = user;

	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > t->request->file_size)
		return CURL_SEEKFUNC_CANTSEEK;
	t->sent = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

/* Who was tried is the proxy, where it isn't the one that is asked. */
static int no_connection(const struct transfer *t, const char *shown, const char *url, long os, struct err *e)
{
	static const char tried[] = "Failed to connect to ";
	const char *to = strncmp(t->why, tried, sizeof(tried) - 1) == 0 ? t->why + sizeof(tried) - 1 : "";
	const char *host = strstr(url, "://"), *port = strstr(to, " port ");
	const char *what = os ? strerror((int)os) : curl_easy_strerror(CURLE_COULDNT_CONNECT);
	int code = os == ECONNREFUSED || os == 0 ? -ECONNREFUSED : -EHOSTUNREACH;

	host = host ? host + 3 : "";
	/* An address of six stands in brackets in one of them. */
	host += *host == '[';
	if (!port || strncmp(host, to, (size_t)(port - to)) == 0)
		return err_set(e, code, "%s: no connection: %s", shown, what);
	port += strlen(" port ");
	return err_set(e, code,
		"%s: no connection to the proxy %.*s:%.*s: %s: is it what https_proxy or http_proxy said "
		"when banger was started?",
		shown, (int)strcspn(to, " "), to, (int)strspn(port, "0123456789"), port, what);
}

/* What curl found, in errno's words. */
static int failed(const struct transfer *t, const char *url, CURLcode code, struct err *e)
{
	_cleanup_free_ char *shown = url_shown(url);
	long os = 0, proxy = 0;

	curl_easy_getinfo(t->curl, CURLINFO_OS_ERRNO, &os);
	curl_easy_getinfo(t->curl, CURLINFO_HTTP_CONNECTCODE, &proxy);
	if (proxy >= 300)
		return err_set(e, -EACCES, "%s: the proxy says no (HTTP status %ld)%s", shown, proxy,
			proxy == 407 ? ": it wants a user and a password: start banger with "
				       "https_proxy=http://USER:PASSWORD@HOST:PORT"
				     : "");
	switch (code) {
	case CURLE_COULDNT_RESOLVE_PROXY:
		return err_set(e, -EHOSTUNREACH,
			"%s: the proxy's name has no address: is it what https_proxy or http_proxy said when "
			"banger was started?",
			shown);
	case CURLE_COULDNT_RESOLVE_HOST:
		return err_set(e, -EHOSTUNREACH,
			"%s: the name has no address: is it right, and is the network up?", shown);
	case CURLE_COULDNT_CONNECT:
		return no_connection(t, shown, url, os, e);
	case CURLE_OPERATION_TIMEDOUT:
		return err_set(e, -ETIMEDOUT, "%s: no answer, or too slow a one", shown);
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
		return err_set(e, -EKEYREJECTED,
			"%s: its certificate is not trusted (%s): put its CA into "
			"/etc/containers/certs.d/HOST/ca.crt",
			shown, curl_easy_strerror(code));
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_HTTP2:
		return err_set(e, -EPROTO, "%s: %s", shown, curl_easy_strerror(code));
	case CURLE_OUT_OF_MEMORY:
		return err_sys(e, -ENOMEM, "http");
	default:
		/* The rest is a connection that broke in one way or another. */
		return err_set(e, t->request->endpoint ? -ECONNRESET : -EIO, "%s: the connection broke: %s",
			shown, curl_easy_strerror(code));
	}
}

/* Until the transfer is over or somebody stops it. */
static int drive(struct http *h, CURLcode *ret, struct err *e)
{
	struct curl_waitfd extra[HTTP_STOPS];
	unsigned extras = 0;
	int running = 1, left;
	CURLMsg *msg;

	for (size_t i = 0; i < HTTP_STOPS; i++)
		if (h->stops[i] >= 0)
			extra[extras++] = (struct curl_waitfd){.fd = h->stops[i], .events = CURL_WAIT_POLLIN};
	for (;;) {
		int r = http_wait(h, 0, e);

		if (r < 0)
			return r;
		if (curl_multi_perform(h->multi, &running) != CURLM_OK)
			return err_set(e, -EIO, "libcurl failed");
		if (!running)
			break;
		if (curl_multi_poll(h->multi, extra, extras, POLL_MSEC, NULL) != CURLM_OK)
			return err_set(e, -EIO, "libcurl failed");
	}
	*ret = CURLE_OK;
	while ((msg = curl_multi_info_read(h->multi, &left)))
		if (msg->msg == CURLMSG_DONE)
			*ret = msg->data.result;
	return 0;
}

static void set_body(struct transfer *t)
{
	const struct http_request *q = t->request;
	CURL *c = t->curl;

	if (q->send_file) {
		curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
		curl_easy_setopt(c, CURLOPT_READDATA, t);
		curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, on_seek);
		curl_easy_setopt(c, CURLOPT_SEEKDATA, t);
		curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)q->file_size);
	} else if (q->data || (q->method && strcmp(q->method, "POST") == 0)) {
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->data_size);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, q->data ? q->data : "");
	}
	if (q->method && strcmp(q->method, "HEAD") == 0)
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	else if (q->method)
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, q->method);
}

static void set_tls(CURL *c, const struct endpoint *at, bool own)
{
	if (!own)
		return;
	if (at->ca_file)
		curl_easy_setopt(c, CURLOPT_CAINFO, at->ca_file);
	if (at->cert_file) {
		curl_easy_setopt(c, CURLOPT_SSLCERT, at->cert_file);
		curl_easy_setopt(c, CURLOPT_SSLKEY, at->key_file ? at->key_file : at->cert_file);
	}
	if (at->insecure) {
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
	}
}

static int add_header(struct curl_slist **list, const char *name, const char *value)
{
	_cleanup_free_ char *line = NULL;
	struct curl_slist *more;

	if (asprintf(&line, "%s: %s", name, value) < 0)
		return -ENOMEM;
	more = curl_slist_append(*list, line);
	if (!more)
		return -ENOMEM;
	*list = more;
	return 0;
}

static int set_headers(struct transfer *t, struct curl_slist **list, struct err *e)
{
	const struct http_request *q = t->request;
	int r = 0;

	if (q->authorization && t->own)
		r = add_header(list, "Authorization", q->authorization);
	if (r == 0 && q->accept)
		r = add_header(list, "Accept", q->accept);
	if (r == 0 && q->content_type)
		r = add_header(list, "Content-Type", q->content_type);
	/* A registry that doesn't know of it would cost a second for each upload. */
	if (r == 0 && (q->send_file || q->data))
		r = add_header(list, "Expect", "");
	if (r < 0)
		return err_sys(e, r, "http");
	curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, *list);
	return 0;
}

static void set_up(struct transfer *t, const char *url)
{
	_cleanup_free_ char *range = NULL;
	CURL *c = t->curl;

	curl_easy_reset(c);
	t->why[0] = '\0';
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->why);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_USERAGENT, "banger/" BANGER_VERSION);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_SEC);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES_SEC);
	curl_easy_setopt(
		c, CURLOPT_LOW_SPEED_TIME, t->request->slow_sec ? (long)t->request->slow_sec : SLOW_SEC);
	/* Who stops doesn't wait for an answer of the name service. */
	curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
	/* Blobs go over connections of their own: one stream of many over one TCP connection is slower. */
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	if (t->request->from > 0 && asprintf(&range, "%" PRIu64 "-", t->request->from) > 0)
		curl_easy_setopt(c, CURLOPT_RANGE, range);
	set_tls(c, t->request->endpoint, t->own);
	set_body(t);
}

/* As Go's programs do: no proxy is asked for this machine. */
static bool no_proxy(const struct endpoint *at)
{
	const char *host = strstr(at->base, "://");

	return host && host_is_loopback(host + 3);
}

/* One hop. */
static int hop(struct http *h, struct transfer *t, const char *url, struct err *e)
{
	struct curl_slist *headers = NULL;
	CURLcode code = CURLE_OK;
	curl_off_t seconds = 0;
	int r;

	set_up(t, url);
	if (t->own && no_proxy(t->request->endpoint))
		curl_easy_setopt(t->curl, CURLOPT_PROXY, "");
	r = set_headers(t, &headers, e);
	if (r == 0 && curl_multi_add_handle(h->multi, t->curl) != CURLM_OK)
		r = err_set(e, -EIO, "libcurl failed");
	if (r == 0) {
		r = drive(h, &code, e);
		curl_multi_remove_handle(h->multi, t->curl);
	}
	curl_slist_free_all(headers);
	if (r < 0)
		return r;
	if (t->sunk < 0)
		return t->sunk;
	if (code != CURLE_OK)
		return failed(t, url, code, e);
	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &t->answer->status);
	/* As seconds or as a date. */
	curl_easy_getinfo(t->curl, CURLINFO_RETRY_AFTER, &seconds);
	t->answer->retry_after = seconds <= 0 ? 0 : seconds < DAY_SEC ? (unsigned)seconds : DAY_SEC;
	return 0;
}

static bool leads_on(const struct http_answer *a)
{
	switch (a->status) {
	case 301:
	case 302:
	case 303:
	case 307:
	case 308:
		return a->location;
	default:
		return false;
	}
}

int http_run(struct http *h, const struct http_request *request, struct http_answer *ret, struct err *e)
{
	struct transfer t = {
		.request = request, .answer = ret, .curl = h->curl, .own = !request->stranger, .e = e};
	_cleanup_free_ char *url = strdup(request->url);

	if (!url)
		return err_sys(e, -ENOMEM, "http");
	for (int hops = 0;; hops++) {
		char *next = NULL;
		int r = hop(h, &t, url, e);

		if (r < 0 || !leads_on(ret))
			return r;
		/* What was to be sent has gone; only the registry's own answers say where it goes next. */
		if (request->send_file || request->data)
			return 0;
		if (hops == REDIRECTS_MAX)
			return err_set(e, -ELOOP, "%s leads from one address to the next, %d times",
				request->endpoint->base, REDIRECTS_MAX);
		curl_easy_getinfo(h->curl, CURLINFO_REDIRECT_URL, &next);
		if (!next)
			return err_set(e, -EPROTO, "%s leads to what is no address", request->endpoint->base);
		r = url_may_follow(request->endpoint, url, next, e);
		if (r < 0)
			return r;
		t.own = t.own && url_same_origin(request->url, next);
		ret->redirected = !t.own;
		free(url);
		url = strdup(next);
		if (!url)
			return err_sys(e, -ENOMEM, "http");
	}
}

bool http_transient_error(int code)
{
	return code == -ECONNREFUSED || code == -EHOSTUNREACH || code == -ETIMEDOUT || code == -ECONNRESET;
}

bool http_transient_status(long status)
{
	/* RFC 9110 and 6585, and what load balancers make of them. */
	return status == 408 || status == 429 || status == 499 || status == 500 || status == 502 ||
	       status == 503 || status == 504 || status == 522;
}
