/*
 * The disks, and the root that is made of them.
 */
#ifndef BANGER_GUEST_DISKS_H
#define BANGER_GUEST_DISKS_H

#include <stdbool.h>

#include "banger/err.h"

#define DISKS_ROOT "/m/root" /* where the new root stands before it is switched to */

/*
 * Image read-only, overlay over it, work disk at /root; grows file systems to their disks; makes the workspace. IN_ORDER: the disks are known by their
 * order, not by their serials (banger/guest_config.h).
 */
int disks_mount(bool in_order, struct err *e);

#endif
