/*
 * The instance's bridge, its subnet, and the taps on it; by libnl.
 */
#ifndef BANGER_BRIDGE_H
#define BANGER_BRIDGE_H

#include <stdbool.h>

#include "instance.h"
#include "journal.h"

struct bridge;

/* Chooses the subnet, if the journal has none yet (pool.h). */
int bridge_new(const struct instance *inst, struct journal *journal, struct bridge **ret, struct err *e);
struct bridge *bridge_free(struct bridge *b);

/* In host byte order; the bridge's own address is the first of it. */
uint32_t bridge_network(const struct bridge *b);
unsigned bridge_piece(const struct bridge *b);
/* The /64 of the instance; false: it isn't in use, as this host has no IPv6. */
bool bridge_prefix6(const struct bridge *b, uint8_t ret[8]);

/*
 * Makes it, with its addresses, a hardware address that stays, up, forwarding; no work where all that is so. -EEXIST: a link of that name that
 * isn't ours. -EADDRINUSE: the subnet is something else's by now.
 */
int bridge_up(struct bridge *b, struct err *e);
/* Only the link that the journal has by its number. None: fine. */
int bridge_down(struct bridge *b, struct err *e);
/* After a start: one half made or half gone is taken away and forgotten. */
int bridge_reconcile(struct bridge *b, struct err *e);

/*
 * Lets the interfaces that the default routes leave by forward. The kernel asks that of the interface by which a packet comes in, and answers to
 * guests come in there (facts on reliability 1.2); so it is needed as soon as one guest may leave, and not before. It is a setting of the
 * interface, by netlink (of IPv6: ip6.h), and net.ipv4.ip_forward stays as it was. It isn't taken back: others may count on it by then.
 */
int bridge_uplinks(struct bridge *b, struct err *e);

/*
 * A tap for VM on the bridge, isolated from the other ports: *RET_FD, the caller's, is what keeps it alive. *RET_IFINDEX
 * is its identity. -EEXIST: a link of that name is there.
 */
int bridge_tap(struct bridge *b, uint32_t vm, int *ret_fd, uint32_t *ret_ifindex, struct err *e);

/* The tap of FD outlives it, and USER may attach to it by its name: it stays until bridge_untap(). */
int bridge_lend(int fd, uid_t user, struct err *e);
/* Removes VM's tap, if it is there and still is IFINDEX. */
int bridge_untap(struct bridge *b, uint32_t vm, uint32_t ifindex, struct err *e);

/* Holds VM's tap to RATE bytes a second each way, or lets it go: rate_set(). -ENODEV: it isn't there, or isn't IFINDEX any more. */
int bridge_rate(struct bridge *b, uint32_t vm, uint32_t ifindex, uint64_t rate, struct err *e);

/* Puts VM's tap, if it is there and still is IFINDEX, back into a bridge that was made anew. */
int bridge_rejoin(struct bridge *b, uint32_t vm, uint32_t ifindex, struct err *e);

#endif
