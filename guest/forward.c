#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "banger/cleanup.h"
#include "forward.h"

#define CHUNK (32u * 1024)

enum kind {
	CLOSED = 0, /* both halves, in order */
	RESET = 2,
};

struct forward {
	LIST_ENTRY(forward) link;
	uint32_t id;
	int fd;
	uint16_t port;
	bool connecting, over_ip6;
	struct pollfd *polled; /* NULL: it was not looked at */
	size_t credit;         /* that the host gave, for what comes from the port */
	uint8_t *pending;      /* what the port has not taken yet; NULL: nothing */
	size_t pending_at, pending_end, owed;
	bool in_ended, in_shut; /* the host's half: it said so; the port was told */
	bool out_ended;         /* the port's half */
	bool reset;
};

static LIST_HEAD(, forward) forwards = LIST_HEAD_INITIALIZER(forwards);
static unsigned count;

static struct forward *find(uint32_t id)
{
	struct forward *f;

	LIST_FOREACH (f, &forwards, link)
		if (f->id == id)
			return f;
	return NULL;
}

static void forget(struct forward *f, enum kind how)
{
	/* Closed in the middle: the peer shall not take it for the end. */
	if (how == RESET && f->fd >= 0)
		setsockopt(
			f->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
	LIST_REMOVE(f, link);
	count--;
	close_fd(f->fd);
	free(f->pending);
	free(f);
}

static void reply(struct channel *c, uint32_t id, int code)
{
	channel_send(c, AGENT_REPLY, (uint16_t)-code, id, NULL, 0, NULL, 0);
}

/* 0: it is under way, or done. */
static int dial(struct forward *f)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET, .sin_port = htons(f->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 in6 = {
		.sin6_family = AF_INET6, .sin6_port = htons(f->port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr *to = f->over_ip6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in;
	socklen_t n = f->over_ip6 ? sizeof(in6) : sizeof(in);

	close_fd(f->fd);
	f->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (f->fd < 0 || (connect(f->fd, to, n) < 0 && errno != EINPROGRESS))
		return -errno;
	setsockopt(f->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	f->connecting = true;
	return 0;
}

/* Also what listens on ::1 alone is found. What 127.0.0.1 said is the answer where neither does. */
static int dial_next(struct forward *f, int code)
{
	if (f->over_ip6 || code != -ECONNREFUSED)
		return code;
	f->over_ip6 = true;
	return dial(f) < 0 ? code : 0;
}

void forward_connect(struct channel *c, uint32_t id, const uint8_t *payload, size_t n)
{
	struct forward *f = NULL;
	uint16_t port = 0;
	int r = 0;

	if (n == sizeof(port))
		memcpy(&port, payload, sizeof(port));
	if (port == 0)
		r = -EINVAL;
	else if (count >= FORWARDS_MAX || find(id))
		r = -EAGAIN;
	else if (!(f = calloc(1, sizeof(*f))))
		r = -ENOMEM;
	if (r < 0) {
		reply(c, id, r);
		return;
	}
	*f = (struct forward){.id = id, .fd = -EBADF, .port = port, .credit = AGENT_WINDOW};
	LIST_INSERT_HEAD(&forwards, f, link);
	count++;
	r = dial(f);
	if (r < 0)
		r = dial_next(f, r);
	if (r < 0) {
		reply(c, id, r);
		forget(f, RESET);
	}
}

/* False: it has come to nothing, and is gone. */
static bool finish_connecting(struct channel *c, struct forward *f)
{
	struct pollfd p = {.fd = f->fd, .events = POLLOUT};
	socklen_t n = sizeof(int);
	int code = 0;

	if (poll(&p, 1, 0) <= 0)
		return true;
	if (getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &code, &n) < 0)
		code = errno;
	f->connecting = false;
	if (code != 0 && dial_next(f, -code) == 0)
		return true;
	reply(c, f->id, -code);
	if (code != 0)
		forget(f, RESET);
	return code == 0;
}

/* To the port, as much as it takes; returns how much that is. */
static size_t put(struct forward *f, const uint8_t *data, size_t n)
{
	size_t at = 0;

	while (at < n && !f->reset) {
		ssize_t k = send(f->fd, data + at, n - at, MSG_NOSIGNAL);

		if (k < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		f->reset = k < 0;
		at += k > 0 ? (size_t)k : 0;
	}
	f->owed += at;
	return at;
}

static void give(struct channel *c, struct forward *f)
{
	if (f->pending)
		f->pending_at += put(f, f->pending + f->pending_at, f->pending_end - f->pending_at);
	if (f->owed >= AGENT_WINDOW / 4 || (f->owed > 0 && f->pending_at == f->pending_end)) {
		uint32_t v[2] = {0, (uint32_t)f->owed};

		channel_send(c, AGENT_CREDIT, 0, f->id, v, sizeof(v), NULL, 0);
		f->owed = 0;
	}
	if (f->pending_at < f->pending_end)
		return;
	free(f->pending);
	f->pending = NULL;
	f->pending_at = f->pending_end = 0;
	if (f->in_ended && !f->in_shut) {
		shutdown(f->fd, SHUT_WR);
		f->in_shut = true;
	}
}

static void on_stdin(struct channel *c, struct forward *f, const uint8_t *data, size_t n)
{
	if (f->in_ended)
		return;
	f->in_ended = n == 0;
	if (!f->pending && !f->connecting) {
		size_t k = put(f, data, n);

		data += k;
		n -= k;
	}
	if (n > 0 && !f->pending)
		f->pending = malloc(AGENT_WINDOW);
	if (n > 0 && f->pending && f->pending_at > 0) {
		memmove(f->pending, f->pending + f->pending_at, f->pending_end - f->pending_at);
		f->pending_end -= f->pending_at;
		f->pending_at = 0;
	}
	/* More than the credit that was given, or no memory: not a byte may be missing in between. */
	if (n > 0 && (!f->pending || n > AGENT_WINDOW - f->pending_end)) {
		f->reset = true;
		return;
	}
	if (n > 0)
		memcpy(f->pending + f->pending_end, data, n);
	f->pending_end += n;
	if (!f->connecting)
		give(c, f);
}

bool forward_frame(struct channel *c, const struct agent_header *h, const uint8_t *payload)
{
	struct forward *f = find(h->id);
	uint32_t v[2];

	if (!f)
		return false;
	switch (h->type) {
	case AGENT_STDIN:
		on_stdin(c, f, payload, h->length);
		break;
	case AGENT_CREDIT:
		if (h->length != sizeof(v))
			break;
		memcpy(v, payload, sizeof(v));
		if (v[0] == 1 && v[1] <= AGENT_WINDOW - f->credit)
			f->credit += v[1];
		break;
	case AGENT_SIGNAL:
		forget(f, RESET);
		break;
	}
	return true;
}

size_t forward_poll(struct pollfd *p, bool more_out)
{
	struct forward *f;
	size_t n = 0;

	LIST_FOREACH (f, &forwards, link) {
		short events = f->connecting || f->pending_end > f->pending_at ? POLLOUT : 0;

		if (!f->connecting && !f->out_ended && f->credit > 0 && more_out)
			events |= POLLIN;
		/* With nothing to wait for, an error or the end of both halves would be told again and again. */
		f->polled = events ? p + n : NULL;
		if (events)
			p[n++] = (struct pollfd){.fd = f->fd, .events = events};
	}
	return n;
}

static void take(struct channel *c, struct forward *f)
{
	static uint8_t piece[CHUNK];

	while (!f->out_ended && !f->reset && f->credit > 0 && channel_waiting(c) < CHANNEL_OUT_SOFT) {
		ssize_t n = recv(f->fd, piece, f->credit < CHUNK ? f->credit : CHUNK, 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			f->reset = true;
			return;
		}
		f->out_ended = n == 0;
		f->credit -= (size_t)n;
		channel_send(c, AGENT_STDOUT, 0, f->id, piece, (size_t)n, NULL, 0);
	}
}

static void end(struct channel *c, struct forward *f)
{
	enum kind how = f->reset ? RESET : CLOSED;
	uint32_t v[2] = {how, 0};

	if (f->connecting)
		reply(c, f->id, -ECONNRESET);
	else
		channel_send(c, AGENT_EXIT, 0, f->id, v, sizeof(v), NULL, 0);
	forget(f, how);
}

void forward_turn(struct channel *c)
{
	struct forward *f = LIST_FIRST(&forwards), *next;

	for (; f; f = next) {
		bool woken = f->polled && f->polled->revents;

		next = LIST_NEXT(f, link);
		f->polled = NULL;
		if (woken && f->connecting && !finish_connecting(c, f))
			continue;
		if (woken && !f->connecting) {
			give(c, f);
			take(c, f);
		}
		if (f->reset || (f->in_shut && f->out_ended))
			end(c, f);
	}
}

void forward_new_host(void)
{
	struct forward *f;

	while ((f = LIST_FIRST(&forwards)))
		forget(f, RESET);
}
