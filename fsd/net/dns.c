#include <arpa/nameser.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "net/dns.h"

#define ACCEPTS_A_SECOND 200
#define BATCH            32 /* datagrams a turn: a flood of them leaves the loop to others */

/* A connection: a question of two bytes of length and the message, then its answer, then the next. */
struct client {
	LIST_ENTRY(client) link;
	struct dns *dns;
	sd_event_source *source, *end;
	int fd;
	uint8_t in[NS_INT16SZ +
		   DNS_ANSWER_MAX]; /* as long as our answers: none that we have one for is longer */
	uint8_t out[NS_INT16SZ + DNS_ANSWER_MAX];
	size_t have, out_at, out_n;
};

struct dns {
	sd_event *event;
	sd_event_source *source, *accept_source;
	struct dns_zone zone;
	int fd, stream_fd; /* UDP, TCP: both or none */
	LIST_HEAD(, client) clients;
	size_t client_count;
	char *place; /* where it was told to listen; "": nowhere */
	char *why;   /* it can't; NULL: it does */
};

static int on_datagram(sd_event_source *s, int fd, uint32_t events, void *user)
{
	uint8_t query[DNS_QUERY_MAX + 1], answer[DNS_ANSWER_MAX];
	struct dns *d = user;

	(void)s;
	(void)events;
	for (int i = 0; i < BATCH; i++) {
		struct sockaddr_in peer;
		socklen_t size = sizeof(peer);
		ssize_t n = recvfrom(fd, query, sizeof(query), 0, (struct sockaddr *)&peer, &size);
		size_t length;

		/* Also an ICMP error of one that was answered and has gone: the next wake-up is for the next datagram. */
		if (n < 0)
			return 0;
		length = dns_answer(&d->zone, query, (size_t)n, answer);
		if (length > 0)
			(void)!sendto(fd, answer, length, 0, (struct sockaddr *)&peer, size);
	}
	return 0;
}

static void client_free(struct client *c)
{
	LIST_REMOVE(c, link);
	c->dns->client_count--;
	sd_event_source_disable_unref(c->source);
	sd_event_source_disable_unref(c->end);
	close_fd(c->fd);
	free(c);
}

static int on_patience_over(sd_event_source *s, uint64_t now, void *user)
{
	(void)s;
	(void)now;
	client_free(user);
	return 0;
}

/* 1: there is more to do; 0: it is to be waited for EVENTS; or -errno: the end of it. */
static int client_step(struct client *c, uint32_t *ret_events)
{
	size_t wanted = c->have < NS_INT16SZ ? NS_INT16SZ : NS_INT16SZ + ns_get16(c->in);
	ssize_t n;

	if (c->out_at < c->out_n) {
		*ret_events = EPOLLOUT;
		n = send(c->fd, c->out + c->out_at, c->out_n - c->out_at, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		c->out_at += (size_t)n;
		return 1;
	}
	if (wanted > sizeof(c->in))
		return -EMSGSIZE;
	if (c->have < wanted) {
		*ret_events = EPOLLIN;
		n = recv(c->fd, c->in + c->have, wanted - c->have, 0);
		if (n <= 0)
			return n == 0 ? -ENOTCONN : errno == EAGAIN ? 0 : -errno;
		c->have += (size_t)n;
		return 1;
	}
	c->out_n = dns_answer(&c->dns->zone, c->in + NS_INT16SZ, wanted - NS_INT16SZ, c->out + NS_INT16SZ);
	if (c->out_n == 0)
		return -EBADMSG;
	ns_put16((unsigned)c->out_n, c->out);
	c->out_n += NS_INT16SZ;
	c->out_at = c->have = 0;
	return sd_event_source_set_time_relative(c->end, DNS_CLIENT_USEC) < 0 ? -ENOMEM : 1;
}

static int on_client(sd_event_source *s, int fd, uint32_t events, void *user)
{
	struct client *c = user;
	int r = 1;

	(void)fd;
	for (int i = 0; i < BATCH && r > 0; i++)
		r = client_step(c, &events);
	/* After a whole turn the events stand as they are: whichever it is, there is something to do. */
	if (r < 0 || sd_event_source_set_io_events(s, r > 0 ? EPOLLIN | EPOLLOUT : events) < 0)
		client_free(c);
	return 0;
}

static int on_connection(sd_event_source *s, int fd, uint32_t events, void *user)
{
	struct dns *d = user;
	struct client *c;
	int on = 1;
	int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)s;
	(void)events;
	c = peer >= 0 && d->client_count < DNS_CLIENTS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		close_fd(peer);
		return 0;
	}
	/* An answer isn't to wait for the last one's being acknowledged. */
	(void)!setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->dns = d;
	c->fd = peer;
	LIST_INSERT_HEAD(&d->clients, c, link);
	d->client_count++;
	if (sd_event_add_io(d->event, &c->source, peer, EPOLLIN, on_client, c) < 0 ||
		sd_event_add_time_relative(
			d->event, &c->end, CLOCK_MONOTONIC, DNS_CLIENT_USEC, 0, on_patience_over, c) < 0)
		client_free(c);
	return 0;
}

