#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "banger/parse.h"
#include "net/dns.h"

#define BATCH 32 /* datagrams a turn: a flood of them leaves the loop to others */

struct dns {
	sd_event *event;
	sd_event_source *source;
	struct dns_zone zone;
	int fd;
	char *place; /* where it was told to listen; "": nowhere */
	char *why;   /* it can't; NULL: it does */
};

int dns_place_parse(const char *text, uint32_t *ret_address, uint16_t *ret_port, struct err *e)
{
	_cleanup_free_ char *host = strdup(text);
	char *colon = host ? strchr(host, ':') : NULL;
	uint32_t address;
	uint64_t port;

	if (!host)
		return err_sys(e, -ENOMEM, "dns");
	if (colon)
		*colon++ = '\0';
	if (!colon || parse_ipv4(host, &address) < 0 || address >> 24 != IN_LOOPBACKNET ||
		parse_u64(colon, 1, UINT16_MAX, &port) < 0)
		return err_set(e, -EINVAL,
			"'%.64s' is no place on loopback: 127.0.0.1:PORT, or nothing for none", text);
	*ret_address = address;
	*ret_port = (uint16_t)port;
	return 0;
}

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

int dns_new(sd_event *event, const struct dns_zone *zone, struct dns **ret, struct err *e)
{
	struct dns *d = calloc(1, sizeof(*d));

	if (!d || !(d->place = strdup(""))) {
		free(d);
		return err_sys(e, -ENOMEM, "dns");
	}
	d->event = sd_event_ref(event);
	d->zone = *zone;
	d->fd = -EBADF;
	*ret = d;
	return 0;
}

static void hang_up(struct dns *d)
{
	d->source = sd_event_source_disable_unref(d->source);
	d->fd = close_fd(d->fd);
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

static int begin(struct dns *d, const char *place, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	struct sockaddr_in here = {.sin_family = AF_INET};
	uint32_t address;
	uint16_t port;
	int r = dns_place_parse(place, &address, &port, e);

	if (r < 0)
		return r;
	here.sin_addr.s_addr = htonl(address);
	here.sin_port = htons(port);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof(here)) < 0) {
		r = -errno;
		if (r == -EADDRINUSE)
			return err_set(e, r,
				"%s: somebody else listens there: echo 127.0.0.1:PORT > config/dns_listen, a "
				"PORT of your choice",
				place);
		if (r == -EACCES)
			return err_set(e, r, "%s: ports below 1024 are root's: take one above", place);
		return err_sys(e, r, "%s", place);
	}
	r = sd_event_add_io(d->event, &d->source, fd, EPOLLIN, on_datagram, d);
	if (r < 0)
		return err_sys(e, r, "%s", place);
	d->fd = TAKE_FD(fd);
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

char *dns_text(const struct dns *d)
{
	char *text = NULL;

	if (d->fd < 0)
		return strdup(d->why ? d->why : "off: echo 127.0.0.1:PORT > config/dns_listen");
	if (asprintf(&text, "dig @%.*s -p %s NAME." DNS_ZONE, (int)strcspn(d->place, ":"), d->place,
		    strchr(d->place, ':') + 1) < 0)
		return NULL;
	return text;
}
