#include <errno.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/ip.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>
#include <netlink/route/link/inet.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <sys/ioctl.h>

#include "banger/cleanup.h"
#include "bridge.h"
#include "ip6.h"
#include "netlink.h"
#include "pool.h"
#include "rate.h"

struct bridge {
	const struct instance *inst;
	struct journal *journal;
	struct nl_sock *sock;
};

int bridge_new(const struct instance *inst, struct journal *journal, struct bridge **ret, struct err *e)
{
	struct bridge *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return err_sys(e, -ENOMEM, "bridge");
	b->inst = inst;
	b->journal = journal;
	b->sock = nl_socket_alloc();
	if (!b->sock || (r = nl_connect(b->sock, NETLINK_ROUTE)) < 0) {
		bridge_free(b);
		return err_set(e, -EIO, "netlink cannot be reached");
	}
	r = pool_choose(b->sock, journal, inst->name, e);
	if (r < 0) {
		bridge_free(b);
		return r;
	}
	*ret = b;
	return 0;
}

struct bridge *bridge_free(struct bridge *b)
{
	if (b) {
		nl_socket_free(b->sock);
		free(b);
	}
	return NULL;
}

uint32_t bridge_network(const struct bridge *b)
{
	return journal_head(b->journal)->network;
}

unsigned bridge_piece(const struct bridge *b)
{
	return pool_piece(bridge_network(b));
}

bool bridge_prefix6(const struct bridge *b, uint8_t ret[8])
{
	pool_prefix6(journal_head(b->journal)->site, bridge_network(b), ret);
	return ip6_usable(b->inst->bridge);
}

/* The link NAME, or NULL when there is none. */
static int get_link(struct bridge *b, const char *name, struct rtnl_link **ret, struct err *e)
{
	int r = rtnl_link_get_kernel(b->sock, 0, name, ret);

	if (r == -NLE_OBJ_NOTFOUND || r == -NLE_NODEV) {
		*ret = NULL;
		return 0;
	}
	return r < 0 ? netlink_error(e, r, "link", name) : 0;
}

/* LOCAL is taken. */
static int add_address(
	struct bridge *b, int ifindex, struct nl_addr *local, int prefix, unsigned flags, struct err *e)
{
	struct rtnl_addr *address = rtnl_addr_alloc();
	int r = -NLE_NOMEM;

	if (address && local) {
		nl_addr_set_prefixlen(local, prefix);
		rtnl_addr_set_ifindex(address, ifindex);
		rtnl_addr_set_local(address, local);
		rtnl_addr_set_flags(address, flags);
		r = rtnl_addr_add(b->sock, address, 0);
	}
	if (local)
		nl_addr_put(local);
	if (address)
		rtnl_addr_put(address);
	return r < 0 && r != -NLE_EXIST ? netlink_error(e, r, "address of", b->inst->bridge) : 0;
}

static int set_addresses(struct bridge *b, int ifindex, struct err *e)
{
	uint32_t ip = htonl(bridge_network(b) + 1);
	uint8_t prefix[8], ip6[16];
	int r = add_address(b, ifindex, nl_addr_build(AF_INET, &ip, sizeof(ip)), POOL_PREFIX, 0, e);

	if (r < 0 || !bridge_prefix6(b, prefix))
		return r;
	helper_gateway_ip6(prefix, ip6);
	/* Nobody else can have it, and a bridge without guests would go on asking whether. */
	return add_address(b, ifindex, nl_addr_build(AF_INET6, ip6, sizeof(ip6)), 64, IFA_F_NODAD, e);
}

static int forward_on(struct bridge *b, int ifindex)
{
	_cleanup_(link_put) struct rtnl_link *l = NULL;
	struct rtnl_link *change;
	uint32_t now = 0;
	int r = rtnl_link_get_kernel(b->sock, ifindex, NULL, &l);

	if (r < 0)
		return r;
	if (rtnl_link_inet_get_conf(l, IPV4_DEVCONF_FORWARDING, &now) == 0 && now == 1)
		return 0;
	change = rtnl_link_alloc();
	if (!change)
		return -NLE_NOMEM;
	rtnl_link_set_ifindex(change, ifindex);
	r = rtnl_link_inet_set_conf(change, IPV4_DEVCONF_FORWARDING, 1);
	if (r >= 0)
		r = rtnl_link_change(b->sock, l, change, 0);
	rtnl_link_put(change);
	return r;
}

