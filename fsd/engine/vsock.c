#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/dial_proto.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "banger/vsock.h"
#include "engine/engine.h"
#include "engine/vsock.h"

#define AGAIN_MSEC 20      /* between a refusal and the next try */
#define TRY_USEC   5000000 /* Firecracker and the kernel give up after 2 s by themselves */
#define ANSWER_MAX 32

/* 1: FD (may be negative) is ready for EVENTS; 0: not so UNTIL; or why there is nothing more to wait for. */
static int wait_for(const struct vsock_wait *w, int fd, short events, uint64_t until, struct err *e)
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
static int hear(const struct vsock_wait *w, int fd, struct err *e)
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

/* A line that names the guest's port, a line that says it is connected, then the guest. */
static int try_firecracker(
	const struct vsock_place *at, const struct vsock_wait *w, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	char ask[24];
	int r = engine_connect(at->dir_fd, at->name, &fd, NULL);

	if (r == -ECONNREFUSED || r == -EAGAIN)
		return 0;
	if (r < 0)
		return err_sys(e, r, "the guest's vsock");
	snprintf(ask, sizeof(ask), "CONNECT %u\n", at->port);
	/* In one piece: Firecracker doesn't wait for the rest of a line (facts 1.7). */
	if (send(fd, ask, strlen(ask), MSG_NOSIGNAL) != (ssize_t)strlen(ask))
		return 0;
	r = hear(w, fd, e);
	if (r == 1)
		*ret_fd = TAKE_FD(fd);
	return r;
}

/*
 * Where this process may have no such sockets itself, one of who makes them for it (banger/dial_proto.h), on *DIALER, which is connected where it isn't.
 * 1; 0: not now.
 */
static int ask_dialer(
	const struct vsock_place *at, const struct vsock_wait *w, int *dialer, int *ret_fd, struct err *e)
{
	const struct dial_request q = {.cid = at->cid, .port = at->port};
	_cleanup_close_ int fd = TAKE_FD(*dialer), guest = -EBADF;
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = DIAL_SOCKET};
	struct dial_reply reply;
	size_t n = 0;
	int r;

	if (fd < 0) {
		fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
			return 0;
	}
	if (io_send_fds(fd, &q, sizeof(q), NULL, 0) < 0)
		return 0;
	r = wait_for(w, fd, POLLIN, w->end, e);
	if (r <= 0)
		return r;
	if (io_recv_fds(fd, &reply, sizeof(reply), &guest, 1, &n, 0) != sizeof(reply))
		return 0;
	*dialer = TAKE_FD(fd);
	*ret_fd = TAKE_FD(guest);
	return *ret_fd >= 0;
}

/* Whatever the kernel says of a number that is a VM's while that lives: its guest isn't as far. */
static int try_kernel(
	const struct vsock_place *at, const struct vsock_wait *w, int *dialer, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	socklen_t size = sizeof(int);
	int code = 0, r = vsock_begin(at->cid, at->port, &fd);

	if (r == -EAFNOSUPPORT)
		r = ask_dialer(at, w, dialer, &fd, e);
	else if (r < 0)
		return 0;
	if (fd < 0)
		return r;
	r = wait_for(w, fd, POLLOUT, io_now_usec() + TRY_USEC, e);
	if (r <= 0)
		return r;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0 || code != 0)
		return 0;
	*ret_fd = TAKE_FD(fd);
	return 1;
}

bool engine_has_vsock(void)
{
	_cleanup_close_ int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 || (errno == EAFNOSUPPORT && access(DIAL_SOCKET, W_OK) == 0);
}

int vsock_pause(const struct vsock_wait *w, struct err *e)
{
	int r = wait_for(w, -1, 0, io_now_usec() + AGAIN_MSEC * 1000, e);

	return r < 0 ? r : 0;
}

int vsock_connect(const struct vsock_place *at, const struct vsock_wait *w, int *ret_fd, struct err *e)
{
	_cleanup_close_ int dialer = -EBADF;

	for (;;) {
		int r = at->cid ? try_kernel(at, w, &dialer, ret_fd, e) : try_firecracker(at, w, ret_fd, e);

		if (r != 0)
			return r < 0 ? r : 0;
		r = vsock_pause(w, e);
		if (r < 0)
			return r;
	}
}
