/*
 * DNS messages: what is answered to a query for `NAME.vm`, and for the addresses of the instance's subnet. Pure: it asks the
 * zone's callbacks and writes bytes; no socket, nothing kept. Parsing and names are glibc's (resolv/ns_parse.c, libresolv).
 *
 *   NAME.vm A, AAAA  the VM's addresses while it runs; other types: no error, no data
 *   vm SOA           the zone is ours
 *   D.C.B.A.in-addr.arpa PTR   NAME.vm of the VM that has A.B.C.D; ip6.arpa likewise
 *   else in these zones        NXDOMAIN
 *   anything else    REFUSED
 *
 * Authoritative, of life 0: a VM that is renamed or stopped is not remembered by whoever asked. RFC 1035, 2308 (SOA with what is
 * denied), 6891 (EDNS).
 */
#ifndef BANGER_NET_DNS_MESSAGE_H
#define BANGER_NET_DNS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/address.h"

#define DNS_ZONE       "vm"
#define DNS_QUERY_MAX  4096 /* longer ones are no queries */
#define DNS_ANSWER_MAX 512  /* RFC 1035 4.2.1; none of ours is longer */

struct dns_addresses {
	uint32_t ip; /* host byte order */
	bool has_ip6;
	uint8_t ip6[16];
};

struct dns_zone {
	struct subnet subnet;
	/* The addresses of the VM NAME, in lower case; false: there is none. */
	bool (*addresses)(void *user, const char *name, struct dns_addresses *ret);
	/* The name of the VM that has this address, IPv6 where IP6 isn't NULL; or NULL. Borrowed until the next call. */
	const char *(*name)(void *user, uint32_t ip, const uint8_t *ip6);
	void *user;
};

/* The answer to the N bytes of QUERY; its length, or 0: none is due (an answer itself, too short, too long). */
size_t dns_answer(const struct dns_zone *zone, const uint8_t *query, size_t n, uint8_t ret[DNS_ANSWER_MAX]);

#endif
