#include <errno.h>
#include <inttypes.h>
#include <nftables/libnftables.h>
#include <stdarg.h>

#include "banger/cleanup.h"
#include "nat.h"

/*
 * %1$s the table, %2$s the bridge. `accept` here ends only this table's own look at a packet.
 *
 * forward: guests don't reach each other, leave only from an address in the set, and get only answers.
 * input: guests get answers and echoes from the host, none of its services.
 */
static const char skeleton[] =
	"add table inet %1$s\n"
	"add set inet %1$s nat { type ipv4_addr; }\n"
	"add chain inet %1$s postrouting { type nat hook postrouting priority srcnat; policy accept; }\n"
	"add chain inet %1$s forward { type filter hook forward priority filter; policy accept; }\n"
	"add chain inet %1$s input { type filter hook input priority filter; policy accept; }\n"
	"flush chain inet %1$s postrouting\n"
	"flush chain inet %1$s forward\n"
	"flush chain inet %1$s input\n"
	"add rule inet %1$s postrouting ip saddr @nat oifname != \"%2$s\" masquerade\n"
	"add rule inet %1$s forward iifname \"%2$s\" oifname \"%2$s\" drop\n"
	"add rule inet %1$s forward iifname \"%2$s\" ip saddr @nat accept\n"
	"add rule inet %1$s forward iifname \"%2$s\" drop\n"
	"add rule inet %1$s forward oifname \"%2$s\" ct state established,related accept\n"
	"add rule inet %1$s forward oifname \"%2$s\" drop\n"
	"add rule inet %1$s input iifname \"%2$s\" ct state established,related accept\n"
	"add rule inet %1$s input iifname \"%2$s\" icmp type echo-request accept\n"
	"add rule inet %1$s input iifname \"%2$s\" drop\n";

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

int nat_up(struct nat *n, struct err *e)
{
	return run(n, e, skeleton, n->inst->table, n->inst->bridge);
}

int nat_down(struct nat *n, struct err *e)
{
	/* To add it first makes deleting it never fail for its not being there. */
	return run(n, e, "add table inet %1$s\ndelete table inet %1$s\n", n->inst->table);
}

int nat_set(struct nat *n, uint32_t address, int on, struct err *e)
{
	return run(n, e,
		on ? "add element inet %1$s nat { %2$u.%3$u.%4$u.%5$u }\n"
		   : "add element inet %1$s nat { %2$u.%3$u.%4$u.%5$u }\n"
		     "delete element inet %1$s nat { %2$u.%3$u.%4$u.%5$u }\n",
		n->inst->table, address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}
