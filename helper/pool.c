#include <errno.h>
#include <fcntl.h>
#include <netlink/route/addr.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <sys/random.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "netlink.h"
#include "pool.h"

#define SITE_BITS 40

unsigned pool_piece(uint32_t network)
{
	return (network - POOL_FIRST) >> (32 - POOL_PREFIX) & (POOL_PIECES - 1);
}

void pool_prefix6(uint64_t site, uint32_t network, uint8_t ret[8])
{
	ret[0] = 0xfd;
	for (int i = 0; i < SITE_BITS / 8; i++)
		ret[1 + i] = (uint8_t)(site >> (SITE_BITS - 8 - 8 * i));
	ret[6] = 0;
	ret[7] = (uint8_t)pool_piece(network);
}

/*
 * The same at every boot, so that addresses of VMs are, and another on every machine: 40 bits out of the 128 of machine-id(5), whose others can't be
 * told from them (FNV-1a). A machine without one has a random site.
 */
static int find_site(uint64_t *ret, struct err *e)
{
	_cleanup_free_ char *id = NULL;
	uint64_t hash = 0xcbf29ce484222325u;
	size_t n;

	if (io_read_file(AT_FDCWD, "/etc/machine-id", 4096, &id, &n, NULL) == 0 && n >= 32) {
		for (size_t i = 0; i < 32; i++)
			hash = (hash ^ (unsigned char)id[i]) * 0x100000001b3u;
		hash ^= hash >> SITE_BITS;
	} else if (getrandom(&hash, sizeof(hash), 0) != sizeof(hash)) {
		return err_sys(e, -errno, "random numbers");
	}
	*ret = hash & ((UINT64_C(1) << SITE_BITS) - 1);
	/* 0 is how the journal says that there is none yet. */
	if (*ret == 0)
		*ret = 1;
	return 0;
}

enum overlap {
	OVERLAP_NONE,
	OVERLAP_WIDER,  /* what is there is wider than a piece: its other addresses stay reachable */
	OVERLAP_INSIDE, /* what is there would be hidden */
};

static enum overlap overlap4(uint32_t ip, unsigned prefix, uint32_t network)
{
	uint32_t mask = ~(uint32_t)0 << (32 - POOL_PREFIX),
		 theirs = prefix ? ~(uint32_t)0 << (32 - prefix) : 0;

	if ((ip & mask) == network)
		return OVERLAP_INSIDE;
	return prefix < POOL_PREFIX && (ip & theirs) == (network & theirs) ? OVERLAP_WIDER : OVERLAP_NONE;
}

/* Nobody else takes a /64 of a site that is this machine's own, but for one that was copied from it; what is wider is no matter then. */
static enum overlap overlap6(const uint8_t *ip, unsigned prefix, uint64_t site, uint32_t network)
{
	uint8_t ours[8];

	pool_prefix6(site, network, ours);
	return prefix >= 64 && memcmp(ip, ours, sizeof(ours)) == 0 ? OVERLAP_INSIDE : OVERLAP_NONE;
}

static enum overlap overlap(struct nl_addr *a, uint64_t site, uint32_t network)
{
	uint32_t ip;

	if (!a)
		return OVERLAP_NONE;
	if (nl_addr_get_family(a) == AF_INET6 && nl_addr_get_len(a) == 16)
		return overlap6(nl_addr_get_binary_addr(a), nl_addr_get_prefixlen(a), site, network);
	if (nl_addr_get_family(a) != AF_INET || nl_addr_get_len(a) != sizeof(ip))
		return OVERLAP_NONE;
	memcpy(&ip, nl_addr_get_binary_addr(a), sizeof(ip));
	return overlap4(ntohl(ip), nl_addr_get_prefixlen(a), network);
}

/* What lies in NETWORK, or around it, on the links but our own: the worst of it. A default route is around everything and doesn't count. */
static enum overlap overlaps(const struct journal_head *head, struct nl_cache *addresses,
	struct nl_cache *routes, uint32_t network)
{
	int mine = (int)head->bridge_ifindex;
	enum overlap worst = OVERLAP_NONE, o;

