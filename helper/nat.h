/*
 * The instance's nftables tables, by libnftables: fixed skeletons, sets of the guests that may leave (inet) and of the addresses that each
 * tap may send from (bridge). Rules of others are not touched: everything is in tables of our own, which go as a whole.
 */
#ifndef BANGER_NAT_H
#define BANGER_NAT_H

#include <stdbool.h>

#include "instance.h"

struct nat;

/* A guest as the tables know it. */
struct nat_guest {
	uint32_t vm;
	uint32_t address; /* host byte order */
	uint8_t ip6[16];
};

int nat_new(const struct instance *inst, struct nat **ret, struct err *e);
struct nat *nat_free(struct nat *n);

/*
 * Makes the skeletons; what is there of them already is replaced, the sets kept: idempotent. FRESH: nothing of ours can be there yet, and tables of
 * those names are somebody else's (-EIO).
 */
int nat_up(struct nat *n, int fresh, struct err *e);
/* Whether nobody has changed anything in nftables since nat_up() but we: it would change nothing. */
bool nat_is_whole(struct nat *n);
/* Whether the tables are there, with all that is in them. */
bool nat_is_up(struct nat *n);
/*
 * Compares chains, rules and sets (not what is in the sets) with what nat_up() makes, which is made for that in a network namespace of its
 * own: the calling process is in that one afterwards, and of no more use. -ENOENT: a table isn't there; -EUCLEAN: a line differs,
 * which is told. Wants root, and a process without a seccomp list.
 */
int nat_compare(struct nat *n, struct err *e);
int nat_down(struct nat *n, struct err *e);

/* Lets the guest out, or no longer. One that is in already, or isn't, is fine. */
int nat_set(struct nat *n, const struct nat_guest *g, int on, struct err *e);
/* Lets the guest's tap send, from its hardware address and its addresses alone; or nothing. Likewise. */
int nat_tap(struct nat *n, const struct nat_guest *g, int on, struct err *e);

#endif
