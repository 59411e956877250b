/*
 * What the host told this start: /banger/config (banger/guest_config.h).
 */
#ifndef BANGER_GUEST_CONFIG_READ_H
#define BANGER_GUEST_CONFIG_READ_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "banger/agent_proto.h"
#include "banger/err.h"

#define CONFIG_DNS_MAX   3 /* resolv.conf(5): MAXNS */
#define CONFIG_DISKS_MAX 8

struct config {
	char hostname[64];
	bool network;
	uint32_t address, gateway; /* host byte order */
	uint32_t prefix;
	bool has_ip6, has_gateway6;
	struct in6_addr ip6, gateway6;
	uint32_t prefix6;
	uint32_t dns[CONFIG_DNS_MAX];
	unsigned dns_count;
	char *ssh_key;       /* NULL: none */
	uint64_t clock_usec; /* 0: not told */
	bool has_token;
	uint8_t token[AGENT_TOKEN];
	bool probe;
	bool root_disk;                /* the root is a disk, no overlay */
	char *disks[CONFIG_DISKS_MAX]; /* their serials in order, where they have others: vda, vdb, ... */
	unsigned disk_count;
};

int config_read(struct config *ret, struct err *e);

#endif
