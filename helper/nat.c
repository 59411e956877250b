#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/netfilter.h>
#include <nftables/libnftables.h>
#include <sched.h>
#include <stdarg.h>

#include "banger/cleanup.h"
#include "elements.h"
#include "nat.h"

/*
 * %1$s the table, %2$s the bridge, %3$s "create" or "add". `accept` here ends only this table's own look at a packet.
 *
 * forward: guests don't reach each other, leave only from an address in the sets, never to where clouds hand out the host's
 * credentials (link-local of IPv4; the addresses that AWS, Google and Oracle have for it in IPv6), and get only answers.
 * input: guests get answers and echoes from the host, none of its services, by no address of it.
 * The bridge's table: a tap's frames must have its guest's own addresses, hardware and network, in the ARP and the neighbour discovery
 * that it sends as well: an advertisement is for an address of its own (targets: the guest's, and the link-local one that follows from its
 * hardware address), and what it says of a hardware address, the one option that may follow, is its own (links: type, length, address). Nothing
 * of a router's comes from a guest, nor anything that sets the bridge's mind on who listens to a multicast group.
 */
static const char skeleton[] =
	"%3$s table inet %1$s\n"
	"%3$s table bridge %1$s\n"
	"add set inet %1$s nat { type ipv4_addr; }\n"
	"add set inet %1$s nat6 { type ipv6_addr; }\n"
	"add set bridge %1$s guests { type ifname . ether_addr . ipv4_addr; }\n"
	"add set bridge %1$s guests6 { type ifname . ether_addr . ipv6_addr; }\n"
	"add set bridge %1$s targets { typeof iifname . @th,64,128; }\n"
	"add set bridge %1$s links { typeof iifname . @th,192,64; }\n"
	"add chain inet %1$s postrouting { type nat hook postrouting priority srcnat; policy accept; }\n"
	"add chain inet %1$s forward { type filter hook forward priority filter; policy accept; }\n"
	"add chain inet %1$s input { type filter hook input priority filter; policy accept; }\n"
	"add chain bridge %1$s neighbours\n"
	"add chain bridge %1$s prerouting { type filter hook prerouting priority dstnat; policy accept; }\n"
	"flush chain inet %1$s postrouting\n"
	"flush chain inet %1$s forward\n"
	"flush chain inet %1$s input\n"
	"flush chain bridge %1$s neighbours\n"
	"flush chain bridge %1$s prerouting\n"
	"add rule inet %1$s postrouting ip saddr @nat oifname != \"%2$s\" masquerade\n"
	"add rule inet %1$s postrouting ip6 saddr @nat6 oifname != \"%2$s\" masquerade\n"
	"add rule inet %1$s forward iifname \"%2$s\" oifname \"%2$s\" drop\n"
	"add rule inet %1$s forward iifname \"%2$s\" ip daddr 169.254.0.0/16 drop\n"
	"add rule inet %1$s forward iifname \"%2$s\" ip6 daddr "
	"{ fd00:ec2::254, fd20:ce::254, fd00:c1::a9fe:a9fe } drop\n"
	"add rule inet %1$s forward iifname \"%2$s\" ip saddr @nat accept\n"
	"add rule inet %1$s forward iifname \"%2$s\" ip6 saddr @nat6 accept\n"
	"add rule inet %1$s forward iifname \"%2$s\" drop\n"
	"add rule inet %1$s forward oifname \"%2$s\" ct state established,related accept\n"
	"add rule inet %1$s forward oifname \"%2$s\" drop\n"
	"add rule inet %1$s input iifname \"%2$s\" ct state established,related accept\n"
	"add rule inet %1$s input iifname \"%2$s\" icmp type echo-request accept\n"
	"add rule inet %1$s input iifname \"%2$s\" icmpv6 type "
	"{ echo-request, nd-neighbor-solicit, nd-neighbor-advert } accept\n"
	"add rule inet %1$s input iifname \"%2$s\" drop\n"
	"add rule bridge %1$s neighbours iifname . ether saddr . ip6 saddr != @guests6 drop\n"
	"add rule bridge %1$s neighbours icmpv6 type nd-neighbor-solicit ip6 length 24 accept\n"
	"add rule bridge %1$s neighbours icmpv6 type nd-neighbor-solicit ip6 length 32 "
	"iifname . @th,192,64 @links accept\n"
	"add rule bridge %1$s neighbours iifname . @th,64,128 != @targets drop\n"
	"add rule bridge %1$s neighbours icmpv6 type nd-neighbor-advert ip6 length 24 accept\n"
	"add rule bridge %1$s neighbours icmpv6 type nd-neighbor-advert ip6 length 32 "
	"iifname . @th,192,64 @links accept\n"
	"add rule bridge %1$s neighbours drop\n"
	"add rule bridge %1$s prerouting iifname != \"%2$s-*\" accept\n"
	"add rule bridge %1$s prerouting ether type ip iifname . ether saddr . ip saddr @guests accept\n"
	"add rule bridge %1$s prerouting ether type arp iifname . ether saddr . arp saddr ip @guests "
	"iifname . arp saddr ether . arp saddr ip @guests accept\n"
	"add rule bridge %1$s prerouting icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } "
	"goto neighbours\n"
	"add rule bridge %1$s prerouting icmpv6 type { 130-134, 137, 138, 143, 151-153 } drop\n"
	"add rule bridge %1$s prerouting ether type ip6 iifname . ether saddr . ip6 saddr @guests6 accept\n"
	"add rule bridge %1$s prerouting drop\n";

