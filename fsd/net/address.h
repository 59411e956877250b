/* Addresses of an instance's networks. IPv4 in host byte order, IPv6 as sixteen bytes. */
#ifndef BANGER_NET_ADDRESS_H
#define BANGER_NET_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "banger/helper_client.h"

struct subnet {
	uint32_t network, prefix, gateway;
	bool has_ip6; /* this host has IPv6 */
	uint8_t prefix6[8];
};

/* As the helper tells it. */
struct subnet subnet_of(const struct helper_hello *hello);

/* The highest host part that a VM may have: the one below the broadcast address. 0 (a /31, a /32): none. */
uint32_t subnet_last(const struct subnet *s);
uint32_t subnet_address(const struct subnet *s, uint32_t index);

/*
 * Whether what guests send by IPv6 gets further than this host: it forwards, or its kernel does so for the interfaces that the helper
 * tells it to (helper/ip6.h).
 */
bool host_forwards_ip6(void);

/*
 * The resolvers that guests are given: the first of /etc/resolv.conf that aren't the host's own loopback; where there is none but
 * systemd-resolved's own, those that it asks itself. Up to MAX; returns how many.
 */
unsigned resolvers_of_host(uint32_t *ret, unsigned max);

/* Where the DNS answerer listens: "a.b.c.d:port", an address of 127.0.0.0/8. -EINVAL */
int dns_place_parse(const char *text, uint32_t *ret_address, uint16_t *ret_port, struct err *e);

#endif
