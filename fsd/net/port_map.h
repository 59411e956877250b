/*
 * Which ports of the host lead to which of a guest: a VM's setting `publish`, taken apart. Pure; any thread.
 *
 * A line each, words between blanks:
 *
 *   HOST GUEST               a port of each, 1 to 65535
 *   FIRST-LAST FIRST-LAST    as many of each, in order
 *   auto FIRST-LAST          those that begin to listen in the guest, under their own numbers
 */
#ifndef BANGER_NET_PORT_MAP_H
#define BANGER_NET_PORT_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banger/err.h"

#define PORT_MAP_MAX 256 /* pairs of a VM: each is two sockets */

struct port_pair {
	uint16_t host, guest;
};
struct port_map {
	size_t count;
	struct port_pair pairs[PORT_MAP_MAX];
	uint16_t auto_first, auto_last; /* 0: none */
};

/* "": an empty one. LOWEST: the first port that programs without rights may listen at. -EINVAL, -ERANGE, -EACCES below LOWEST, -EEXIST a host's port twice, -E2BIG. */
int port_map_parse(const char *text, uint16_t lowest, struct port_map *ret, struct err *e);

/* What LOWEST is on this host: net.ipv4.ip_unprivileged_port_start, or 1024. */
uint16_t port_map_lowest(void);

bool port_map_has_host(const struct port_map *m, uint16_t host);
bool port_map_has_guest(const struct port_map *m, uint16_t guest);

#endif