	for (struct nl_object *i = nl_cache_get_first(addresses); i; i = nl_cache_get_next(i)) {
		struct rtnl_addr *address = (struct rtnl_addr *)i;

		o = rtnl_addr_get_ifindex(address) == mine
			    ? OVERLAP_NONE
			    : overlap(rtnl_addr_get_local(address), head->site, network);
		worst = o > worst ? o : worst;
	}
	for (struct nl_object *i = nl_cache_get_first(routes); i; i = nl_cache_get_next(i)) {
		struct rtnl_route *route = (struct rtnl_route *)i;
		struct nl_addr *to = rtnl_route_get_dst(route);

		if (!to || nl_addr_get_prefixlen(to) == 0 ||
			(rtnl_route_get_nnexthops(route) > 0 && mine != 0 &&
				rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(route, 0)) == mine))
			continue;
		o = overlap(to, head->site, network);
		worst = o > worst ? o : worst;
	}
	return worst;
}

static int see(
	struct nl_sock *sock, struct nl_cache **ret_addresses, struct nl_cache **ret_routes, struct err *e)
{
	int r = rtnl_addr_alloc_cache(sock, ret_addresses);

	if (r >= 0)
		r = rtnl_route_alloc_cache(sock, AF_UNSPEC, 0, ret_routes);
	return r < 0 ? netlink_error(e, r, "addresses and routes of", "this host") : 0;
}

static int choose_piece(struct nl_sock *sock, struct journal_head *head, const char *name, struct err *e)
{
	_cleanup_(cache_put) struct nl_cache *addresses = NULL, *routes = NULL;
	uint32_t first = 0;
	int r = see(sock, &addresses, &routes, e);

	if (r < 0)
		return r;
	/* Where to begin: the default instance at 0, others spread by their names (djb2). */
	for (const char *p = name; *p; p++)
		first = first * 33 + (unsigned char)*p;
	if (*name)
		first = 1 + first % (POOL_PIECES - 1);
	/* One that touches nothing; where a wide net, as a company's 10.0.0.0/8, is around them all, one with nothing inside. */
	for (enum overlap most = OVERLAP_NONE; most < OVERLAP_INSIDE; most++)
		for (uint32_t i = 0; i < POOL_PIECES; i++) {
			uint32_t network = POOL_FIRST + (((first + i) % POOL_PIECES) << (32 - POOL_PREFIX));

			if (overlaps(head, addresses, routes, network) > most)
				continue;
			head->network = network;
			return 0;
		}
	return err_set(e, -EADDRINUSE, "no free subnet in 10.66.0.0/16: free one of its /%u", POOL_PREFIX);
}

int pool_choose(struct nl_sock *sock, struct journal *journal, const char *name, struct err *e)
{
	struct journal_head *head = journal_head(journal);
	int r = 0;

	if (head->site != 0 && head->network != 0)
		return 0;
	if (head->site == 0)
		r = find_site(&head->site, e);
	if (r == 0 && head->network == 0)
		r = choose_piece(sock, head, name, e);
	return r == 0 ? journal_write_head(journal, e) : r;
}

int pool_check(struct nl_sock *sock, struct journal *journal, struct err *e)
{
	_cleanup_(cache_put) struct nl_cache *addresses = NULL, *routes = NULL;
	struct journal_head *head = journal_head(journal);
	uint32_t network = head->network;
	int r = see(sock, &addresses, &routes, e);

	if (r < 0)
		return r;
	if (overlaps(head, addresses, routes, network) < OVERLAP_INSIDE)
		return 0;
	return err_set(e, -EADDRINUSE,
		"the subnet %u.%u.%u.0/%u has come into use by something else: banger down, then up, takes "
		"another",
		network >> 24, network >> 16 & 255, network >> 8 & 255, POOL_PREFIX);
}
