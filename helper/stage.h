/*
 * The chroot of a jailed VMM: put together in a mount namespace of the VMM's own, out of descriptors, before Firecracker's jailer makes it the root
 * (docs/jailer.md in its sources). Nothing of it is seen from outside, and all of it goes when the process does.
 *
 * In the process that becomes the VMM: root, with the launcher's capabilities.
 */
#ifndef BANGER_STAGE_H
#define BANGER_STAGE_H

#include <sys/types.h>

#include "banger/helper_proto.h"
#include "instance.h"
#include "launch_fds.h"

/*
 * A user namespace that maps the instance's owner to USER, for mounts on which the owner's files are USER's: *RET_FD, the caller's. -errno.
 */
int stage_idmap(const struct instance *inst, uid_t user, int *ret_fd);

struct stage {
	const struct instance *inst;
	const struct helper_request *request;
	uid_t user;
	const int *fds; /* of LAUNCH */
	int mounts_fd;  /* the mount namespace in which they were opened */
	int idmap_fd;   /* stage_idmap() */
	int program_fd; /* Firecracker, O_PATH */
	int sockets_fd; /* jail_open() */
};

/* Names in INSTANCE_JAIL_BASE, for the jailer's command line. */
#define STAGE_PROGRAM "bin/firecracker"

/*
 * The jail but for what takes memory: *RET_ROOT, the caller's, is its root. The process has a mount namespace of its own afterwards. -errno, *RET_STEP says
 * of what.
 */
int stage_jail(const struct stage *s, int *ret_root, enum launch_step *ret_step);
/* The rest, for when the process is in the VM's cgroup. Likewise. */
int stage_fill(const struct stage *s, int root, enum launch_step *ret_step);

#endif
