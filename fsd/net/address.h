/* Addresses of an instance's subnet. Host byte order. */
#ifndef BANGER_NET_ADDRESS_H
#define BANGER_NET_ADDRESS_H

#include <stdint.h>

struct subnet {
	uint32_t network, prefix, gateway;
};

/* The highest host part that a VM may have: the one below the broadcast address. 0 (a /31, a /32): none. */
uint32_t subnet_last(const struct subnet *s);
uint32_t subnet_address(const struct subnet *s, uint32_t index);

/* The resolvers that guests are given: the first of /etc/resolv.conf that isn't the host's own loopback. Up to MAX; returns how many. */
unsigned resolvers_of_host(uint32_t *ret, unsigned max);

#endif