static int forward_by(struct bridge *b, int ifindex, int family, struct err *e)
{
	char name[IFNAMSIZ];
	int r;

	if (family == AF_INET6)
		return if_indextoname((unsigned)ifindex, name) ? ip6_forward(name, e) : 0;
	r = forward_on(b, ifindex);
	return r < 0 ? netlink_error(e, r, "forwarding", "of the default route") : 0;
}

int bridge_uplinks(struct bridge *b, struct err *e)
{
	_cleanup_(cache_put) struct nl_cache *routes = NULL;
	int r = rtnl_route_alloc_cache(b->sock, AF_UNSPEC, 0, &routes);

	if (r < 0)
		return netlink_error(e, r, "routes", "");
	r = 0;
	for (struct nl_object *o = nl_cache_get_first(routes); r == 0 && o; o = nl_cache_get_next(o)) {
		struct rtnl_route *route = (struct rtnl_route *)o;
		struct nl_addr *to = rtnl_route_get_dst(route);

		if ((to && nl_addr_get_prefixlen(to) > 0) || rtnl_route_get_type(route) != RTN_UNICAST)
			continue;
		for (int i = 0; r == 0 && i < rtnl_route_get_nnexthops(route); i++) {
			int ifindex = rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(route, i));

			r = ifindex > 0 ? forward_by(b, ifindex, rtnl_route_get_family(route), e) : 0;
		}
	}
	return r;
}

static int set_up(struct bridge *b, struct rtnl_link *l, struct err *e)
{
	struct rtnl_link *change = rtnl_link_alloc();
	int r;

	if (!change)
		return err_sys(e, -ENOMEM, "link");
	rtnl_link_set_ifindex(change, rtnl_link_get_ifindex(l));
	rtnl_link_set_flags(change, IFF_UP);
	r = rtnl_link_change(b->sock, l, change, 0);
	rtnl_link_put(change);
	return r < 0 ? netlink_error(e, r, "link", "up") : 0;
}

/*
 * A bridge without an address of its own takes the lowest of its ports', and changes it as they come and go, under the guests' feet.
 * This one is locally administered and the same whenever the bridge is made again: 02:62 and the address.
 */
static void pinned_mac(const struct bridge *b, uint8_t ret[6])
{
	uint32_t ip = bridge_network(b) + 1;
	const uint8_t mac[6] = {
		0x02, 0x62, (uint8_t)(ip >> 24), (uint8_t)(ip >> 16), (uint8_t)(ip >> 8), (uint8_t)ip};

	memcpy(ret, mac, sizeof(mac));
}

static int pin_mac(const struct bridge *b, struct rtnl_link *l)
{
	struct nl_addr *a;
	uint8_t mac[6];

	pinned_mac(b, mac);
	a = nl_addr_build(AF_LLC, mac, sizeof(mac));
	if (!a)
		return -ENOMEM;
	rtnl_link_set_addr(l, a);
	nl_addr_put(a);
	return 0;
}

static int make_bridge(struct bridge *b, struct err *e)
{
	struct journal_head *head = journal_head(b->journal);
	_cleanup_(link_put) struct rtnl_link *l = rtnl_link_bridge_alloc();
	int r;

	if (!l || pin_mac(b, l) < 0)
		return err_sys(e, -ENOMEM, "bridge");
	r = pool_check(b->sock, b->journal, e);
	if (r < 0)
		return r;
	head->net = JOURNAL_INTENT;
	head->bridge_ifindex = 0;
	r = journal_write_head(b->journal, e);
	if (r < 0)
		return r;
	rtnl_link_set_name(l, b->inst->bridge);
	r = rtnl_link_add(b->sock, l, NLM_F_CREATE | NLM_F_EXCL);
	if (r >= 0)
		return 0;
	r = netlink_error(e, r, "making the bridge", b->inst->bridge);
	head->net = JOURNAL_NONE;
	journal_write_head(b->journal, NULL);
	return r;
}

/* What it has from its first instant on: the kernel takes a name and an address with a new link, an alias only later. */
static bool looks_ours(const struct bridge *b, struct rtnl_link *l)
{
	struct nl_addr *a = rtnl_link_get_addr(l);
	uint8_t mac[6];

	pinned_mac(b, mac);
	return rtnl_link_is_bridge(l) && a && nl_addr_get_len(a) == sizeof(mac) &&
	       memcmp(nl_addr_get_binary_addr(a), mac, sizeof(mac)) == 0;
}

