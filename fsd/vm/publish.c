#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "banger/cleanup.h"
#include "guest/conduit.h"
#include "net/port_map.h"
#include "vm/listeners.h"
#include "vm/model.h"
#include "vm/publish.h"

#define BACKLOG      128
#define ACCEPTS      16  /* a turn of the loop's */
#define ACCEPT_TURNS 500 /* a second */
#define RETRY_SLACK  1000000

/* A port of the host's. */
struct door {
	LIST_ENTRY(door) link;
	struct publish *publish;
	struct port_pair pair;
	int fds[2]; /* 127.0.0.1, ::1: -EBADF where the host has none */
	sd_event_source *io[2];
	int code;       /* 0: open; why not */
	bool automatic; /* not of the setting, but of what listens in the guest */
	bool old;       /* while the setting changes: it was there before */
};

struct carried {
	LIST_ENTRY(carried) link;
	struct publish *publish;
	uint16_t host;
	struct conduit *conduit;
};

struct publish {
	struct vm *vm;
	struct port_map map;
	bool watching; /* what listens in the guest */
	LIST_HEAD(, door) doors;
	LIST_HEAD(, carried) connections;
	unsigned connection_count;
	sd_event_source *retry;
};

static void door_close(struct door *d)
{
	for (int i = 0; i < 2; i++) {
		d->io[i] = sd_event_source_disable_unref(d->io[i]);
		d->fds[i] = close_fd(d->fds[i]);
	}
}

static void door_free(struct door *d)
{
	LIST_REMOVE(d, link);
	door_close(d);
	free(d);
}

static bool takes(const struct publish *p)
{
	return p->vm->agent && p->vm->state == VM_RUNNING && p->connection_count < PUBLISH_CONNECTIONS_MAX;
}

static void carried_free(struct carried *c)
{
	struct publish *p = c->publish;
	bool full = p->connection_count == PUBLISH_CONNECTIONS_MAX;

	LIST_REMOVE(c, link);
	p->connection_count--;
	conduit_free(c->conduit);
	vm_unuse(p->vm);
	free(c);
	if (full)
		publish_check(p->vm);
}

static void on_over(void *user, int start, uint32_t kind, uint32_t code, const char *text)
{
	struct carried *c = user;

	(void)start;
	(void)kind;
	(void)code;
	(void)text;
	c->conduit = NULL;
	carried_free(c);
}

static void carry(struct door *d, int fd)
{
	struct publish *p = d->publish;
	struct carried *c = calloc(1, sizeof(*c));

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	if (!c) {
		close_fd(fd);
		return;
	}
	c->publish = p;
	c->host = d->pair.host;
	if (conduit_connect(
		    p->vm->agent, p->vm->vms->event, d->pair.guest, fd, on_over, c, &c->conduit, NULL) < 0) {
		free(c);
		return;
	}
	LIST_INSERT_HEAD(&p->connections, c, link);
	p->connection_count++;
	vm_use(p->vm);
	if (!takes(p))
		publish_check(p->vm);
}

static int on_client(sd_event_source *s, int fd, uint32_t revents, void *user)
{
	struct door *d = user;

	(void)s;
	(void)revents;
	for (int i = 0; i < ACCEPTS && takes(d->publish); i++) {
		int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (client < 0)
			break;
		carry(d, client);
	}
	return 0;
}

static int listen_at(const struct sockaddr *at, socklen_t n, int *ret)
{
	_cleanup_close_ int fd = socket(at->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	/* Connections that have just ended don't keep the port. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (at->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int));
	if (bind(fd, at, n) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	*ret = TAKE_FD(fd);
	return 0;
}

static bool no_such_family(int code)
{
	return code == -EAFNOSUPPORT || code == -EADDRNOTAVAIL;
}

static int watch(struct door *d, int i)
{
	int r = sd_event_add_io(d->publish->vm->vms->event, &d->io[i], d->fds[i],
		takes(d->publish) ? EPOLLIN : 0, on_client, d);

	/* Who can't be taken for want of descriptors stays in the queue, which would wake us again and again. */
	return r < 0 ? r : sd_event_source_set_ratelimit(d->io[i], 1000000, ACCEPT_TURNS);
}

/* Both addresses or none: who asks for localhost may get to either. */
static int door_open(struct door *d)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
		.sin_port = htons(d->pair.host),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
		.sin6_port = htons(d->pair.host),
		.sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int r = listen_at((struct sockaddr *)&in, sizeof(in), &d->fds[0]);

	if (r == 0)
		r = listen_at((struct sockaddr *)&in6, sizeof(in6), &d->fds[1]);
	if (d->fds[0] >= 0 && no_such_family(r))
		r = 0;
	if (r == 0)
		r = watch(d, 0);
	if (r >= 0 && d->fds[1] >= 0)
		r = watch(d, 1);
	d->code = r < 0 ? r : 0;
	if (r < 0)
		door_close(d);
	return d->code;
}

