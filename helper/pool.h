/*
 * The networks that instances take: of IPv4 a piece of 10.66.0.0/16, of IPv6 the /64 of that piece's number below a site prefix of this
 * machine's own (fdXX:XXXX:XXXX::/48, RFC 4193). Chosen once per boot, kept in the journal's head.
 */
#ifndef BANGER_POOL_H
#define BANGER_POOL_H

#include <netlink/netlink.h>

#include "journal.h"

/* 10.66.0.0/16 in pieces of /22 (1022 addresses, as many as a bridge has ports). */
#define POOL_FIRST  0x0a420000u
#define POOL_PREFIX 22u
#define POOL_PIECES 64u

/*
 * Chooses for the instance NAME what the journal doesn't have yet: from a place that hangs on the name on, the first piece that no address or
 * route of this host touches; or else the first that has none inside. -EADDRINUSE: none is left.
 */
int pool_choose(struct nl_sock *sock, struct journal *journal, const char *name, struct err *e);

/* Whether what was chosen is free still: nothing but the bridge of the journal has an address or a route inside. -EADDRINUSE */
int pool_check(struct nl_sock *sock, struct journal *journal, struct err *e);

/* Which of the pool's pieces NETWORK (host byte order) is: 0 to POOL_PIECES - 1, no other instance's in this network namespace. */
unsigned pool_piece(uint32_t network);
/* The /64 of NETWORK's piece, at SITE. */
void pool_prefix6(uint64_t site, uint32_t network, uint8_t ret[8]);

#endif
