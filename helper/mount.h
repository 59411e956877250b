/*
 * The mount of the tree: made here, held here, so that a daemon that comes back finds it.
 */
#ifndef BANGER_MOUNT_H
#define BANGER_MOUNT_H

#include "instance.h"
#include "journal.h"

#define MOUNT_TYPE "fuse.banger"

struct mount_held; /* the /dev/fuse descriptor and what we know of it */

int mount_new(const struct instance *inst, struct journal *journal, struct mount_held **ret, struct err *e);
struct mount_held *mount_free(struct mount_held *m);

/*
 * *RET_FD: a descriptor of /dev/fuse for the tree's mount, borrowed. *RET_ADOPTED: the mount was there already and its
 * descriptor had been given out. A dead mount in its place is taken away first. -EBUSY: something else's is mounted there.
 */
int mount_get(struct mount_held *m, int *ret_fd, int *ret_adopted, struct err *e);

/* Takes FD, from a daemon that outlived an earlier helper, to keep. -EINVAL: not a /dev/fuse; -ENOENT: no mount of ours is there. */
int mount_keep(struct mount_held *m, int fd, struct err *e);

/* After a start: one half made, or gone without us, is taken away and forgotten. */
int mount_reconcile(struct mount_held *m, struct err *e);

int mount_is_held(const struct mount_held *m);
/* Lazily; nothing there is fine. */
int mount_remove(struct mount_held *m, struct err *e);

#endif
