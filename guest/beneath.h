/*
 * Files below a folder, by path, where no link on the way is followed: what a guest's user has turned into a link leads nowhere.
 */
#ifndef BANGER_GUEST_BENEATH_H
#define BANGER_GUEST_BENEATH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "banger/workspace_proto.h"

/*
 * The folder that PATH lies in, and its last component in *RET_NAME, which points into PATH. MAKE: folders that are missing are made; with FORCE
 * what is no folder is removed first. A descriptor or -errno; -ENOTDIR: something else stands in its way.
 */
int beneath_parent(int root, const char *path, bool make, bool force, const char **ret_name);

/* What tells a file's state from any later one; by its own clock only. 0; -ENOENT, -ENOTDIR and -ELOOP: there is none. */
int beneath_id(int dir, const char *name, uint8_t ret[WORKSPACE_ID]);

/* Removes NAME in DIR and all that is below it. 0 or -errno; that it isn't there is fine. */
int beneath_remove(int dir, const char *name);

#endif
