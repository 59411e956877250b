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
 * forward: guests don't reach each other, leave only from an address in the set, never to link-local addresses (where clouds
 * hand out the host's credentials), and get only answers.
 * input: guests get answers and echoes from the host, none of its services.
 * The bridge's table: a tap's frames must have its guest's two addresses, in the ARP that it sends as well.
 */
static const char skeleton[] =
	"%3$s table inet %1$s\n"
	"%3$s table bridge %1$s\n"
	"add set inet %1$s nat { type ipv4_addr; }\n"
	"add set bridge %1$s guests { type ifname . ether_addr . ipv4_addr; }\n"
	"add chain inet %1$s postrouting { type nat hook postrouting priority srcnat; policy accept; }\n"
	"add chain inet %1$s forward { type filter hook forward priority filter; policy accept; }\n"
	"add chain inet %1$s input { type filter hook input priority filter; policy accept; }\n"
	"add chain bridge %1$s prerouting { type filter hook prerouting priority dstnat; policy accept; }\n"
	"flush chain inet %1$s postrouting\n"
	"flush chain inet %1$s forward\n"
	"flush chain inet %1$s input\n"
	"flush chain bridge %1$s prerouting\n"
	"add rule inet %1$s postrouting ip saddr @nat oifname != \"%2$s\" masquerade\n"
	"add rule inet %1$s forward iifname \"%2$s\" oifname \"%2$s\" drop\n"
	"add rule inet %1$s forward iifname \"%2$s\" ip daddr 169.254.0.0/16 drop\n"
	"add rule inet %1$s forward iifname \"%2$s\" ip saddr @nat accept\n"
	"add rule inet %1$s forward iifname \"%2$s\" drop\n"
	"add rule inet %1$s forward oifname \"%2$s\" ct state established,related accept\n"
	"add rule inet %1$s forward oifname \"%2$s\" drop\n"
	"add rule inet %1$s input iifname \"%2$s\" ct state established,related accept\n"
	"add rule inet %1$s input iifname \"%2$s\" icmp type echo-request accept\n"
	"add rule inet %1$s input iifname \"%2$s\" drop\n"
	"add rule bridge %1$s prerouting iifname != \"%2$s-*\" accept\n"
	"add rule bridge %1$s prerouting ether type ip iifname . ether saddr . ip saddr @guests accept\n"
	"add rule bridge %1$s prerouting ether type arp iifname . ether saddr . arp saddr ip @guests "
	"iifname . arp saddr ether . arp saddr ip @guests accept\n"
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
	return run(n, NULL, "list chain inet %1$s input\nlist chain bridge %1$s prerouting\n",
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

/* Takes ELEMENT out of a set. What isn't in it, or a set that somebody has removed, is as good. */
static int take_out(struct nat *n, const char *family, const char *set, const char *element, struct err *e)
{
	int r = run(n, e, "add element %1$s %2$s %3$s %4$s\ndelete element %1$s %2$s %3$s %4$s\n", family,
		n->inst->table, set, element);

	if (r < 0 && run(n, NULL, "list set %s %s %s\n", family, n->inst->table, set) < 0) {
		err_clear(e);
		r = 0;
	}
	return r;
}

static int set_element(
	struct nat *n, const char *family, const char *set, char *element, int on, struct err *e)
{
	_cleanup_free_ char *mine = element;

	if (!mine)
		return err_sys(e, -ENOMEM, "nftables");
	return on ? run(n, e, "add element %s %s %s %s\n", family, n->inst->table, set, mine)
		  : take_out(n, family, set, mine, e);
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

int nat_set(struct nat *n, uint32_t a, int on, struct err *e)
{
	return set_element(n, "inet", "nat",
		format("{ %u.%u.%u.%u }", a >> 24, a >> 16 & 255, a >> 8 & 255, a & 255), on, e);
}

int nat_guest(struct nat *n, uint32_t vm, uint32_t a, int on, struct err *e)
{
	char name[IFNAMSIZ], mac[18];

	instance_tap_name(n->inst, vm, name);
	helper_vm_mac(vm, mac);
	return set_element(n, "bridge", "guests",
		format("{ \"%s\" . %s . %u.%u.%u.%u }", name, mac, a >> 24, a >> 16 & 255, a >> 8 & 255,
			a & 255),
		on, e);
}
