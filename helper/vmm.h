/*
 * The process of a VMM, from its birth in the launcher until its program runs.
 */
#ifndef BANGER_VMM_H
#define BANGER_VMM_H

#include <sched.h>
#include <sys/types.h>

#include "banger/helper_proto.h"
#include "instance.h"
#include "launch_fds.h"

struct vmm {
	const struct instance *inst;
	const struct helper_request *request;
	uid_t user;
	uint32_t cid;   /* of the vsock that LAUNCH_FD_AGENT is; 0: it is none */
	int program_fd; /* O_PATH: QEMU, or the jailer */
	int jailed_fd;  /* what the jailer is to run; -1 with QEMU, as the next three */
	int mounts_fd, sockets_fd, idmap_fd;
	int fds[LAUNCH_FD_COUNT];
	int tap_fd;                  /* -1: none, or one that is known by its name */
	int go_fd, failed_fd;        /* the reaper's other ends */
	int serial, monitor, errors; /* monitor -1: none */
};

/* Flags of clone(2) for it: alone in them, it can signal nobody, its reaper neither. */
#define VMM_NAMESPACES (CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS)

/* Waits for the byte that lets it go, then becomes the program. What fails is told on FAILED_FD. */
_Noreturn void vmm_become(const struct vmm *v);

#endif