static const char *why_not(int code)
{
	return code == -EADDRINUSE ? "another program listens there" : strerror(-code);
}

static struct door *door_new(struct publish *p, const struct port_pair *pair)
{
	struct door *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	*d = (struct door){.publish = p, .pair = *pair, .fds = {-EBADF, -EBADF}};
	LIST_INSERT_HEAD(&p->doors, d, link);
	return d;
}

static void arm_retry(struct publish *p);

static int on_retry(sd_event_source *s, uint64_t usec, void *user)
{
	struct publish *p = user;
	struct door *d;

	(void)s;
	(void)usec;
	LIST_FOREACH (d, &p->doors, link)
		if (d->code < 0 && door_open(d) == 0)
			vm_log(p->vm, "publish: port %u of the host is free now, and taken", d->pair.host);
	arm_retry(p);
	return 0;
}

/* While a door is shut. */
static void arm_retry(struct publish *p)
{
	struct door *d;

	p->retry = sd_event_source_disable_unref(p->retry);
	LIST_FOREACH (d, &p->doors, link)
		if (d->code < 0)
			break;
	if (d)
		sd_event_add_time_relative(p->vm->vms->event, &p->retry, CLOCK_MONOTONIC, PUBLISH_RETRY_USEC,
			RETRY_SLACK, on_retry, p);
}

static int compare_ports(const void *a, const void *b)
{
	return *(const uint16_t *)a - *(const uint16_t *)b;
}

static struct door *find(struct publish *p, const struct port_pair *pair)
{
	struct door *d;

	LIST_FOREACH (d, &p->doors, link)
		if (d->pair.host == pair->host && d->pair.guest == pair->guest)
			return d;
	return NULL;
}

static int new_doors(struct publish *p, const struct port_map *m, struct err *e)
{
	for (size_t i = 0; i < m->count; i++) {
		struct door *d = find(p, &m->pairs[i]);
		int r;

		if (d)
			continue;
		d = door_new(p, &m->pairs[i]);
		if (!d)
			return err_sys(e, -ENOMEM, "publish");
		r = door_open(d);
		if (r < 0)
			return err_set(e, r, "port %u of the host: %s", d->pair.host, why_not(r));
	}
	return 0;
}

static bool wanted(const struct port_map *m, const struct port_pair *pair)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->pairs[i].host == pair->host && m->pairs[i].guest == pair->guest)
			return true;
	return false;
}

static void drop_new(struct publish *p)
{
	struct door *d = LIST_FIRST(&p->doors), *next;

	for (; d; d = next) {
		next = LIST_NEXT(d, link);
		if (!d->old)
			door_free(d);
	}
}

/* The same port of the host, to another of the guest's, is the same sockets. */
static void redirect(struct publish *p, const struct port_map *m)
{
	struct door *d;

	LIST_FOREACH (d, &p->doors, link)
		for (size_t i = 0; i < m->count; i++)
			if (m->pairs[i].host == d->pair.host)
				d->pair.guest = m->pairs[i].guest;
}

static bool is_automatic(const struct port_map *m, uint16_t port)
{
	return port >= m->auto_first && port <= m->auto_last && m->auto_first > 0 &&
	       !port_map_has_host(m, port) && !port_map_has_guest(m, port);
}

static bool listens(const struct publish *p, uint16_t port)
{
	size_t n;
	const uint16_t *ports = listeners_ports(p->vm, &n);

	return n > 0 && bsearch(&port, ports, n, sizeof(*ports), compare_ports) != NULL;
}

/* Doors that are neither in the setting nor of what listens are no more. */
static void drop_unwanted(struct publish *p)
{
	struct door *d = LIST_FIRST(&p->doors), *next;

	for (; d; d = next) {
		next = LIST_NEXT(d, link);
		d->automatic = !wanted(&p->map, &d->pair);
		if (d->automatic && !(is_automatic(&p->map, d->pair.host) && listens(p, d->pair.host)))
			door_free(d);
	}
}

/* Whether there is a door more. */
static bool open_automatic(struct publish *p, uint16_t port)
{
	struct port_pair pair = {port, port};
	struct door *d = !is_automatic(&p->map, port) || find(p, &pair) ? NULL : door_new(p, &pair);

	if (!d)
		return false;
	d->automatic = true;
	if (door_open(d) < 0)
		vm_log(p->vm, "publish: port %u listens in the guest, but is not to be had on the host: %s",
			port, why_not(d->code));
	else
		vm_log(p->vm, "publish: port %u listens in the guest, and is open on the host", port);
	return true;
}

