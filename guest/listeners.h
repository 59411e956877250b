/*
 * What listens on this machine, and who: /proc/net/{tcp,udp}{,6} and /proc/PID/fd (proc(5)). Blocks as long as the kernel takes to list them.
 */
#ifndef BANGER_GUEST_LISTENERS_H
#define BANGER_GUEST_LISTENERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banger/agent_proto.h"

#define LISTENER_COMM    16 /* TASK_COMM_LEN, with its NUL */
#define LISTENER_COMMAND 160

struct listener {
	struct agent_port port;
	char comm[LISTENER_COMM];
	char command[LISTENER_COMMAND]; /* arguments, blanks between; cut */
};

/* TCP sockets that listen, and with UDP those that are connected to nobody; AGENT_PORTS_MAX at most, by port. The caller's. -errno */
int listeners_read(bool udp, struct listener **ret, size_t *ret_n);
/* Fills in pid, comm and command of those whose process is found: the one with the lowest number. */
void listeners_find_owners(struct listener *l, size_t n);

#endif
