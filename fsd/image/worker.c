#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "banger/cleanup.h"
#include "image/sandbox.h"
#include "image/spawn.h"
#include "image/worker.h"
#include "image/worker_wire.h"

#define GRACE_MSEC 2000 /* from its last word to its end */

struct worker {
	pid_t pid;
	int pidfd, sock;
	struct op *op;
	uint32_t stage; /* as it was told last */
};

#define KEPT_MAX (2 * LAYERS_MAX + 4)

/* What the child keeps. */
static size_t gather(const struct worker_request *request, int sock, int *ret)
{
	size_t n = 0;

	ret[n++] = sock;
	ret[n++] = request->output;
	if (request->task != WORKER_LAYERS)
		ret[n++] = request->input;
	if (request->task == WORKER_PACK_CHANGES)
		ret[n++] = request->base;
	for (size_t i = 0; request->task == WORKER_LAYERS && i < request->layer_count; i++) {
		ret[n++] = request->layers[i].fd;
		ret[n++] = request->layers[i].grow;
	}
	return n;
}

/* Its status; it has a while to go by itself, unless NOW. */
static int reap(struct worker *w, bool now)
{
	struct pollfd p = {.fd = w->pidfd, .events = POLLIN};
	int status = 0;

	while (!now && poll(&p, 1, GRACE_MSEC) < 0 && errno == EINTR)
		continue;
	kill(w->pid, SIGKILL);
	while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	close_fd(w->pidfd);
	close_fd(w->sock);
	return status;
}

static int start(const struct worker_request *request, struct worker *w, struct err *e)
{
	_cleanup_free_ int *fds = calloc(KEPT_MAX, sizeof(*fds));
	_cleanup_close_ int mine = -EBADF, its = -EBADF;
	char number[16], *argv[] = {(char *)"banger-image-worker", (char *)WORKER_ARGUMENT, number, NULL};
	int pair[2], r;

	if (!fds)
		return err_sys(e, -ENOMEM, "image worker");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, -errno, "image worker");
	mine = pair[0];
	its = pair[1];
	snprintf(number, sizeof(number), "%d", its);
	r = spawn_self(argv, fds, gather(request, its, fds), false, &w->pid, &w->pidfd, e);
	if (r < 0) {
		err_wrap(e, "image worker");
		return r;
	}
	w->sock = TAKE_FD(mine);
	return 0;
}

/* Until the child's socket is ready for EVENTS. */
static int await(struct worker *w, short events, struct err *e)
{
	struct pollfd p[] = {
		{.fd = w->sock, .events = events}, {.fd = op_cancel_fd(w->op), .events = POLLIN}};

	for (;;) {
		int r = op_check(w->op, e);

		if (r < 0)
			return r;
		if (poll(p, ELEMENTSOF(p), -1) < 0 && errno != EINTR)
			return err_sys(e, -errno, "image worker");
		if (p[0].revents)
			return op_check(w->op, e);
	}
}

/* 0 also when the child is gone: receiving tells why. */
static int tell(struct worker *w, const void *message, size_t n, struct err *e)
{
	int r;

	do {
		r = await(w, POLLOUT, e);
		if (r < 0)
			return r;
		if (send(w->sock, message, n, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return 0;
	} while (errno == EAGAIN || errno == EINTR);
	return errno == EPIPE || errno == ECONNRESET ? 0 : err_sys(e, -errno, "image worker");
}

static int tell_request(struct worker *w, const struct worker_request *request, struct err *e)
{
	struct wire_request message;
	struct wire_layer layer;
	int r = wire_pack_request(request, &message, e);

	if (r == 0)
		r = tell(w, &message, sizeof(message), e);
	for (size_t i = 0; r == 0 && i < message.layer_count; i++) {
		r = wire_pack_layer(&request->layers[i], &layer, e);
		if (r == 0)
			r = tell(w, &layer, sizeof(layer), e);
	}
	return r;
}

static void relay(struct worker *w, const struct wire_report *report)
{
	const char *name = wire_stage_name(report->stage);

	if (name && report->stage != w->stage)
		op_stage(w->op, name);
	w->stage = report->stage;
	op_progress(w->op, report->done, report->total);
}

/* Reports, up to the last one: 1; 0: there was none. */
static int follow(struct worker *w, struct wire_report *ret, struct err *e)
{
	for (;;) {
		ssize_t n;
		int r = await(w, POLLIN, e);

		if (r < 0)
			return r;
		memset(ret, 0, sizeof(*ret));
		n = recv(w->sock, ret, sizeof(*ret), MSG_DONTWAIT | MSG_TRUNC);
		/* A reset is told once, before what there is to receive still. */
		if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == ECONNRESET))
			continue;
		if (n < 0)
			return err_sys(e, -errno, "image worker");
		if (n == 0)
			return 0;
		if (wire_check_report(ret, (size_t)n) < 0)
			return err_set(e, -EIO,
				"the worker that makes the image said what no worker says: what it read is "
				"hostile, or banger is broken");
		if (ret->kind != WIRE_PROGRESS)
			return 1;
		relay(w, ret);
	}
}

static int judge_result(const struct wire_report *report, struct image_result *ret, struct err *e)
{
	/* Only OP can cancel, and did not. */
	int code = report->code == -EINTR ? -EIO : report->code;

	if (code == 0) {
		*ret = report->result;
		return 0;
	}
	err_set(e, code, "%s", *report->text ? report->text : strerror(-code));
	if (code == -ENOMEM && !SANDBOX_ASAN)
		err_join(e, "what unpacks an image may have %llu MiB", SANDBOX_MEMORY >> 20);
	return code;
}

static int judge_end(int status, struct err *e)
{
	int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	const char *name = sigabbrev_np(sig), *why;

	if (sig == 0)
		return err_set(e, -EIO,
			"the worker that makes the image ended with exit code %d and without a result: "
			"please report this as a bug",
			WEXITSTATUS(status));
	if (sig == SIGKILL)
		why = "somebody killed it, or the kernel did because memory ran out (its log says so); try "
		      "again";
	else if (sig == SIGSYS)
		why = "it asked the kernel for what it may not do: what it read is hostile, or this is a "
		      "bug; please report it";
	else
		why = "what it read is hostile, or this is a bug; please report it";
	return err_set(e, -EIO, "the worker that makes the image was killed by signal %d (SIG%s): %s", sig,
		name ? name : "?", why);
}

int worker_run(const struct worker_request *request, struct op *op, struct image_result *ret, struct err *e)
{
	struct worker w = {.pid = -1, .pidfd = -EBADF, .sock = -EBADF, .op = op};
	_cleanup_free_ struct wire_report *report = malloc(sizeof(*report));
	int r, status;

	if (!report)
		return err_sys(e, -ENOMEM, "image worker");
	r = request->task == WORKER_LAYERS ? layers_check_count(request->layer_count, e) : 0;
	if (r < 0)
		return r;
	r = start(request, &w, e);
	if (r < 0)
		return r;
	r = tell_request(&w, request, e);
	if (r == 0)
		r = follow(&w, report, e);
	status = reap(&w, r < 0);
	if (r < 0)
		return r;
	return r == 1 ? judge_result(report, ret, e) : judge_end(status, e);
}