void publish_listeners(struct vm *vm)
{
	struct publish *p = vm->publish;
	const uint16_t *ports;
	struct door *d;
	size_t n, count = 0;

	if (!p)
		return;
	drop_unwanted(p);
	LIST_FOREACH (d, &p->doors, link)
		count += d->automatic;
	ports = listeners_ports(vm, &n);
	for (size_t i = 0; i < n && count < PUBLISH_AUTO_MAX; i++)
		count += open_automatic(p, ports[i]);
	arm_retry(p);
}

/* As the setting says now. */
static void watch_listeners(struct publish *p)
{
	bool watching = p->map.auto_first > 0;

	if (watching != p->watching)
		(watching ? vm_ports_watch : vm_ports_unwatch)(p->vm);
	p->watching = watching;
}

int publish_set(struct vm *vm, const char *text, struct err *e)
{
	_cleanup_free_ struct port_map *m = malloc(sizeof(*m));
	_cleanup_free_ char *copy = strdup(text);
	struct publish *p = vm->publish;
	struct door *d;
	int r = m && copy ? port_map_parse(text, 0, m, e) : err_sys(e, -ENOMEM, "publish");

	if (r == 0 && p) {
		LIST_FOREACH (d, &p->doors, link)
			d->old = true;
		redirect(p, m);
		r = new_doors(p, m, e);
		if (r < 0) {
			drop_new(p);
			redirect(p, &p->map);
		} else {
			p->map = *m;
		}
		watch_listeners(p);
		publish_listeners(vm);
	}
	if (r < 0)
		return r;
	free(vm->row.publish);
	vm->row.publish = TAKE_PTR(copy);
	return 0;
}

void publish_begin(struct vm *vm)
{
	struct publish *p = calloc(1, sizeof(*p));

	if (!p || port_map_parse(vm->row.publish, 0, &p->map, NULL) < 0) {
		free(p);
		return;
	}
	p->vm = vm;
	vm->publish = p;
	for (size_t i = 0; i < p->map.count; i++) {
		struct door *d = door_new(p, &p->map.pairs[i]);

		if (d && door_open(d) < 0)
			vm_log(vm, "publish: port %u of the host: %s: tried again every %d s", d->pair.host,
				why_not(d->code), PUBLISH_RETRY_USEC / 1000000);
	}
	arm_retry(p);
	watch_listeners(p);
}

void publish_end(struct vm *vm)
{
	struct publish *p = TAKE_PTR(vm->publish);
	struct carried *c;
	struct door *d;

	if (!p)
		return;
	while ((c = LIST_FIRST(&p->connections)))
		carried_free(c);
	while ((d = LIST_FIRST(&p->doors)))
		door_free(d);
	sd_event_source_disable_unref(p->retry);
	if (p->watching)
		vm_ports_unwatch(vm);
	free(p);
}

void publish_check(struct vm *vm)
{
	struct publish *p = vm->publish;
	struct door *d;

	if (!p)
		return;
	LIST_FOREACH (d, &p->doors, link)
		for (int i = 0; i < 2; i++)
			if (d->io[i])
				sd_event_source_set_io_events(d->io[i], takes(p) ? EPOLLIN : 0);
}

/* A door's line; D NULL: there is none. */
static void print_door(const struct vm *vm, const struct port_pair *pair, const struct door *d, FILE *out)
{
	const struct carried *c;
	unsigned n = 0;

	if (vm->publish)
		LIST_FOREACH (c, &vm->publish->connections, link)
			n += c->host == pair->host;
	fprintf(out, "%u %u %s %u\n", pair->host, pair->guest,
		!d                       ? "closed"
		: d->code == 0           ? "open"
		: d->code == -EADDRINUSE ? "taken"
					 : "failed",
		n);
}

void vm_published(const struct vm *vm, FILE *out)
{
	_cleanup_free_ struct port_map *m = malloc(sizeof(*m));
	const uint16_t *ports;
	size_t n;

	if (!m || port_map_parse(vm->row.publish, 0, m, NULL) < 0)
		return;
	for (size_t i = 0; i < m->count; i++)
		print_door(vm, &m->pairs[i], vm->publish ? find(vm->publish, &m->pairs[i]) : NULL, out);
	ports = listeners_ports(vm, &n);
	for (size_t i = 0; vm->publish && i < n; i++) {
		struct port_pair pair = {ports[i], ports[i]};
		const struct door *d = find(vm->publish, &pair);

		if (d && d->automatic)
			print_door(vm, &pair, d, out);
	}
}
