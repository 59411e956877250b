#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "banger/io.h"
#include "engine/engine.h"
#include "engine/fc_api.h"
#include "engine/vmm_json.h"

#define BODY_MAX    65536
#define HEADER_MAX  16384 /* libcurl keeps what it hears of them */
#define TEXT_MAX    400   /* of Firecracker's words, in an error */
#define LISTEN_MSEC 2

struct fc_api {
	int dir_fd;
	struct op *op;
	CURL *curl;
	CURLM *multi;
};

struct transfer {
	char *body;
	size_t length, header_length;
	int code; /* why a callback ended it */
};

int fc_api_new(int vm_dir_fd, struct op *op, struct fc_api **ret, struct err *e)
{
	_cleanup_(fc_api_freep) struct fc_api *a = calloc(1, sizeof(*a));

	if (!a)
		return err_sys(e, -ENOMEM, "Firecracker");
	a->dir_fd = vm_dir_fd;
	a->op = op;
	a->curl = curl_easy_init();
	a->multi = curl_multi_init();
	if (!a->curl || !a->multi)
		return err_sys(e, -ENOMEM, "Firecracker");
	*ret = TAKE_PTR(a);
	return 0;
}

struct fc_api *fc_api_free(struct fc_api *a)
{
	if (a) {
		curl_easy_cleanup(a->curl);
		curl_multi_cleanup(a->multi);
		free(a);
	}
	return NULL;
}

int fc_api_wait(struct fc_api *a, int pidfd, unsigned timeout_msec, struct err *e)
{
	uint64_t end = io_now_usec() + (uint64_t)timeout_msec * 1000;

	for (;;) {
		struct pollfd p[] = {
			{.fd = pidfd, .events = POLLIN}, {.fd = op_cancel_fd(a->op), .events = POLLIN}};
		_cleanup_close_ int fd = -EBADF;
		int r = engine_connect(a->dir_fd, ENGINE_API_SOCKET, &fd, NULL);

		if (r == 0)
			return 0;
		if (r != -ENOENT && r != -ECONNREFUSED && r != -EAGAIN)
			return err_sys(e, r, "Firecracker's API socket");
		if (io_now_usec() >= end)
			return err_set(e, -ETIMEDOUT, "Firecracker doesn't open its API socket");
		if (poll(p, ELEMENTSOF(p), LISTEN_MSEC) < 0 && errno != EINTR)
			return err_sys(e, -errno, "Firecracker's API socket");
		if (p[1].revents)
			return err_set(e, -EINTR, "cancelled");
		if (p[0].revents)
			return err_set(e, -ESRCH, "Firecracker ended before it opened its API socket");
	}
}

static size_t on_header(char *line, size_t size, size_t count, void *user)
{
	struct transfer *t = user;

	(void)line;
	t->header_length += size * count;
	if (t->header_length <= HEADER_MAX)
		return size * count;
	t->code = -EFBIG;
	return 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
	struct transfer *t = user;
	size_t n = size * count;
	char *more;

	if (n > BODY_MAX - t->length) {
		t->code = -EFBIG;
		return 0;
	}
	more = realloc(t->body, t->length + n + 1);
	if (!more) {
		t->code = -ENOMEM;
		return 0;
	}
	t->body = more;
	memcpy(t->body + t->length, data, n);
	t->length += n;
	t->body[t->length] = '\0';
	return n;
}

/* Until the transfer is over, or the operation is cancelled. */
static int drive(struct fc_api *a, CURLcode *ret, struct err *e)
{
	struct curl_waitfd cancel = {.fd = op_cancel_fd(a->op), .events = CURL_WAIT_POLLIN};
	int running = 1, left;
	CURLMsg *msg;

	for (;;) {
		int r = op_check(a->op, e);

		if (r < 0)
			return r;
		if (curl_multi_perform(a->multi, &running) != CURLM_OK)
			return err_set(e, -EIO, "libcurl failed");
		if (!running)
			break;
		if (curl_multi_poll(a->multi, &cancel, cancel.fd >= 0, FC_MSEC, NULL) != CURLM_OK)
			return err_set(e, -EIO, "libcurl failed");
	}
	*ret = CURLE_OK;
	while ((msg = curl_multi_info_read(a->multi, &left)))
		if (msg->msg == CURLMSG_DONE)
			*ret = msg->data.result;
	return 0;
}

static int failed(CURL *curl, CURLcode code, const struct transfer *t, const char *what, const char *path,
	struct err *e)
{
	long os = 0;

	if (t->code == -EFBIG)
		return err_set(e, -EFBIG, "Firecracker's answer to %s %s is too long", what, path);
	curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os);
	switch (code) {
	case CURLE_OPERATION_TIMEDOUT:
		return err_set(e, -ETIMEDOUT, "Firecracker doesn't answer %s %s", what, path);
	case CURLE_COULDNT_CONNECT:
		return err_sys(e, os == ENOENT ? -ENOENT : -ECONNREFUSED, "Firecracker's API socket");
	case CURLE_OUT_OF_MEMORY:
		return err_sys(e, -ENOMEM, "Firecracker");
	case CURLE_GOT_NOTHING:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_PARTIAL_FILE:
		return err_set(e, -EPIPE, "Firecracker gave no whole answer to %s %s", what, path);
	case CURLE_WRITE_ERROR:
		if (t->code)
			return err_sys(e, t->code, "Firecracker");
		/* fall through */
	default:
		return err_set(e, -EPROTO, "Firecracker's answer to %s %s is none: %s", what, path,
			curl_easy_strerror(code));
	}
}

