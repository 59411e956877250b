/*
 * The launcher: a child of the helper's, forked before the helper locks itself up, so that what it starts doesn't inherit that. It holds
 * only the right to become another user, and knows one order: start a reaper, which starts a VMM.
 */
#ifndef BANGER_LAUNCHER_H
#define BANGER_LAUNCHER_H

#include "banger/err.h"
#include "banger/helper_proto.h"
#include "instance.h"

struct launcher;

/* Forks it. Call before capabilities are dropped and the filter is set. */
int launcher_new(struct launcher **ret, struct err *e);
/* Ends it; VMMs and their reapers live on. */
struct launcher *launcher_free(struct launcher *l);

/* Called when the VMM's process exists and waits: whatever must be on record before it runs. */
typedef int (*launcher_record_fn)(void *data, int pid, int reaper_pid, uint64_t starttime, struct err *e);

/*
 * Starts the VM of REQUEST (checked) as USER with its FDS and TAP_FD (-1: none), all borrowed. Comes back when the VMM's program runs. *RET_PIDFD is
 * the caller's. -ENOENT, -EPERM: no usable QEMU.
 */
int launcher_run(struct launcher *l, const struct helper_request *request, uid_t user,
	const int fds[LAUNCH_FD_COUNT], int tap_fd, launcher_record_fn record, void *data, int *ret_pidfd,
	struct err *e);

/* Field 22 of /proc/PID/stat, the process's start in clock ticks; -ESRCH. */
int launcher_starttime(int pid, uint64_t *ret);

#endif
