#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "probe.h"

#define AT_ONCE    64 /* connections */
#define REPLY_SIZE 16

static const char question[] = "HEAD / HTTP/1.0\r\nUser-Agent: banger\r\n\r\n";

/* RFC 8446 4.1.2: versions 1.3 and 1.2, usual ciphers, groups and signatures, no key: whoever speaks TLS answers, if by an alert. */
static const uint8_t hello[] = {
	0x16, 0x03, 0x01, 0x00, 0x69, 0x01, 0x00, 0x00, 0x65, 0x03, 0x03,
	/* the client's random number, which nothing depends on */
	'b', 'a', 'n', 'g', 'e', 'r', 'b', 'a', 'n', 'g', 'e', 'r', 'b', 'a', 'n', 'g', 'e', 'r', 'b', 'a',
	'n', 'g', 'e', 'r', 'b', 'a', 'n', 'g', 'e', 'r', 'b', 'a', 0x00, /* no session */
	0x00, 0x10, 0x13, 0x01, 0x13, 0x02, 0x13, 0x03, 0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30, 0x00,
	0x2f, 0x01, 0x00,                                                 /* no compression */
	0x00, 0x2c,                                                       /* extensions: */
	0x00, 0x0a, 0x00, 0x06, 0x00, 0x04, 0x00, 0x1d, 0x00, 0x17,       /* groups */
	0x00, 0x0d, 0x00, 0x0e, 0x00, 0x0c, 0x04, 0x03, 0x05, 0x03, 0x08, /* signatures */
	0x04, 0x08, 0x05, 0x04, 0x01, 0x05, 0x01, 0x00, 0x2b, 0x00, 0x05, 0x04, 0x03, 0x04, 0x03,
	0x03,                               /* versions */
	0x00, 0x33, 0x00, 0x02, 0x00, 0x00, /* key shares */
};

/*
 * Servers that take offence: they log an attack, or count it (redis, postgres, sshd, mail). What is known to be on such a port is asked for nothing.
 */
static const uint16_t others[] = {21, 22, 23, 25, 53, 110, 111, 139, 143, 389, 445, 465, 587, 993, 995, 2049,
	3306, 5432, 6379, 11211, 27017};

enum stage { WAITING, ASKING_HTTP, ASKING_TLS, DONE };

struct one {
	struct listener *l;
	enum stage stage;
	int fd;
	bool asked, maybe_http; /* http said that it was asked wrongly: so do https servers */
	uint64_t until;
	uint8_t reply[REPLY_SIZE];
	size_t have;
};

struct probe {
	size_t count, left;
	struct one ones[];
};

static bool is_other(const struct agent_port *p)
{
	for (size_t i = 0; i < ELEMENTSOF(others); i++)
		if (others[i] == p->port)
			return true;
	return false;
}

struct probe *probe_new(struct listener *l, size_t n, size_t *ret_count)
{
	struct probe *p = calloc(1, sizeof(*p) + n * sizeof(p->ones[0]));

	for (size_t i = 0; p && i < n; i++) {
		struct agent_port *port = &l[i].port;

		if (port->protocol != IPPROTO_TCP || port->speaks != AGENT_SPEAKS_UNKNOWN)
			continue;
		if (is_other(port))
			port->speaks = AGENT_SPEAKS_OTHER;
		else
			p->ones[p->count++] = (struct one){.l = &l[i], .fd = -EBADF};
	}
	if (p)
		*ret_count = p->left = p->count;
	return p;
}

struct probe *probe_free(struct probe *p)
{
	for (size_t i = 0; p && i < p->count; i++)
		close_fd(p->ones[i].fd);
	free(p);
	return NULL;
}

static bool is_zero(const uint8_t *a, size_t n)
{
	while (n > 0 && a[n - 1] == 0)
		n--;
	return n == 0;
}

