/*
 * The mounter: a child of the helper's that mounts what the daemon, too, is to see, the tree and the folders for jails' sockets, and takes it away. As a service the helper has a
 * mount namespace of its own, in which nearly nothing can be written, other users' processes can't be seen, and from which no mount gets out; the mounter alone is in the host's,
 * and knows five orders, about places that it makes of the instance's and a VM's number, and about a process by its number. It holds CAP_SYS_ADMIN and nothing else.
 */
#ifndef BANGER_MOUNTER_H
#define BANGER_MOUNTER_H

#include "instance.h"
#include "process.h"

struct mounter;

/* Forks it, into the mount namespace NAMESPACE_FD (-1: the helper's own), which stays the caller's. Call before capabilities are dropped. */
int mounter_new(const struct instance *inst, int namespace_fd, struct mounter **ret, struct err *e);
/* Ends it; the mount stays. */
struct mounter *mounter_free(struct mounter *m);

/* Mounts FUSE_FD, a /dev/fuse (borrowed), at the instance's place. */
int mounter_mount(struct mounter *m, int fuse_fd, struct err *e);
/* A small tmpfs, USER's and the owner's group's, on VM's folder among the jails', which is there. */
int mounter_mount_jail(struct mounter *m, uint32_t vm, uid_t user, struct err *e);
/* Take away what is mounted there, lazily: one mount a call. -EINVAL: there is none; -ENOENT: nor such a place. */
int mounter_unmount(struct mounter *m, struct err *e);
int mounter_unmount_jail(struct mounter *m, uint32_t vm, struct err *e);
/* Process PID as the host sees it. -ESRCH: there is none; -EIO: nobody knows. */
int mounter_see(struct mounter *m, int pid, struct process_stat *ret, struct err *e);

#endif
