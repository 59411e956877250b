/*
 * The disks, and the root that is made of them.
 */
#ifndef BANGER_GUEST_DISKS_H
#define BANGER_GUEST_DISKS_H

#include "banger/err.h"
#include "config.h"

#define DISKS_ROOT "/m/root" /* where the new root stands before it is switched to */

/* The root, which is a disk or an overlay over the image; work disk at /root; grows file systems to their disks; makes the workspace. */
int disks_mount(const struct config *c, struct err *e);

#endif
