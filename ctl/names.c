#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/place.h"
#include "banger/proc.h"
#include "names.h"
#include "net/address.h"
#include "tree.h"

#define RESOLVED     "/run/systemd/resolve/io.systemd.Resolve" /* its socket, while it runs */
#define RESOLVE_MSEC 20000
#define ZONES_MAX    64

/* What a link's names are asked for: ~ZONE routes, and searches nothing. */
struct zones {
	char *list[ZONES_MAX];
	size_t n;
};

static void zones_clear(struct zones *z)
{
	while (z->n > 0)
		free(z->list[--z->n]);
}

static void add(struct zones *z, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct zones *z, const char *fmt, ...)
{
	va_list ap;

	if (z->n == ELEMENTSOF(z->list))
		return;
	va_start(ap, fmt);
	if (vasprintf(&z->list[z->n], fmt, ap) >= 0)
		z->n++;
	va_end(ap);
}

/* The reverse zones of whole bytes in the network of A. */
static void add_reverse(struct zones *z, const struct ifaddrs *a)
{
	uint32_t ip = ntohl(((struct sockaddr_in *)(void *)a->ifa_addr)->sin_addr.s_addr),
		 mask = ntohl(((struct sockaddr_in *)(void *)a->ifa_netmask)->sin_addr.s_addr);

	for (uint32_t net = ip & mask & 0xffffff00u; (net & mask) == (ip & mask); net += 256)
		add(z, "~%u.%u.%u.in-addr.arpa", net >> 8 & 255, net >> 16 & 255, net >> 24);
}

/* Of a /64: sixteen half bytes. */
static void add_reverse6(struct zones *z, const struct ifaddrs *a)
{
	const uint8_t *ip = ((struct sockaddr_in6 *)(void *)a->ifa_addr)->sin6_addr.s6_addr;
	char text[2 * 16 + 1];

	/* The link-local one is nobody's name. */
	if (ip[0] == 0xfe)
		return;
	for (int i = 0; i < 8; i++)
		snprintf(text + 4 * i, 5, "%x.%x.", ip[7 - i] & 15, ip[7 - i] >> 4);
	add(z, "~%sip6.arpa", text);
}

/* By what the link has, not by what the owner's daemon says of it. */
static int find_zones(const char *bridge, struct zones *z)
{
	struct ifaddrs *all;

	add(z, "~vm");
	if (getifaddrs(&all) < 0)
		return ctl_fail("names: %s", strerror(errno));
	for (struct ifaddrs *a = all; a; a = a->ifa_next) {
		if (strcmp(a->ifa_name, bridge) != 0 || !a->ifa_addr || !a->ifa_netmask)
			continue;
		if (a->ifa_addr->sa_family == AF_INET)
			add_reverse(z, a);
		else if (a->ifa_addr->sa_family == AF_INET6)
			add_reverse6(z, a);
	}
	freeifaddrs(all);
	return EXIT_OK;
}

static int resolvectl(const char *const *argv)
{
	static const char *const env[] = {"LC_ALL=C.UTF-8", "SYSTEMD_PAGER=", NULL};
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_err_ struct err e = {0};

	spec.argv = argv;
	spec.env = env;
	spec.timeout_msec = RESOLVE_MSEC;
	return proc_run(&spec, NULL, NULL, NULL, &e) < 0 ? ctl_fail("names: %s", err_text(&e)) : EXIT_OK;
}

#define RESOLVECTL(...) resolvectl((const char *const[]){"resolvectl", __VA_ARGS__, NULL})

/* The server last: until it is there nothing is asked of it, and then nothing but what it is for. */
static int route(const char *bridge, const char *place, const struct zones *z)
{
	const char *domain[3 + ZONES_MAX + 1] = {"resolvectl", "domain", bridge};
	int r;

	for (size_t i = 0; i < z->n; i++)
		domain[3 + i] = z->list[i];
	if ((r = RESOLVECTL("default-route", bridge, "no")) == EXIT_OK &&
		(r = RESOLVECTL("llmnr", bridge, "no")) == EXIT_OK &&
		(r = RESOLVECTL("mdns", bridge, "no")) == EXIT_OK &&
		/* The root says, signed, that there is no .vm; and whoever wants TLS of all servers gets none of this one. */
		(r = RESOLVECTL("dnssec", bridge, "no")) == EXIT_OK &&
		(r = RESOLVECTL("dnsovertls", bridge, "no")) == EXIT_OK &&
		(r = resolvectl(domain)) == EXIT_OK)
		r = RESOLVECTL("dns", bridge, place);
	return r;
}

/* The hardware address of the helper's bridges (helper/bridge.c), which none but root can give one. */
static bool is_ours(const char *bridge)
{
	static const char begin[] = "02:62:0a:42:";
	_cleanup_free_ char *path = NULL, *address = NULL;

	if (asprintf(&path, "/sys/class/net/%s/address", bridge) < 0) {
		path = NULL;
		return false;
	}
	return io_read_file(AT_FDCWD, path, 65536, &address, NULL, NULL) == 0 &&
	       strncmp(address, begin, strlen(begin)) == 0;
}

int names_route(struct ctl *c, char **ret_said)
{
	_cleanup_(zones_clear) struct zones z = {0};
	_cleanup_free_ char *place = NULL;
	_cleanup_err_ struct err e = {0};
	char bridge[PLACE_BRIDGE_MAX];
	uint32_t address;
	uint16_t port;
	int r;

	place_bridge(c->instance, bridge);
	if (access(RESOLVED, F_OK) < 0) {
		*ret_said = strdup("systemd-resolved doesn't run here");
		return EXIT_OK;
	}
	if (!is_ours(bridge)) {
		*ret_said = strdup("the first VM that starts makes the link that names go by: afterwards");
		return EXIT_OK;
	}
	if (tree_probe(c, "config/dns_listen", TREE_PATIENCE_MSEC) != TREE_ANSWERS || !ctl_need_tree(c) ||
		!(place = tree_read(c, "config/dns_listen")))
		return ctl_fail("names: the tree doesn't answer: banger status");
	if (!*place) {
		*ret_said = strdup("the daemon answers no names: config/dns_listen is empty");
		return RESOLVECTL("revert", bridge);
	}
	/* Loopback alone, whatever the owner's daemon says. */
	if (dns_place_parse(place, &address, &port, &e) < 0)
		return ctl_fail("names: %s", err_text(&e));
	r = find_zones(bridge, &z);
	return r == EXIT_OK ? route(bridge, place, &z) : r;
}
