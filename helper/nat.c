#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <nftables/libnftables.h>
#include <sched.h>
#include <stdarg.h>

#include "banger/cleanup.h"
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
};

int nat_new(const struct instance *inst, struct nat **ret, struct err *e)
{
	struct nat *n = calloc(1, sizeof(*n));

	if (!n)
		return err_sys(e, -ENOMEM, "nftables");
	n->inst = inst;
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

int nat_up(struct nat *n, int fresh, struct err *e)
{
	return run(n, e, skeleton, n->inst->table, n->inst->bridge, fresh ? "create" : "add");
}

int nat_is_up(struct nat *n)
{
	return run(n, NULL,
		       "list chain inet %1$s input\nlist set inet %1$s nat\nlist set inet %1$s nat6\n"
		       "list chain bridge %1$s prerouting\nlist set bridge %1$s guests\n"
		       "list set bridge %1$s guests6\nlist set bridge %1$s targets\n"
		       "list set bridge %1$s links\n",
		       n->inst->table) == 0;
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
	/* To add them first makes deleting them never fail for their not being there. */
	return run(n, e,
		"add table inet %1$s\ndelete table inet %1$s\n"
		"add table bridge %1$s\ndelete table bridge %1$s\n",
		n->inst->table);
}

/* What a guest has in a set: elements, without their brackets. */
struct entry {
	const char *family, *set;
	char *elements;
};

static char *entry_text(const struct nat *n, const struct entry *entry, int on)
{
	const char *table = n->inst->table, *to = entry->elements;
	char *text = NULL;

	/* To add them first makes taking them out never fail for their not being there. */
	if ((on ? asprintf(&text, "add element %s %s %s { %s }\n", entry->family, table, entry->set, to)
		: asprintf(&text,
			  "add element %1$s %2$s %3$s { %4$s }\ndelete element %1$s %2$s %3$s { %4$s }\n",
			  entry->family, table, entry->set, to)) < 0)
		return NULL;
	return text;
}

/* All of it in one transaction. */
static int change_all(struct nat *n, const struct entry *entries, size_t count, int on, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (size_t i = 0; out && i < count; i++) {
		_cleanup_free_ char *one = entries[i].elements ? entry_text(n, &entries[i], on) : NULL;

		if (!one || fputs(one, out) < 0) {
			fclose(out);
			return err_sys(e, -ENOMEM, "nftables");
		}
	}
	if (!out || fclose(out) != 0)
		return err_sys(e, -ENOMEM, "nftables");
	return run(n, e, "%s", text);
}

/* Whether there is nothing in the set because there is no set: somebody has removed it, or a banger before this one didn't make it. */
static int is_gone(struct nat *n, const struct entry *entry)
{
	return run(n, NULL, "list set %s %s %s\n", entry->family, n->inst->table, entry->set) < 0;
}

/* ENTRIES' texts are taken. */
static int change(struct nat *n, struct entry *entries, size_t count, int on, struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	int r = change_all(n, entries, count, on, &mine);

	if (!on && r == -EIO) {
		r = 0;
		for (size_t i = 0; r == 0 && i < count; i++) {
			r = change_all(n, &entries[i], 1, 0, &mine);
			if (r < 0 && is_gone(n, &entries[i]))
				r = 0;
		}
	}
	for (size_t i = 0; i < count; i++)
		free(entries[i].elements);
	return r < 0 ? err_move(e, &mine) : 0;
}

static char *format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *format(const char *fmt, ...)
{
	char *text;
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = vasprintf(&text, fmt, ap);
	va_end(ap);
	return r < 0 ? NULL : text;
}

static void print_ip4(uint32_t address, char ret[INET_ADDRSTRLEN])
{
	struct in_addr a = {.s_addr = htonl(address)};

	inet_ntop(AF_INET, &a, ret, INET_ADDRSTRLEN);
}

int nat_set(struct nat *n, const struct nat_guest *g, int on, struct err *e)
{
	char ip4[INET_ADDRSTRLEN], ip6[INET6_ADDRSTRLEN];
	struct entry entries[] = {{"inet", "nat", NULL}, {"inet", "nat6", NULL}};

	print_ip4(g->address, ip4);
	entries[0].elements = strdup(ip4);
	entries[1].elements = strdup(inet_ntop(AF_INET6, g->ip6, ip6, sizeof(ip6)));
	return change(n, entries, ELEMENTSOF(entries), on, e);
}

/* As a number, which is how a set takes what has no type of its own. */
static void print_number(const uint8_t ip6[16], char ret[2 * 16 + 1])
{
	for (int i = 0; i < 16; i++)
		snprintf(ret + 2 * i, 3, "%02x", ip6[i]);
}

int nat_tap(struct nat *n, const struct nat_guest *g, int on, struct err *e)
{
	char tap[IFNAMSIZ], mac[18], ip4[INET_ADDRSTRLEN], ip6[INET6_ADDRSTRLEN], local[INET6_ADDRSTRLEN],
		ip6_number[33], local_number[33];
	uint8_t linklocal[16];
	struct entry entries[] = {{"bridge", "guests", NULL}, {"bridge", "guests6", NULL},
		{"bridge", "targets", NULL}, {"bridge", "links", NULL}};

	instance_tap_name(n->inst, g->vm, tap);
	helper_vm_mac(g->vm, mac);
	helper_vm_linklocal(g->vm, linklocal);
	print_ip4(g->address, ip4);
	inet_ntop(AF_INET6, g->ip6, ip6, sizeof(ip6));
	inet_ntop(AF_INET6, linklocal, local, sizeof(local));
	print_number(g->ip6, ip6_number);
	print_number(linklocal, local_number);
	entries[0].elements = format("\"%s\" . %s . %s", tap, mac, ip4);
	entries[1].elements = format("\"%1$s\" . %2$s . %3$s, \"%1$s\" . %2$s . %4$s", tap, mac, ip6, local);
	entries[2].elements = format("\"%1$s\" . 0x%2$s, \"%1$s\" . 0x%3$s", tap, ip6_number, local_number);
	/* Source and target link-layer address (RFC 4861 4.6.1): type 1 or 2, one unit of eight bytes. */
	entries[3].elements =
		format("\"%1$s\" . 0x0101525400%2$06x, \"%1$s\" . 0x0201525400%2$06x", tap, g->vm);
	return change(n, entries, ELEMENTSOF(entries), on, e);
}
