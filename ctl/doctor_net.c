/* The guests' network: bridge, tables, forwarding. It is made at the first start of a VM. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/proc.h"
#include "doctor_rows.h"
#include "net/address.h"

#define COMPARE_MSEC 4000 /* its own work, which nobody else can draw out */

/* Bridge and address, by the helper's word or the tree's; the caller's. NULL: not known. */
static char *bridge_name(struct doctor *d)
{
	if (d->helper_code == 0)
		return strdup(d->hello.bridge);
	return d->tree == TREE_ANSWERS ? tree_read(d->c, "host/bridge") : NULL;
}

static char *bridge_address(struct doctor *d)
{
	struct in_addr a = {.s_addr = htonl(d->hello.gateway)};
	char text[INET_ADDRSTRLEN];

	if (d->helper_code == 0)
		return inet_ntop(AF_INET, &a, text, sizeof(text)) ? strdup(text) : NULL;
	return d->tree == TREE_ANSWERS ? tree_read(d->c, "host/gateway") : NULL;
}

/* What the helper's journal says that VMs have. */
static void vms_have(struct doctor *d, bool *ret_tap, bool *ret_nat)
{
	struct helper_entry entry = {0};

	*ret_tap = *ret_nat = false;
	while (d->helper_code == 0 && helper_list(d->helper, entry.vm, &entry, NULL) == 0) {
		*ret_tap |= entry.has_tap;
		*ret_nat |= entry.has_nat;
	}
}

/* There is a network to look at; otherwise F is told, and that is all. */
static bool has_network(struct doctor *d, struct finding *f, const char *bridge)
{
	bool tap, nat;

	if (!bridge) {
		found_unknown(d, f);
		return false;
	}
	vms_have(d, &tap, &nat);
	if (tap || if_nametoindex(bridge) > 0)
		return true;
	found_good(f, "the first VM that starts makes it");
	return false;
}

static void check_bridge(struct doctor *d, struct finding *f)
{
	_cleanup_free_ char *bridge = bridge_name(d), *address = bridge_address(d);
	struct ifaddrs *all = NULL;
	bool there = false, up = false, right = false, right6 = !d->hello.has_ip6;
	uint8_t gateway6[16];

	helper_gateway_ip6(d->hello.prefix6, gateway6);
	if (!has_network(d, f, bridge) || getifaddrs(&all) < 0)
		return;
	for (struct ifaddrs *a = all; a; a = a->ifa_next) {
		char text[INET_ADDRSTRLEN];

		if (strcmp(a->ifa_name, bridge) != 0)
			continue;
		there = true;
		up |= (a->ifa_flags & IFF_UP) != 0;
		if (a->ifa_addr && a->ifa_addr->sa_family == AF_INET6 && d->hello.has_ip6)
			right6 |= memcmp(&((struct sockaddr_in6 *)(void *)a->ifa_addr)->sin6_addr, gateway6,
					  sizeof(gateway6)) == 0;
		if (a->ifa_addr && a->ifa_addr->sa_family == AF_INET && address &&
			inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)a->ifa_addr)->sin_addr, text,
				sizeof(text)))
			right |= strcmp(text, address) == 0;
	}
	freeifaddrs(all);
	if (!there)
		found_bad(f, GRADE_FAIL, mend_up(d), "VMs run, but their bridge %s is not there", bridge);
	else if (!up)
		found_bad(f, GRADE_FAIL, mend_up(d), "the bridge %s is down", bridge);
	else if (!right)
		found_bad(f, GRADE_FAIL, mend_up(d), "the bridge %s hasn't its address %s", bridge,
			address ? address : "");
	else if (!right6)
		found_bad(f, GRADE_FAIL, mend_up(d), "the bridge %s hasn't its IPv6 address", bridge);
	else
		found_good(f, "%s is up, with %s%s", bridge, address, d->hello.has_ip6 ? " and IPv6" : "");
}

/* The helper's program makes the tables once more where nobody sees them, and compares. */
static void check_nft(struct doctor *d, struct finding *f)
{
	_cleanup_free_ char *bridge = bridge_name(d), *helper = daemons_program("banger-helper"),
			    *said = NULL;
	const char *argv[] = {
		helper, "--compare-nft", *d->c->instance ? "--instance" : NULL, d->c->instance, NULL};
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_err_ struct err e = {0};
	int code = 0, r;

	if (!has_network(d, f, bridge))
		return;
	if (!d->root || !helper) {
		found_bad(f, GRADE_WARN, helper ? mend_text("sudo banger doctor") : NULL,
			"not known: only root can look at nft tables");
		return;
	}
	spec.argv = argv;
	spec.timeout_msec = COMPARE_MSEC;
	r = proc_run(&spec, &said, NULL, &code, &e);
	if (r == 0)
		found_good(f, "the tables are as banger makes them");
	else if (r == -EIO && code == 1 && said && *said) {
		said[strcspn(said, "\n")] = '\0';
		found_bad(f, GRADE_FAIL, mend_up(d), "%s", said);
	} else {
		found_bad(f, GRADE_WARN, mend_as_root(d, "nft list tables"), "not known: %s", err_text(&e));
	}
}

/* Whether packets that come in by NAME are passed on. -1: there is no such interface. */
static int forwards(const char *name)
{
	_cleanup_free_ char *path = mend_text("/proc/sys/net/ipv4/conf/%s/forwarding", name), *value = NULL;

	if (!path || io_read_file(AT_FDCWD, path, 16, &value, NULL, NULL) < 0)
		return -1;
	return value[0] != '0';
}