int dns_new(sd_event *event, const struct dns_zone *zone, struct dns **ret, struct err *e)
{
	struct dns *d = calloc(1, sizeof(*d));

	if (!d || !(d->place = strdup(""))) {
		free(d);
		return err_sys(e, -ENOMEM, "dns");
	}
	d->event = sd_event_ref(event);
	d->zone = *zone;
	d->fd = d->stream_fd = -EBADF;
	LIST_INIT(&d->clients);
	*ret = d;
	return 0;
}

static void hang_up(struct dns *d)
{
	struct client *c;

	while ((c = LIST_FIRST(&d->clients)))
		client_free(c);
	d->source = sd_event_source_disable_unref(d->source);
	d->accept_source = sd_event_source_disable_unref(d->accept_source);
	d->fd = close_fd(d->fd);
	d->stream_fd = close_fd(d->stream_fd);
}

struct dns *dns_free(struct dns *d)
{
	if (!d)
		return NULL;
	hang_up(d);
	sd_event_unref(d->event);
	free(d->place);
	free(d->why);
	free(d);
	return NULL;
}

static int open_sockets(const struct sockaddr_in *here, int *ret_fd, int *ret_stream_fd)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
			    stream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const struct sockaddr *address = (const struct sockaddr *)here;
	int on = 1;

	/* What the daemon before this one has closed isn't taken. */
	if (fd < 0 || stream < 0 || bind(fd, address, sizeof(*here)) < 0 ||
		setsockopt(stream, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
		bind(stream, address, sizeof(*here)) < 0 || listen(stream, DNS_CLIENTS_MAX) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	*ret_stream_fd = TAKE_FD(stream);
	return 0;
}

static int begin(struct dns *d, const char *place, struct err *e)
{
	struct sockaddr_in here = {.sin_family = AF_INET};
	uint32_t address;
	uint16_t port;
	int r = dns_place_parse(place, &address, &port, e);

	if (r < 0)
		return r;
	here.sin_addr.s_addr = htonl(address);
	here.sin_port = htons(port);
	r = open_sockets(&here, &d->fd, &d->stream_fd);
	if (r < 0) {
		if (r == -EADDRINUSE)
			return err_set(e, r,
				"%s: somebody else listens there: echo 127.0.0.1:PORT > config/dns_listen, a "
				"PORT of your choice",
				place);
		if (r == -EACCES)
			return err_set(e, r, "%s: ports below 1024 are root's: take one above", place);
		return err_sys(e, r, "%s", place);
	}
	r = sd_event_add_io(d->event, &d->source, d->fd, EPOLLIN, on_datagram, d);
	if (r >= 0)
		r = sd_event_add_io(d->event, &d->accept_source, d->stream_fd, EPOLLIN, on_connection, d);
	/* A connection that can't be taken (no descriptors left) stays, and would be looked at for ever. */
	if (r >= 0)
		r = sd_event_source_set_ratelimit(d->accept_source, 1000000, ACCEPTS_A_SECOND);
	if (r < 0) {
		hang_up(d);
		return err_sys(e, r, "%s", place);
	}
	return 0;
}

int dns_listen(struct dns *d, const char *place, struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	char *copy = strdup(place);
	int r;

	if (!copy)
		return err_sys(e, -ENOMEM, "dns");
	hang_up(d);
	free(d->place);
	d->place = copy;
	free(d->why);
	d->why = NULL;
	if (!*place)
		return 0;
	r = begin(d, place, &mine);
	if (r < 0)
		d->why = strdup(err_text(&mine));
	return r < 0 ? err_move(e, &mine) : 0;
}

bool dns_listens(const struct dns *d)
{
	return d->fd >= 0;
}

char *dns_text(const struct dns *d)
{
	char *text = NULL;

	if (!dns_listens(d))
		return strdup(d->why ? d->why : "off: echo 127.0.0.1:PORT > config/dns_listen");
	if (asprintf(&text, "dig @%.*s -p %s NAME." DNS_ZONE, (int)strcspn(d->place, ":"), d->place,
		    strchr(d->place, ':') + 1) < 0)
		return NULL;
	return text;
}
