/*
 * The helper's child that asks systemd for scopes, by D-Bus. It has no capability: systemd does it for whoever is root. libsystemd is loaded in it alone, when
 * it is needed; so the helper itself has neither that library nor the six that come with it.
 */
#ifndef BANGER_SCOPE_BUS_H
#define BANGER_SCOPE_BUS_H

#include <stdint.h>

#define SCOPE_PIDS_MAX 4
#define SCOPE_NAME_MAX 64

/* One datagram each way. */
struct scope_order {
	char name[SCOPE_NAME_MAX];
	char title[SCOPE_NAME_MAX];
	uint64_t memory, tasks;
	uint32_t n, pids[SCOPE_PIDS_MAX];
};

struct scope_answer {
	int code; /* 0 or -errno */
	char text[192];
};

/* Serves orders from SOCK until it is closed (child.h). */
void scope_bus_serve(int sock, int fd, const void *data);

#endif
