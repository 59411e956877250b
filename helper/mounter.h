/*
 * The mounter: a child of the helper's that mounts the tree, and takes the mount away; the helper itself does neither. As a service the helper has a
 * mount namespace of its own, in which nearly nothing can be written and from which no mount gets out; the mounter alone is in the host's, and knows two
 * orders, both about one fixed place. It holds CAP_SYS_ADMIN and nothing else.
 */
#ifndef BANGER_MOUNTER_H
#define BANGER_MOUNTER_H

#include "instance.h"

struct mounter;

/* Forks it, into the mount namespace NAMESPACE_FD (-1: the helper's own), which stays the caller's. Call before capabilities are dropped. */
int mounter_new(const struct instance *inst, int namespace_fd, struct mounter **ret, struct err *e);
/* Ends it; the mount stays. */
struct mounter *mounter_free(struct mounter *m);

/* Mounts FUSE_FD, a /dev/fuse (borrowed), at the instance's place. */
int mounter_mount(struct mounter *m, int fuse_fd, struct err *e);
/* Takes away what is mounted there, lazily: one mount a call. */
int mounter_unmount(struct mounter *m, struct err *e);

#endif