static int dial(const struct agent_port *p)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(p->port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(p->port)};
	struct sockaddr *to = p->family == 4 ? (struct sockaddr *)&in : (struct sockaddr *)&in6;
	_cleanup_close_ int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	/* Of one that listens at every address, loopback. */
	memcpy(&in.sin_addr, p->address, sizeof(in.sin_addr));
	memcpy(&in6.sin6_addr, p->address, sizeof(in6.sin6_addr));
	if (is_zero(p->address, 4))
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (is_zero(p->address, 16))
		in6.sin6_addr = (struct in6_addr)IN6ADDR_LOOPBACK_INIT;
	if (fd < 0 ||
		(connect(fd, to, p->family == 4 ? sizeof(in) : sizeof(in6)) < 0 && errno != EINPROGRESS))
		return -errno;
	return TAKE_FD(fd);
}

static void settle(struct probe *p, struct one *o, uint8_t speaks)
{
	o->fd = close_fd(o->fd);
	o->l->port.speaks = speaks;
	o->stage = DONE;
	p->left--;
}

static void ask(struct probe *p, struct one *o, enum stage stage)
{
	close_fd(o->fd);
	o->stage = stage;
	o->asked = false;
	o->have = 0;
	o->until = io_now_usec() + PROBE_STEP_MSEC * 1000;
	o->fd = dial(&o->l->port);
	if (o->fd < 0)
		settle(p, o, AGENT_SPEAKS_OTHER);
}

static bool is_tls(const struct one *o)
{
	/* An alert, or a server's hello, and not ours come back. */
	if (o->have < 6 || o->reply[1] != 0x03)
		return false;
	return o->reply[0] == 0x15 || (o->reply[0] == 0x16 && o->reply[5] == 0x02);
}

/* The answer is there, or won't come. */
static void judge(struct probe *p, struct one *o)
{
	static const char http[] = "HTTP/";
	bool is_http = o->have >= strlen(http) && memcmp(o->reply, http, strlen(http)) == 0;

	if (is_tls(o)) {
		settle(p, o, AGENT_SPEAKS_HTTPS);
	} else if (o->stage == ASKING_TLS) {
		settle(p, o, o->maybe_http ? AGENT_SPEAKS_HTTP : AGENT_SPEAKS_OTHER);
	} else if (is_http && (o->have < 12 || memcmp(o->reply + 8, " 400", 4) != 0)) {
		settle(p, o, AGENT_SPEAKS_HTTP);
	} else {
		o->maybe_http = is_http;
		ask(p, o, ASKING_TLS);
	}
}

static void go_on(struct probe *p, struct one *o)
{
	const void *data = o->stage == ASKING_TLS ? (const void *)hello : question;
	size_t size = o->stage == ASKING_TLS ? sizeof(hello) : strlen(question);
	ssize_t n;

	/* A few bytes into an empty socket: all or nothing. */
	if (!o->asked) {
		n = send(o->fd, data, size, MSG_NOSIGNAL);
		o->asked = n == (ssize_t)size;
		if (!o->asked && !(n < 0 && errno == EAGAIN))
			judge(p, o);
		return;
	}
	n = recv(o->fd, o->reply + o->have, sizeof(o->reply) - o->have, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	o->have += n > 0 ? (size_t)n : 0;
	if (n <= 0 || o->have == sizeof(o->reply) || is_tls(o))
		judge(p, o);
}

static bool is_asking(const struct one *o)
{
	return o->stage == ASKING_HTTP || o->stage == ASKING_TLS;
}

size_t probe_run(struct probe *p, unsigned msec)
{
	uint64_t end = io_now_usec() + (uint64_t)msec * 1000, now;

	while (p->left > 0 && (now = io_now_usec()) < end) {
		struct pollfd fds[AT_ONCE];
		struct one *who[AT_ONCE];
		uint64_t next = end;
		size_t n = 0;

		for (size_t i = 0; i < p->count && n < AT_ONCE; i++) {
			struct one *o = &p->ones[i];

			if (o->stage == WAITING)
				ask(p, o, ASKING_HTTP);
			if (is_asking(o) && o->until <= now)
				judge(p, o);
			if (!is_asking(o))
				continue;
			who[n] = o;
			fds[n++] = (struct pollfd){.fd = o->fd, .events = o->asked ? POLLIN : POLLOUT};
			next = o->until < next ? o->until : next;
		}
		if (n > 0 && poll(fds, n, (int)((next - now) / 1000) + 1) < 0)
			break;
		for (size_t i = 0; i < n; i++)
			if (fds[i].revents)
				go_on(p, who[i]);
	}
	return p->left;
}