/* The interfaces of the default routes: answers to guests come in by them. False: there is no such route. */
static bool find_uplinks(struct doctor *d, struct finding *f, bool needed)
{
	_cleanup_free_ char *text = NULL;
	char *rest, *line;
	bool any = false;

	if (io_read_file(AT_FDCWD, "/proc/self/net/route", 1 << 20, &text, NULL, NULL) < 0)
		return false;
	rest = text;
	while ((line = strsep(&rest, "\n"))) {
		char *name = strsep(&line, "\t"), *to = line ? strsep(&line, "\t") : NULL;

		if (!to || strcmp(to, "00000000") != 0)
			continue;
		any = true;
		if (needed && forwards(name) == 0)
			found_bad(f, GRADE_FAIL,
				mend_as_root(d, "sysctl -w net.ipv4.conf.%s.forwarding=1", name),
				"answers to guests come in by %s, which doesn't forward", name);
	}
	return any;
}

static void check_forwarding(struct doctor *d, struct finding *f)
{
	_cleanup_free_ char *bridge = bridge_name(d);
	bool tap, nat;

	if (!has_network(d, f, bridge))
		return;
	vms_have(d, &tap, &nat);
	if (forwards(bridge) == 0)
		found_bad(f, GRADE_FAIL, mend_up(d), "the bridge %s doesn't forward", bridge);
	if (!find_uplinks(d, f, nat))
		found_bad(f, GRADE_WARN, mend_text("ip route"),
			"this host has no default route: guests reach no further than it does");
	found_good(f, "what guests send, and what answers them, is forwarded");
}

/* The interface of the first default route of IPv6 that isn't one that only refuses; the caller's. NULL: there is none. */
static char *find_uplink6(void)
{
	_cleanup_free_ char *text = NULL;
	char *rest, *line, name[IFNAMSIZ];
	unsigned prefix;

	if (io_read_file(AT_FDCWD, "/proc/self/net/ipv6_route", 1 << 20, &text, NULL, NULL) < 0)
		return NULL;
	rest = text;
	/* To, its length, from, its length, by, metric, references, uses, flags, interface. */
	while ((line = strsep(&rest, "\n")))
		if (sscanf(line, "%*32s %2x %*32s %*2s %*32s %*8s %*8s %*8s %*8s %15s", &prefix, name) == 2 &&
			prefix == 0 && strncmp(line, "00000000", 8) == 0 && strcmp(name, "lo") != 0)
			return strdup(name);
	return NULL;
}

static void check_forwarding6(struct doctor *d, struct finding *f)
{
	_cleanup_free_ char *uplink = find_uplink6();

	if (d->helper_code == 0 && !d->hello.has_ip6)
		found_good(f, "this host has no IPv6, and guests have none");
	else if (!uplink)
		found_good(f, "this host has no way out by IPv6, and guests have none");
	else if (!host_forwards_ip6())
		/* In this order: with forwarding on, a host forgets the routes that its routers told it. */
		found_bad(f, GRADE_WARN,
			mend_as_root(d,
				"sysctl -w net.ipv6.conf.%s.accept_ra=2 net.ipv6.conf.all.forwarding=1",
				uplink),
			"guests reach no further than this host by IPv6: it doesn't forward, and its kernel "
			"can't for banger alone (Linux 6.17 can)");
	else
		found_good(f, "what guests send by IPv6 is forwarded");
}

/* What host/dns says after what it says of itself. */
static void check_names(struct doctor *d, struct finding *f)
{
	static const char asked[] = "dig ", told[] = "systemd-resolved asks there", untold[] = "isn't told";
	_cleanup_free_ char *text = d->tree == TREE_ANSWERS ? tree_read(d->c, "host/dns") : NULL;
	const char *more = text ? strstr(text, "; ") : NULL;

	if (!text)
		found_unknown(d, f);
	else if (strncmp(text, asked, strlen(asked)) != 0)
		found_bad(f, GRADE_WARN, mend_text("echo 127.0.0.1:5354 > %s/config/dns_listen", d->c->mount),
			"NAME.vm isn't answered: %s", text);
	else if (more && strstr(more, untold))
		found_bad(f, GRADE_WARN,
			mend_as_root(d, "banger%s%s system names", *d->c->instance ? " --instance " : "",
				d->c->instance),
			"NAME.vm is answered, but systemd-resolved doesn't ask: %s", text);
	else if (more && strstr(more, told))
		found_good(f, "every program here knows NAME.vm, by systemd-resolved");
	else
		found_good(f, "%s", text);
}

static void check_resolver(struct doctor *d, struct finding *f)
{
	_cleanup_free_ char *setting = d->tree == TREE_ANSWERS ? tree_read(d->c, "config/dns") : NULL;
	uint32_t address = 0;
	struct in_addr a;
	char text[INET_ADDRSTRLEN];

	if (setting && strcmp(setting, "host") != 0) {
		found_good(f, "guests are given %s, as set", setting);
		return;
	}
	if (resolvers_of_host(&address, 1) == 0) {
		found_bad(f, GRADE_WARN,
			mend_text("echo ADDRESS > %s/config/dns, of a resolver that guests reach "
				  "(`resolvectl dns` may know one)",
				d->c->mount),
			"guests are given none: /etc/resolv.conf names none but the host's own loopback");
		return;
	}
	a.s_addr = htonl(address);
	found_good(
		f, "guests are given the host's: %s", inet_ntop(AF_INET, &a, text, sizeof(text)) ? text : "");
}

const struct row doctor_rows_net[] = {
	{"bridge", check_bridge},
	{"nft", check_nft},
	{"forwarding", check_forwarding},
	{"forwarding6", check_forwarding6},
	{"resolver", check_resolver},
	{"names", check_names},
	{NULL, NULL},
};
