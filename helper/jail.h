/*
 * The folder for the sockets of a jailed VMM: PLACE_JAILS/NUMBER, the VMM's, and the owner's group's to use; but none but the owner comes through
 * PLACE_JAILS to it.
 *
 * It is a file system of its own, in memory, with room for little more than its sockets: whatever a hostile VMM makes of it (links, a million
 * files) is bounded, and goes with it, unread, when it is unmounted. The rest of a jail is in a mount namespace of the VMM's own (stage.h) and
 * goes with that. One thread.
 */
#ifndef BANGER_JAIL_H
#define BANGER_JAIL_H

#include <sys/types.h>

#include "banger/err.h"
#include "instance.h"

/* Where VM's is; *RET is the caller's. */
int jail_path(const struct instance *inst, uint32_t vm, char **ret, struct err *e);
/* Makes VM's, for USER; what was left of an earlier one goes. -EOPNOTSUPP: instance.h, jails_fd. */
int jail_make(const struct instance *inst, uint32_t vm, uid_t user, struct err *e);
/* *RET_FD: O_PATH, the caller's. */
int jail_open(const struct instance *inst, uint32_t vm, int *ret_fd, struct err *e);
/* Unmounts it, whoever still has something open there, and removes its mount point; 0 also where there is none. */
int jail_remove(const struct instance *inst, uint32_t vm, struct err *e);

#endif
