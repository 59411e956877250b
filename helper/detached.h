/*
 * Mounts that are nowhere yet, made of descriptors, and the folder in memory that they are put into to become the root of a VMM (stage.h, view.h).
 * For the process that becomes the VMM. All return 0 or -errno.
 */
#ifndef BANGER_DETACHED_H
#define BANGER_DETACHED_H

#include <stdint.h>

#include "instance.h"

/*
 * What FD stands for as a mount of its own, with ATTRIBUTES (mount_setattr(2)) and, where IDMAP_FD isn't negative, its owners as that user namespace
 * maps them. FD's mount must be in the mount namespace of the caller. *RET: the caller's.
 */
int detached_clone(int fd, uint64_t attributes, int idmap_fd, int *ret);

/* TREE, of a file, to be at NAME of FOLDER, a new file there. */
int detached_place(int folder, const char *name, int tree);

/* A new folder NAME of AT's, root's alone. *RET: the caller's. */
int detached_folder(int at, const char *name, int *ret);

/*
 * The caller gets a mount namespace of its own, and in it a file system in memory for SIZE bytes and INODES files, root's, on INST's INSTANCE_JAIL_BASE.
 * *RET: its root, the caller's.
 */
int detached_base(const struct instance *inst, uint64_t size, unsigned inodes, int *ret);

#endif
