/*
 * Where a VM's processes live: a cgroup of their own, with limits, so that they are nobody's children but the machine's. Whatever becomes of the helper's
 * or the daemon's own cgroup, a VM isn't in it.
 *
 * Where systemd runs the machine it is a scope below banger.slice, banger-vm-N.scope (banger-NAME-vm-N.scope for an instance with a name), which goes
 * by itself when its last process does. Elsewhere, where there is a cgroup v2 hierarchy, it is a cgroup /banger/vm-N (/banger-NAME/vm-N) that
 * the helper makes and removes, in one that the launcher does: the root of the hierarchy is a folder that nobody may write without overriding its mode.
 * Elsewhere there is none. One thread.
 */
#ifndef BANGER_SCOPE_H
#define BANGER_SCOPE_H

#include "instance.h"

struct scopes;

struct scope_limits {
	uint64_t memory; /* bytes, page cache counted */
	unsigned tasks;  /* processes and threads */
};

/* Finds out which it is; forks the child that asks systemd. Call before capabilities are dropped. */
int scopes_new(const struct instance *inst, struct scopes **ret, struct err *e);
struct scopes *scopes_free(struct scopes *s);

/* The launcher's: the cgroup above those of VMs, where there is to be one, is made if it isn't there (0 or -errno); is removed, unless a VM is in it. */
int scopes_make_above(const struct scopes *s);
void scopes_remove_above(const struct scopes *s);

/* Moves the N processes PIDS, which wait and must not end meanwhile, into VM's. -EIO, -ETIMEDOUT: systemd doesn't make one. */
int scope_enter(struct scopes *s, uint32_t vm, const int *pids, size_t n, const struct scope_limits *limits,
	struct err *e);
/* VM's processes have ended, or are about to: what the helper made for them goes. Nothing there is fine. -EBUSY: they don't end. */
int scope_leave(struct scopes *s, uint32_t vm, struct err *e);

#endif