struct nat {
	const struct instance *inst;
	struct nft_ctx *nft;
	struct elements *elements;
	uint32_t
		whole; /* the generation (elements.h) at which all is as nat_up() makes it; 0: none is known */
};

int nat_new(const struct instance *inst, struct nat **ret, struct err *e)
{
	struct nat *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return err_sys(e, -ENOMEM, "nftables");
	n->inst = inst;
	r = elements_new(&n->elements, e);
	if (r < 0) {
		nat_free(n);
		return r;
	}
	n->nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!n->nft || nft_ctx_buffer_output(n->nft) || nft_ctx_buffer_error(n->nft)) {
		nat_free(n);
		return err_set(e, -EIO, "nftables cannot be reached");
	}
	*ret = n;
	return 0;
}

struct nat *nat_free(struct nat *n)
{
	if (n) {
		if (n->nft)
			nft_ctx_free(n->nft);
		elements_free(n->elements);
		free(n);
	}
	return NULL;
}

/* One transaction. */
static int run(struct nat *n, struct err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int run(struct nat *n, struct err *e, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (r < 0) {
		text = NULL;
		return err_sys(e, -ENOMEM, "nftables");
	}
	/* What an earlier command printed is kept until somebody asks for it (libnftables(3)). */
	nft_ctx_get_output_buffer(n->nft);
	if (nft_run_cmd_from_buffer(n->nft, text) != 0) {
		const char *why = nft_ctx_get_error_buffer(n->nft);

		return err_set(e, -EIO, "nftables: %.*s", (int)strcspn(why, "\n"), why);
	}
	return 0;
}

bool nat_is_whole(struct nat *n)
{
	uint32_t now;

	return n->whole != 0 && elements_generation(n->elements, &now, NULL) == 0 && now == n->whole;
}

int nat_up(struct nat *n, int fresh, struct err *e)
{
	uint32_t before, after;
	int known = elements_generation(n->elements, &before, NULL) == 0, r;

	n->whole = 0;
	r = run(n, e, skeleton, n->inst->table, n->inst->bridge, fresh ? "create" : "add");
	/* Ours, and nobody else's meanwhile. */
	if (r == 0 && known && elements_generation(n->elements, &after, NULL) == 0 &&
		after == elements_next(before))
		n->whole = after;
	return r;
}

bool nat_is_up(struct nat *n)
{
	static const struct {
		const char *what, *family, *name;
	} parts[] = {
		{"chain", "inet", "input"},
		{"set", "inet", "nat"},
		{"set", "inet", "nat6"},
		{"chain", "bridge", "prerouting"},
		{"set", "bridge", "guests"},
		{"set", "bridge", "guests6"},
		{"set", "bridge", "targets"},
		{"set", "bridge", "links"},
	};
	int r = 0;

	if (nat_is_whole(n))
		return true;
	/* One by one: of two lists in one command libnftables 1.0.6 finds only what the other is of, too. */
	for (size_t i = 0; r == 0 && i < ELEMENTSOF(parts); i++)
		r = run(n, NULL, "list %s %s %s %s\n", parts[i].what, parts[i].family, n->inst->table,
			parts[i].name);
	return r == 0;
}

/* A table as nft(8) prints it, without the elements of its sets; the caller's. */
static int list_table(struct nat *n, const char *family, char **ret, struct err *e)
{
	int r = run(n, e, "list table %s %s\n", family, n->inst->table);

	if (r < 0)
		return r;
	*ret = strdup(nft_ctx_get_output_buffer(n->nft));
	return *ret ? 0 : err_sys(e, -ENOMEM, "nftables");
}

/* The first line by which two texts differ. */
static int compare(const char *family, const char *table, char *is, char *should, struct err *e)
{
	char *a, *b;

	do {
		a = strsep(&is, "\n");
		b = strsep(&should, "\n");
		if (a && b && strcmp(a, b) == 0)
			continue;
		if (b && *b)
			return err_set(e, -EUCLEAN, "the nft table %s %s lacks: %s", family, table,
				b + strspn(b, "\t "));
		if (a && *a)
			return err_set(e, -EUCLEAN, "the nft table %s %s has what banger didn't make: %s",
				family, table, a + strspn(a, "\t "));
	} while (a && b);
	return 0;
}

int nat_compare(struct nat *n, struct err *e)
{
	static const char *const families[] = {"inet", "bridge"};
	char *is[ELEMENTSOF(families)] = {NULL}, *should = NULL;
	struct nat *other = NULL;
	int r = 0;

	nft_ctx_output_set_flags(n->nft, NFT_CTX_OUTPUT_TERSE);
	for (size_t i = 0; r == 0 && i < ELEMENTSOF(families); i++)
		if (list_table(n, families[i], &is[i], NULL) < 0)
			r = err_set(e, -ENOENT, "there is no nft table %s %s", families[i], n->inst->table);
	if (r == 0 && unshare(CLONE_NEWNET) < 0)
		r = err_sys(e, -errno, "network namespace");
	/* Another context: this one's socket, and what it has seen, are of the host. */
	if (r == 0 && (r = nat_new(n->inst, &other, e)) == 0 && (r = nat_up(other, 1, e)) == 0)
		nft_ctx_output_set_flags(other->nft, NFT_CTX_OUTPUT_TERSE);
	for (size_t i = 0; r == 0 && i < ELEMENTSOF(families); i++) {
		r = list_table(other, families[i], &should, e);
		if (r == 0)
			r = compare(families[i], n->inst->table, is[i], should, e);
		free(should);
		should = NULL;
	}
	for (size_t i = 0; i < ELEMENTSOF(families); i++)
		free(is[i]);
	nat_free(other);
	return r;
}

int nat_down(struct nat *n, struct err *e)
{
	n->whole = 0;
	/* To add them first makes deleting them never fail for their not being there. */
	return run(n, e,
		"add table inet %1$s\ndelete table inet %1$s\n"
		"add table bridge %1$s\ndelete table bridge %1$s\n",
		n->inst->table);
}

/* What a guest has in the sets is there, or not; what others do to the tables meanwhile is found out by whoever asks nat_is_whole() next. */
static int put_in(struct nat *n, const struct elements_set *sets, size_t count, struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	int r = elements_change(n->elements, n->inst->table, sets, count, ELEMENTS_NEW, n->whole, &mine);

	if (r == 0 && n->whole) {
		n->whole = elements_next(n->whole);
	} else if (r == -ESTALE || r == -EEXIST) {
		n->whole = 0;
		return elements_change(n->elements, n->inst->table, sets, count, ELEMENTS_IN, 0, e);
	}
	return r < 0 ? err_move(e, &mine) : 0;
}

static int take_out(struct nat *n, const struct elements_set *sets, size_t count, struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	int r = elements_change(n->elements, n->inst->table, sets, count, ELEMENTS_OUT, n->whole, &mine);

	if (r == 0 && n->whole)
		n->whole = elements_next(n->whole);
	if (r != -ESTALE && r != -ENOENT)
		return r < 0 ? err_move(e, &mine) : 0;
	n->whole = 0;
	/* Nothing is in a set that isn't there: somebody has removed it, or a banger before this one didn't make it. */
	r = 0;
	for (size_t i = 0; r == 0 && i < count; i++) {
		err_clear(&mine);
		r = elements_change(n->elements, n->inst->table, &sets[i], 1, ELEMENTS_OUT, 0, &mine);
		if (r == -ENOENT)
			r = 0;
	}
	return r < 0 ? err_move(e, &mine) : 0;
}

int nat_set(struct nat *n, const struct nat_guest *g, int on, struct err *e)
{
	const uint32_t address = htonl(g->address);
	const struct elements_set sets[] = {
		{NFPROTO_INET, "nat", &address, sizeof(address), 1},
		{NFPROTO_INET, "nat6", g->ip6, sizeof(g->ip6), 1},
	};

	return (on ? put_in : take_out)(n, sets, ELEMENTSOF(sets), e);
}

#define MAC 6

/* Of the sets in the bridge's table, each part padded to four bytes (elements.h). */
struct guest_key {
	char tap[IFNAMSIZ];
	uint8_t mac[MAC], none[2];
	uint32_t address;
};
struct guest6_key {
	char tap[IFNAMSIZ];
	uint8_t mac[MAC], none[2];
	uint8_t address[16];
};
struct target_key {
	char tap[IFNAMSIZ];
	uint8_t address[16];
};
/* RFC 4861, 4.6.1: source (1) or target (2) link-layer address, one unit of eight bytes. */
struct link_key {
	char tap[IFNAMSIZ];
	uint8_t type, units, mac[MAC];
};
_Static_assert(sizeof(struct guest_key) == 28 && sizeof(struct guest6_key) == 40 &&
		       sizeof(struct target_key) == 32 && sizeof(struct link_key) == 24,
	"without gaps");

int nat_tap(struct nat *n, const struct nat_guest *g, int on, struct err *e)
{
	struct guest_key guest = {.address = htonl(g->address)};
	struct guest6_key guests6[2] = {0};
	struct target_key targets[2] = {0};
	struct link_key links[2] = {{.type = 1, .units = 1}, {.type = 2, .units = 1}};
	const struct elements_set sets[] = {
		{NFPROTO_BRIDGE, "guests", &guest, sizeof(guest), 1},
		{NFPROTO_BRIDGE, "guests6", guests6, sizeof(guests6[0]), 2},
		{NFPROTO_BRIDGE, "targets", targets, sizeof(targets[0]), 2},
		{NFPROTO_BRIDGE, "links", links, sizeof(links[0]), 2},
	};

	instance_tap_name(n->inst, g->vm, guest.tap);
	helper_vm_mac_bytes(g->vm, guest.mac);
	for (int i = 0; i < 2; i++) {
		memcpy(guests6[i].tap, guest.tap, IFNAMSIZ);
		memcpy(targets[i].tap, guest.tap, IFNAMSIZ);
		memcpy(links[i].tap, guest.tap, IFNAMSIZ);
		memcpy(guests6[i].mac, guest.mac, MAC);
		memcpy(links[i].mac, guest.mac, MAC);
	}
	memcpy(guests6[0].address, g->ip6, sizeof(g->ip6));
	helper_vm_linklocal(g->vm, guests6[1].address);
	for (int i = 0; i < 2; i++)
		memcpy(targets[i].address, guests6[i].address, sizeof(targets[i].address));
	return (on ? put_in : take_out)(n, sets, ELEMENTSOF(sets), e);
}
