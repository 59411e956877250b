/*
 * The launcher: a child of the helper's, forked before the helper locks itself up, so that what it starts doesn't inherit that. It holds
 * the right to become another user and those that making a jail takes, and knows one order: start a VMM, and a reaper as its parent.
 */
#ifndef BANGER_LAUNCHER_H
#define BANGER_LAUNCHER_H

#include "banger/err.h"
#include "banger/helper_proto.h"
#include "instance.h"

struct launcher;

/* Forks it. Call before capabilities are dropped and the filter is set. INST is borrowed, and its mounter is there. */
int launcher_new(const struct instance *inst, struct launcher **ret, struct err *e);
/* Ends it; VMMs and their reapers live on. */
struct launcher *launcher_free(struct launcher *l);

/* Called when the VMM's process exists and waits: whatever must be on record before it runs. */
typedef int (*launcher_record_fn)(void *data, int pid, int reaper_pid, uint64_t starttime, struct err *e);

struct launch {
	const struct helper_request *request; /* checked */
	uid_t user;                           /* the VM's own */
	uint32_t cid;              /* of the vsock that is LAUNCH_FD_AGENT; 0: that is a port's socket */
	const int *fds;            /* LAUNCH_FD_COUNT or, of a jailed one, LAUNCH_FD_COUNT_JAILED */
	int tap_fd;                /* QEMU's; -1: none */
	int mounts_fd, sockets_fd; /* a jailed one's: stage.h */
	int *lent_fd; /* -1, or a tap that the VMM will open by name: closed before RECORD is called */
};

/*
 * Starts a VM, with descriptors that stay the caller's but for the one lent. Comes back when the VMM's program runs, or the jailer that becomes it. *RET_PIDFD is
 * the caller's. -ENOENT, -EPERM: no usable program.
 */
int launcher_run(struct launcher *l, const struct launch *what, launcher_record_fn record, void *data,
	int *ret_pidfd, struct err *e);

#endif
