#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "banger/cleanup.h"
#include "banger/dial_proto.h"
#include "banger/io.h"
#include "banger/vsock.h"
#include "dial.h"

/* False: it has said what is no request, takes no answer, or has gone. */
static bool answer(int fd)
{
	struct dial_reply reply;
	struct dial_request q;
	_cleanup_close_ int guest = -EBADF;
	ssize_t n = recv(fd, &q, sizeof(q), MSG_TRUNC);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n != sizeof(q))
		return false;
	reply.code = vsock_begin(q.cid, q.port, &guest);
	return io_send_fds(fd, &reply, sizeof(reply), &guest, reply.code == 0) == 0;
}

/* One of LISTENER's queue: 1, 0: it is turned away, or has gone already; -errno: there will be none any more. */
static int take(int listener, int epoll, bool room)
{
	_cleanup_close_ int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	if (fd < 0)
		return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED ? 0 : -errno;
	if (!room || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		return 0;
	TAKE_FD(fd);
	return 1;
}

int dial_serve(int listener)
{
	_cleanup_close_ int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
	unsigned clients = 0;

	if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
		return -errno;
	for (;;) {
		int r = epoll_wait(epoll, &event, 1, -1);

		if (r < 0 && errno != EINTR)
			return -errno;
		if (r <= 0)
			continue;
		if (event.data.fd == listener) {
			r = take(listener, epoll, clients < DIAL_CLIENTS_MAX);
			if (r < 0)
				return r;
			clients += (unsigned)r;
		} else if (!answer(event.data.fd)) {
			close_fd(event.data.fd);
			clients--;
		}
	}
}
