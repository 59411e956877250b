/*
 * What the helper's processes may do: as little as their calls need (capabilities(7)).
 */
#ifndef BANGER_CAPS_H
#define BANGER_CAPS_H

#include "banger/err.h"

/* The helper: NET_ADMIN (bridge, taps, nftables), SYS_ADMIN (mount), KILL (VMMs are other users'). No new privileges from then on. */
int caps_helper(struct err *e);
/* The launcher: SETUID, SETGID, and what a jail takes: SYS_ADMIN, SYS_CHROOT, MKNOD, CHOWN, DAC_OVERRIDE. */
int caps_launcher(struct err *e);
/* In a process of the launcher's that becomes Firecracker's jailer: what that needs until it is another user, kept over its exec (ambient). */
int caps_jailer(struct err *e);
/* The mounter: SYS_ADMIN. */
int caps_mounter(struct err *e);
/* Who asks systemd for scopes. */
int caps_none(struct err *e);

#endif