int bridge_up(struct bridge *b, struct err *e)
{
	struct journal_head *head = journal_head(b->journal);
	_cleanup_(link_put) struct rtnl_link *l = NULL;
	int r, ifindex;

	r = get_link(b, b->inst->bridge, &l, e);
	if (r < 0)
		return r;
	/* Ours by its number; or when we were about to make it, and it looks so. */
	if (l && (head->net != JOURNAL_LIVE || rtnl_link_get_ifindex(l) != (int)head->bridge_ifindex) &&
		(head->net != JOURNAL_INTENT || !looks_ours(b, l)))
		return err_set(e, -EEXIST,
			"there is an interface %s that banger didn't make: remove or rename it",
			b->inst->bridge);
	if (!l) {
		r = make_bridge(b, e);
		if (r == 0)
			r = get_link(b, b->inst->bridge, &l, e);
		if (r == 0 && !l)
			r = err_set(e, -ENODEV, "the bridge %s went away", b->inst->bridge);
		if (r < 0)
			return r;
	}
	ifindex = rtnl_link_get_ifindex(l);
	if (head->net != JOURNAL_LIVE || head->bridge_ifindex != (uint32_t)ifindex) {
		head->net = JOURNAL_LIVE;
		head->bridge_ifindex = (uint32_t)ifindex;
		r = journal_write_head(b->journal, e);
		if (r < 0)
			return r;
	}
	r = set_addresses(b, ifindex, e);
	if (r == 0)
		r = set_up(b, l, e);
	if (r == 0) {
		r = forward_on(b, ifindex);
		r = r < 0 ? netlink_error(e, r, "forwarding of", b->inst->bridge) : 0;
	}
	return r == 0 ? ip6_forward(b->inst->bridge, e) : r;
}

int bridge_down(struct bridge *b, struct err *e)
{
	struct journal_head *head = journal_head(b->journal);
	_cleanup_(link_put) struct rtnl_link *l = NULL;
	int r;

	if (head->net == JOURNAL_NONE)
		return 0;
	r = get_link(b, b->inst->bridge, &l, e);
	if (r < 0)
		return r;
	head->net = JOURNAL_DELETING;
	r = journal_write_head(b->journal, e);
	if (r < 0)
		return r;
	if (l && rtnl_link_get_ifindex(l) == (int)head->bridge_ifindex) {
		r = rtnl_link_delete(b->sock, l);
		if (r < 0 && r != -NLE_OBJ_NOTFOUND && r != -NLE_NODEV)
			return netlink_error(e, r, "removing the bridge", b->inst->bridge);
	}
	head->net = JOURNAL_NONE;
	head->bridge_ifindex = 0;
	return journal_write_head(b->journal, e);
}

int bridge_reconcile(struct bridge *b, struct err *e)
{
	struct journal_head *head = journal_head(b->journal);
	_cleanup_(link_put) struct rtnl_link *l = NULL;
	int r;

	if (head->net != JOURNAL_INTENT && head->net != JOURNAL_DELETING)
		return 0;
	r = get_link(b, b->inst->bridge, &l, e);
	if (r < 0)
		return r;
	if (l && head->net == JOURNAL_INTENT && looks_ours(b, l))
		head->bridge_ifindex = (uint32_t)rtnl_link_get_ifindex(l);
	return bridge_down(b, e);
}

/* Port settings that libnl 3.7 has no call for: an RTM_SETLINK of the bridge family, by hand (linux/if_link.h: IFLA_BRPORT_ISOLATED). */
static int isolate(struct bridge *b, int ifindex)
{
	struct ifinfomsg info = {.ifi_family = AF_BRIDGE, .ifi_index = ifindex};
	struct nl_msg *m = nlmsg_alloc_simple(RTM_SETLINK, NLM_F_REQUEST | NLM_F_ACK);
	struct nlattr *port;
	int r = -NLE_NOMEM;

	if (m && nlmsg_append(m, &info, sizeof(info), NLMSG_ALIGNTO) == 0 &&
		(port = nla_nest_start(m, IFLA_PROTINFO | NLA_F_NESTED)) &&
		nla_put_u8(m, IFLA_BRPORT_ISOLATED, 1) == 0) {
		nla_nest_end(m, port);
		return nl_send_sync(b->sock, m);
	}
	nlmsg_free(m);
	return r;
}

