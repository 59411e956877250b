/*
 * How fast an interface may carry a guest's frames: traffic control of the kernel, by messages of our own. libnl-route 3.7 knows no police action, and its
 * tbf no rate from 2 GiB/s on.
 *
 * Towards the guest a token bucket (tc-tbf(8)) queues what comes too fast, and drops what is more than two buckets. From the guest there is no queue to
 * hold anything: a filter on all that comes in (tc-u32(8)) has a police action (tc-police(8)) drop it. Both go with the interface.
 */
#ifndef BANGER_RATE_H
#define BANGER_RATE_H

#include <netlink/netlink.h>
#include <stdint.h>

#include "banger/err.h"

/*
 * From now on RATE bytes a second each way, HELPER_RATE_MIN to HELPER_RATE_MAX; 0: as much as there is. What was set before is replaced, without a moment that
 * has no limit. -EOPNOTSUPP: the kernel lacks what it takes, which the text names; -ENODEV: no such interface. Failed where nothing was set, it leaves nothing;
 * where something was, either way has the old rate or the new one.
 */
int rate_set(struct nl_sock *sock, int ifindex, uint64_t rate, struct err *e);

#endif
