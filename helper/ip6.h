/*
 * What of the host's IPv6 netlink has no call for: /proc/sys/net/ipv6.
 *
 * net.ipv6.conf.all.forwarding is never touched: with it on, a host stops learning its own routes from its routers (accept_ra), so it is its
 * administrator's to decide. Linux 6.17 and newer forward by interface (force_forwarding) and change nothing else by that.
 */
#ifndef BANGER_IP6_H
#define BANGER_IP6_H

#include <stdbool.h>

#include "banger/err.h"

/* Whether INTERFACE, or one that is made now where there is none of that name, has IPv6. */
bool ip6_usable(const char *interface);

/* What comes in by INTERFACE may be passed on from now on, where this kernel can do that by interface; else nothing is done. */
int ip6_forward(const char *interface, struct err *e);

#endif