/* Into the bridge, apart from its other ports, and up. */
static int join(struct bridge *b, struct rtnl_link *l, struct err *e)
{
	int ifindex = rtnl_link_get_ifindex(l), r;

	r = rtnl_link_enslave_ifindex(b->sock, (int)journal_head(b->journal)->bridge_ifindex, ifindex);
	if (r < 0)
		return netlink_error(e, r, "adding to the bridge:", rtnl_link_get_name(l));
	r = isolate(b, ifindex);
	if (r < 0)
		return netlink_error(e, r, "isolating", rtnl_link_get_name(l));
	return set_up(b, l, e);
}

static int is_taken(struct err *e, const char *name)
{
	return err_set(e, -EEXIST,
		"there is an interface %s already that banger didn't make: remove or rename it", name);
}

int bridge_tap(struct bridge *b, uint32_t vm, int *ret_fd, uint32_t *ret_ifindex, struct err *e)
{
	_cleanup_(link_put) struct rtnl_link *l = NULL;
	_cleanup_close_ int fd = -EBADF;
	struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL)};
	char name[IFNAMSIZ];
	int r;

	if (journal_head(b->journal)->net != JOURNAL_LIVE)
		return err_set(e, -ENETDOWN, "the bridge %s is not up", b->inst->bridge);
	instance_tap_name(b->inst, vm, name);
	r = get_link(b, name, &l, e);
	if (r < 0)
		return r;
	if (l)
		return is_taken(e, name);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, -errno, "/dev/net/tun (try: modprobe tun)");
	memcpy(request.ifr_name, name, sizeof(request.ifr_name));
	/* A new one or none: EBUSY is IFF_TUN_EXCL's word for one that came just now. */
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		return errno == EBUSY ? is_taken(e, name) : err_sys(e, -errno, "making the tap %s", name);
	r = get_link(b, name, &l, e);
	if (r == 0 && !l)
		r = err_set(e, -ENODEV, "the tap %s went away", name);
	if (r == 0)
		r = join(b, l, e);
	if (r < 0)
		return r;
	*ret_ifindex = (uint32_t)rtnl_link_get_ifindex(l);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int bridge_lend(int fd, uid_t user, struct err *e)
{
	return ioctl(fd, TUNSETOWNER, (unsigned long)user) < 0 || ioctl(fd, TUNSETPERSIST, 1UL) < 0
		       ? err_sys(e, -errno, "lending the tap")
		       : 0;
}

/* VM's tap; NULL where it isn't there, or isn't IFINDEX any more. */
static int find_tap(struct bridge *b, uint32_t vm, uint32_t ifindex, struct rtnl_link **ret, struct err *e)
{
	_cleanup_(link_put) struct rtnl_link *l = NULL;
	char name[IFNAMSIZ];
	int r;

	instance_tap_name(b->inst, vm, name);
	r = get_link(b, name, &l, e);
	if (r == 0)
		*ret = l && rtnl_link_get_ifindex(l) == (int)ifindex ? TAKE_PTR(l) : NULL;
	return r;
}

int bridge_untap(struct bridge *b, uint32_t vm, uint32_t ifindex, struct err *e)
{
	_cleanup_(link_put) struct rtnl_link *l = NULL;
	int r = find_tap(b, vm, ifindex, &l, e);

	if (r < 0 || !l)
		return r;
	r = rtnl_link_delete(b->sock, l);
	return r < 0 && r != -NLE_OBJ_NOTFOUND && r != -NLE_NODEV
		       ? netlink_error(e, r, "removing the tap", rtnl_link_get_name(l))
		       : 0;
}

int bridge_rate(struct bridge *b, uint32_t vm, uint32_t ifindex, uint64_t rate, struct err *e)
{
	_cleanup_(link_put) struct rtnl_link *l = NULL;
	int r = find_tap(b, vm, ifindex, &l, e);

	if (r < 0)
		return r;
	return l ? rate_set(b->sock, (int)ifindex, rate, e) : err_set(e, -ENODEV, "VM %u has no tap", vm);
}

int bridge_rejoin(struct bridge *b, uint32_t vm, uint32_t ifindex, struct err *e)
{
	_cleanup_(link_put) struct rtnl_link *l = NULL;
	int r = find_tap(b, vm, ifindex, &l, e);

	if (r < 0 || !l || rtnl_link_get_master(l) == (int)journal_head(b->journal)->bridge_ifindex)
		return r;
	return join(b, l, e);
}
