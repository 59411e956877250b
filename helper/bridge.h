/*
 * The instance's bridge, its subnet, and the taps on it; by libnl.
 */
#ifndef BANGER_BRIDGE_H
#define BANGER_BRIDGE_H

#include "instance.h"
#include "journal.h"

/* The subnets that instances take: 10.66.0.0/16 in pieces of /22 (1022 addresses, as many as a bridge has ports). */
#define BRIDGE_POOL   0x0a420000u
#define BRIDGE_PREFIX 22u

struct bridge;

/* Chooses the subnet, if the journal has none yet: the first from a place that hangs on the name on, that no address here overlaps. */
int bridge_new(const struct instance *inst, struct journal *journal, struct bridge **ret, struct err *e);
struct bridge *bridge_free(struct bridge *b);
uint32_t bridge_network(
	const struct bridge *b); /* host byte order; the bridge's own address is the first of it */

/*
 * Makes it, with its address, up, forwarding; no work where all that is so. -EEXIST: a link of that name that isn't ours. Also lets
 * the interfaces of the default routes forward: the kernel asks that of the interface that a packet comes in by, and answers
 * to guests come in there (facts on reliability 1.2). Both are settings of interfaces, nothing is written to /proc.
 */
int bridge_up(struct bridge *b, struct err *e);
int bridge_down(struct bridge *b, struct err *e);

/*
 * A tap for VM on the bridge, isolated from the other ports: *RET_FD, the caller's, is what keeps it alive. *RET_IFINDEX
 * is its identity. -EEXIST: a link of that name is there.
 */
int bridge_tap(struct bridge *b, uint32_t vm, int *ret_fd, uint32_t *ret_ifindex, struct err *e);

#endif
