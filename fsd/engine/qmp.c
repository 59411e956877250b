#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "engine/engine.h"
#include "engine/qmp.h"
#include "engine/vmm_json.h"

#define QMP_LINE_MAX 65536

struct qmp {
	int fd;
	uint64_t end;
	struct op *op;
	char buf[QMP_LINE_MAX];
	size_t have;
};

static int ready(struct qmp *q, short events, struct err *e)
{
	for (;;) {
		struct pollfd p[] = {
			{.fd = q->fd, .events = events}, {.fd = op_cancel_fd(q->op), .events = POLLIN}};
		uint64_t now = io_now_usec();
		int r;

		if (now >= q->end)
			return err_set(e, -ETIMEDOUT, "QEMU's monitor doesn't answer");
		r = poll(p, ELEMENTSOF(p), (int)((q->end - now) / 1000 + 1));
		if (r < 0 && errno != EINTR)
			return err_sys(e, -errno, "QEMU's monitor");
		if (p[1].revents)
			return err_set(e, -EINTR, "cancelled");
		if (r > 0 && p[0].revents)
			return 0;
	}
}

static int say(struct qmp *q, const char *text, struct err *e)
{
	size_t n = strlen(text);

	while (n > 0) {
		int r = ready(q, POLLOUT, e);
		ssize_t k;

		if (r < 0)
			return r;
		k = send(q->fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (k < 0 && errno != EAGAIN && errno != EINTR)
			return err_sys(e, -errno, "QEMU's monitor");
		if (k > 0) {
			text += k;
			n -= (size_t)k;
		}
	}
	return 0;
}

/* The next object; events are passed over by the callers. */
static int hear(struct qmp *q, json_object **ret, struct err *e)
{
	for (;;) {
		char *newline = memchr(q->buf, '\n', q->have);
		ssize_t n;
		int r;

		if (newline) {
			*newline = '\0';
			*ret = vmm_json_parse(q->buf);
			q->have -= (size_t)(newline + 1 - q->buf);
			memmove(q->buf, newline + 1, q->have);
			if (*ret)
				return 0;
			return err_set(e, -EPROTO, "QEMU's monitor speaks no JSON");
		}
		if (q->have == sizeof(q->buf))
			return err_set(e, -EPROTO, "QEMU's monitor says too much");
		r = ready(q, POLLIN, e);
		if (r < 0)
			return r;
		n = recv(q->fd, q->buf + q->have, sizeof(q->buf) - q->have, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return err_set(e, n < 0 ? -errno : -EPIPE, "QEMU closed its monitor");
		q->have += (size_t)n;
	}
}

/* Waits for the answer of the command just said. */
static int answer(struct qmp *q, const char *command, json_object **ret, struct err *e)
{
	for (;;) {
		json_object *o, *value;
		const char *text;
		int r = hear(q, &o, e);

		if (r < 0)
			return r;
		if (json_object_object_get_ex(o, "return", &value)) {
			if (ret)
				*ret = json_object_get(value);
			json_object_put(o);
			return 0;
		}
		if (json_object_object_get_ex(o, "error", &value)) {
			text = vmm_json_text(value, "desc");
			r = err_set(e, -EIO, "QEMU refused %s: %.200s", command, text ? text : "");
			json_object_put(o);
			return r;
		}
		json_object_put(o);
	}
}

int qmp_call(struct qmp *q, const char *command, const char *arguments, json_object **ret, struct err *e)
{
	_cleanup_free_ char *line = NULL;
	int r;

	if (asprintf(&line, "{\"execute\":\"%s\"%s%s}\n", command, arguments ? ",\"arguments\":" : "",
		    arguments ? arguments : "") < 0) {
		line = NULL;
		return err_sys(e, -ENOMEM, "QEMU's monitor");
	}
	r = say(q, line, e);
	return r == 0 ? answer(q, command, ret, e) : r;
}

struct qmp *qmp_close(struct qmp *q)
{
	if (q) {
		close_fd(q->fd);
		free(q);
	}
	return NULL;
}

int qmp_open(int vm_dir_fd, unsigned timeout_msec, struct op *op, struct qmp **ret, struct err *e)
{
	_cleanup_(qmp_closep) struct qmp *q = calloc(1, sizeof(*q));
	int r;

	if (!q)
		return err_sys(e, -ENOMEM, "QEMU's monitor");
	q->fd = -EBADF;
	q->op = op;
	q->end = io_now_usec() + (uint64_t)timeout_msec * 1000;
	r = engine_connect(vm_dir_fd, ENGINE_QMP_SOCKET, &q->fd, e);
	if (r == 0)
		r = qmp_call(q, "qmp_capabilities", NULL, NULL, e);
	if (r == 0)
		*ret = TAKE_PTR(q);
	return r;
}

int qmp_command(int vm_dir_fd, const char *command, struct op *op, json_object **ret, struct err *e)
{
	_cleanup_(qmp_closep) struct qmp *q = NULL;
	int r = qmp_open(vm_dir_fd, QMP_MSEC, op, &q, e);

	return r == 0 ? qmp_call(q, command, NULL, ret, e) : r;
}
