/* Firecracker's side of vsock: a line that names the guest's port, a line that says it is connected, then the guest. */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "engine/engine.h"

#define AGAIN_MSEC 20      /* between a refusal and the next try */
#define TRY_USEC   5000000 /* Firecracker gives up after 2 s by itself */
#define ANSWER_MAX 32

struct wait {
	uint64_t end; /* CLOCK_MONOTONIC usec */
	int pidfd, cancel_fd;
};

/* 1: FD (may be negative) is ready for EVENTS; 0: not so UNTIL; or why there is nothing more to wait for. */
static int wait_for(const struct wait *w, int fd, short events, uint64_t until, struct err *e)
{
	for (;;) {
		struct pollfd p[] = {
			{.fd = fd, .events = events},
			{.fd = w->cancel_fd, .events = POLLIN},
			{.fd = w->pidfd, .events = POLLIN},
		};
		uint64_t now = io_now_usec(), at = until < w->end ? until : w->end;

		if (now >= w->end)
			return err_set(e, -ETIMEDOUT, "the guest's agent did not answer in time");
		if (now >= at)
			return 0;
		if (poll(p, ELEMENTSOF(p), (int)((at - now) / 1000 + 1)) < 0 && errno != EINTR)
			return err_sys(e, -errno, "poll");
		if (p[1].revents)
			return err_set(e, -EINTR, "cancelled");
		if (p[0].revents)
			return 1;
		if (p[2].revents)
			return err_set(e, -ESRCH, "the VMM ended before the guest's agent answered");
	}
}

/* "OK 1073741824" */
static bool is_ok(const char *line)
{
	uint64_t port;

	return strncmp(line, "OK ", 3) == 0 && parse_u64(line + 3, 0, UINT32_MAX, &port) == 0;
}

/* 1: connected; 0: nobody listens in the guest, for now. Not a byte more than the line is read: what follows is the guest's. */
static int hear(const struct wait *w, int fd, struct err *e)
{
	uint64_t until = io_now_usec() + TRY_USEC;
	char line[ANSWER_MAX + 1];

	for (size_t n = 0; n < ANSWER_MAX;) {
		int r = wait_for(w, fd, POLLIN, until, e);
		ssize_t k;

		if (r <= 0)
			return r;
		k = recv(fd, line + n, 1, MSG_DONTWAIT);
		if (k < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (k <= 0)
			return 0;
		if (line[n++] != '\n')
			continue;
		line[n - 1] = '\0';
		if (is_ok(line))
			return 1;
		break;
	}
	return err_set(e, -EPROTO, "what answers on the guest's vsock is not Firecracker");
}

static int try_once(
	int dir_fd, const char *name, const char *ask, const struct wait *w, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	int r = engine_connect(dir_fd, name, &fd, NULL);

	if (r == -ECONNREFUSED || r == -EAGAIN)
		return 0;
	if (r < 0)
		return err_sys(e, r, "the guest's vsock");
	/* In one piece: Firecracker doesn't wait for the rest of a line (facts 1.7). */
	if (send(fd, ask, strlen(ask), MSG_NOSIGNAL) != (ssize_t)strlen(ask))
		return 0;
	r = hear(w, fd, e);
	if (r == 1)
		*ret_fd = TAKE_FD(fd);
	return r;
}

int engine_connect_vsock(int dir_fd, const char *name, unsigned port, uint64_t end, int pidfd, int cancel_fd,
	int *ret_fd, struct err *e)
{
	const struct wait w = {.end = end, .pidfd = pidfd, .cancel_fd = cancel_fd};
	char ask[24];

	snprintf(ask, sizeof(ask), "CONNECT %u\n", port);
	for (;;) {
		int r = try_once(dir_fd, name, ask, &w, ret_fd, e);

		if (r != 0)
			return r < 0 ? r : 0;
		r = wait_for(&w, -1, 0, io_now_usec() + AGAIN_MSEC * 1000, e);
		if (r < 0)
			return r;
	}
}