/* One line of what it said, for people. */
static void printable(char *text)
{
	size_t n = strnlen(text, TEXT_MAX);

	text[n] = '\0';
	for (char *c = text; *c; c++)
		if (*c == '\n')
			*c = ' ';
		else if ((unsigned char)*c < ' ' || (unsigned char)*c >= 127)
			*c = '?';
	while (n > 0 && text[n - 1] == ' ')
		text[--n] = '\0';
}

/*
 * {"fault_message": TEXT} of the VMM, {"error": TEXT} of its HTTP server, which doesn't always keep to JSON: then all of it.
 */
static int refused(const char *what, const char *path, long status, const char *body, struct err *e)
{
	json_object *o = body ? vmm_json_parse(body) : NULL;
	const char *said = vmm_json_text(o, "fault_message");
	_cleanup_free_ char *text = NULL;

	if (!said)
		said = vmm_json_text(o, "error");
	text = strdup(said ? said : body ? body : "");
	json_object_put(o);
	if (!text)
		return err_sys(e, -ENOMEM, "Firecracker");
	printable(text);
	return err_set(e, -EIO, "Firecracker refused %s %s: %s (status %ld)", what, path,
		*text ? text : "it doesn't say why", status);
}

static int answer(CURL *curl, const struct transfer *t, const char *what, const char *path, json_object **ret,
	struct err *e)
{
	json_object *o = NULL;
	long status = 0;

	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200 || status > 299)
		return refused(what, path, status, t->body, e);
	if (t->length > 0) {
		o = vmm_json_parse(t->body);
		if (!o)
			return err_set(e, -EPROTO, "Firecracker's answer to %s %s is no JSON", what, path);
	}
	if (ret)
		*ret = o;
	else
		json_object_put(o);
	return 0;
}

static void set_up(CURL *c, const char *method, const char *url, const char *socket_path, const char *body,
	unsigned timeout_msec, struct transfer *t)
{
	curl_easy_reset(c);
	curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, socket_path);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http");
	/* The environment's proxies are for the net. */
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)timeout_msec);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
	if (body) {
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
	}
}

static int run(struct fc_api *a, const char *what, const char *path, struct transfer *t, json_object **ret,
	struct err *e)
{
	CURLcode code = CURLE_OK;
	int r;

	if (curl_multi_add_handle(a->multi, a->curl) != CURLM_OK)
		return err_set(e, -EIO, "libcurl failed");
	r = drive(a, &code, e);
	curl_multi_remove_handle(a->multi, a->curl);
	if (r < 0)
		return r;
	return code == CURLE_OK ? answer(a->curl, t, what, path, ret, e)
				: failed(a->curl, code, t, what, path, e);
}

int fc_api_call(struct fc_api *a, const char *method, const char *path, json_object *body,
	unsigned timeout_msec, json_object **ret, struct err *e)
{
	_cleanup_free_ char *url = NULL, *socket_path = NULL;
	_cleanup_close_ int socket = -EBADF;
	struct curl_slist *headers;
	struct transfer t = {0};
	const char *text = NULL;
	int r = engine_find_socket(a->dir_fd, ENGINE_API_SOCKET, &socket, e);

	if (r < 0)
		return r;
	headers = curl_slist_append(NULL, "Accept: application/json");

	if (asprintf(&url, "http://localhost%s", path) < 0)
		url = NULL;
	if (asprintf(&socket_path, "/proc/self/fd/%d", socket) < 0)
		socket_path = NULL;
	if (headers && body) {
		struct curl_slist *more = curl_slist_append(headers, "Content-Type: application/json");

		text = more ? json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN) : NULL;
	}
	if (!url || !socket_path || !headers || (body && !text)) {
		curl_slist_free_all(headers);
		return err_sys(e, -ENOMEM, "Firecracker");
	}
	set_up(a->curl, method, url, socket_path, text, timeout_msec, &t);
	curl_easy_setopt(a->curl, CURLOPT_HTTPHEADER, headers);
	r = run(a, method, path, &t, ret, e);
	curl_slist_free_all(headers);
	free(t.body);
	return r;
}

int fc_version_get(struct fc_api *a, struct fc_version *ret, char **ret_note, struct err *e)
{
	json_object *o = NULL;
	struct fc_version v;
	const char *text;
	int r = fc_api_call(a, "GET", "/version", NULL, FC_MSEC, &o, e);

	if (r < 0)
		return r;
	text = vmm_json_text(o, "firecracker_version");
	r = text ? fc_version_parse(text, &v) : -EINVAL;
	json_object_put(o);
	if (r < 0)
		return err_set(e, -EPROTO, "Firecracker's version cannot be read from its answer");
	r = fc_version_note(&v, ret_note, e);
	if (r < 0)
		return r;
	*ret = v;
	return 0;
}
