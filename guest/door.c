#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h>

#include "banger/cleanup.h"
#include "door.h"

#define OUTSIDE_MAX 256 /* who has been there longest goes when one more comes */
#define TURN_EVENTS 64

struct stranger {
	int fd; /* negative: nobody */
	uint64_t came;
	size_t have;
	uint8_t hello[DOOR_HELLO];
};

struct door {
	int listener, epoll;
	uint64_t count; /* who ever came */
	uint8_t token[AGENT_TOKEN];
	struct stranger outside[OUTSIDE_MAX];
};

int door_new(int listener, const uint8_t token[AGENT_TOKEN], struct door **ret)
{
	struct door *d = calloc(1, sizeof(*d));
	struct epoll_event of_listener = {.events = EPOLLIN, .data.ptr = NULL};
	int r;

	if (!d) {
		close_fd(listener);
		return -ENOMEM;
	}
	d->listener = listener;
	d->epoll = epoll_create1(EPOLL_CLOEXEC);
	memcpy(d->token, token, AGENT_TOKEN);
	for (size_t i = 0; i < OUTSIDE_MAX; i++)
		d->outside[i].fd = -EBADF;
	if (d->epoll < 0 || fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK) < 0 ||
		epoll_ctl(d->epoll, EPOLL_CTL_ADD, listener, &of_listener) < 0) {
		r = -errno;
		close_fd(d->epoll);
		close_fd(listener);
		free(d);
		return r;
	}
	*ret = d;
	return 0;
}

int door_fd(const struct door *d)
{
	return d->epoll;
}

bool door_knows(const uint8_t *payload, const uint8_t token[AGENT_TOKEN])
{
	const volatile uint8_t *said = payload + 4 + AGENT_COOKIE;
	uint8_t differs = 0;

	for (size_t i = 0; i < AGENT_TOKEN; i++)
		differs |= said[i] ^ token[i];
	return differs == 0;
}

static bool is_host(const struct door *d, const struct stranger *s)
{
	const struct agent_header hello = {.length = DOOR_HELLO - AGENT_HEADER, .type = AGENT_HELLO};

	return memcmp(s->hello, &hello, AGENT_HEADER) == 0 && door_knows(s->hello + AGENT_HEADER, d->token);
}

static void shut_out(struct stranger *s)
{
	s->fd = close_fd(s->fd);
}

/* Whether S is the host. One that isn't, and has said so, is shut out. */
static bool listen_to(const struct door *d, struct stranger *s)
{
	ssize_t n = recv(s->fd, s->hello + s->have, sizeof(s->hello) - s->have, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n > 0 && (s->have += (size_t)n) < sizeof(s->hello))
		return false;
	if (n > 0 && is_host(d, s))
		return true;
	shut_out(s);
	return false;
}

static bool is_of_host(int fd)
{
	struct sockaddr_vm peer = {.svm_family = AF_UNSPEC};
	socklen_t n = sizeof(peer);

	/* Where the guest has loaded the loopback of vsock its own users could knock as well. */
	return getpeername(fd, (struct sockaddr *)&peer, &n) == 0 &&
	       (peer.svm_family != AF_VSOCK || peer.svm_cid == VMADDR_CID_HOST);
}

/* A place of nobody's, or else of who has been there longest. */
static struct stranger *find_place(struct door *d)
{
	struct stranger *first = &d->outside[0];

	for (size_t i = 0; i < OUTSIDE_MAX && first->fd >= 0; i++)
		if (d->outside[i].fd < 0 || d->outside[i].came < first->came)
			first = &d->outside[i];
	return first;
}

/* Those in the queue come to be outside. True: in one of their places was the host, *RET. */
static bool take_queue(struct door *d, struct stranger *ret)
{
	bool found = false;

	for (int i = 0; !found && i < OUTSIDE_MAX; i++) {
		_cleanup_close_ int fd = accept4(d->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct epoll_event event = {.events = EPOLLIN};
		struct stranger *s;

		if (fd < 0)
			break;
		if (!is_of_host(fd))
			continue;
		s = find_place(d);
		found = s->fd >= 0 && listen_to(d, s);
		if (found)
			*ret = *s;
		else
			shut_out(s);
		event.data.ptr = s;
		*s = (struct stranger){.fd = fd, .came = d->count++};
		if (epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
			s->fd = -EBADF;
		else
			TAKE_FD(fd);
	}
	return found;
}

bool door_admit(struct door *d, int *ret_fd, uint8_t ret_hello[DOOR_HELLO])
{
	struct epoll_event events[TURN_EVENTS];
	int n = epoll_wait(d->epoll, events, TURN_EVENTS, 0);

	for (int i = 0; i < n; i++) {
		struct stranger *s = events[i].data.ptr, host;

		if (!s) {
			if (!take_queue(d, &host))
				continue;
		} else {
			/* It can have lost its place just now, to one who is as welcome to be heard. */
			if (s->fd < 0 || !listen_to(d, s))
				continue;
			host = *s;
			s->fd = -EBADF;
		}
		epoll_ctl(d->epoll, EPOLL_CTL_DEL, host.fd, NULL);
		memcpy(ret_hello, host.hello, sizeof(host.hello));
		*ret_fd = host.fd;
		return true;
	}
	return false;
}
