/*
 * The files of the guest's tree that are not on the work disk. What their file systems are is not known, and most give no handles (an
 * overlay, say), so they are known by where they were last seen: a table of names, each under its folder. Nothing is held open for it, so
 * that a file system can be unmounted.
 *
 * The key of a file is made of its device and inode, salted: the same file has the same key for as long as this agent runs, whether or not
 * the table still has it.
 */
#ifndef BANGER_GUEST_NODE_H
#define BANGER_GUEST_NODE_H

#include <stdint.h>
#include <sys/stat.h>

#include "handle.h"

#define NODE_KEY_MAX ((1ull << 40) - 1)

/* TREE: the folder whose files are served. -errno. */
int node_init(const char *tree);

/* An O_PATH descriptor of the file, the caller's. -ESTALE: it is not known any more, or not where it was. Key 0: the root. */
int node_open(uint64_t key, int *ret_fd);

/*
 * The key of what ST says of NAME in the folder DIR. CLOSED: a file system whose files are not shown is mounted there. -ENOMEM.
 */
int node_seen(struct file_id dir, const char *name, const struct stat *st, bool closed, uint64_t *ret);

/* A file that is known has another name now. */
void node_moved(uint64_t key, struct file_id dir, const char *name);

/* Whether files of the file system of PATH_FD are shown: those on disks and in memory are; what others say is of the kernel's or of another machine's making. */
bool node_shown(int path_fd);

#endif
