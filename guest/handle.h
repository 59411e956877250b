/*
 * From a file's number to a descriptor and back, by the kernel's file handles (open_by_handle_at(2)) on the work disk, by name elsewhere; and
 * the pins that keep a file beyond its name.
 */
#ifndef BANGER_GUEST_HANDLE_H
#define BANGER_GUEST_HANDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "banger/agent_request.h"

static inline bool file_in_tree(struct file_id id)
{
	return id.tag & AGENT_TAG_TREE;
}

static inline uint64_t file_key(struct file_id id)
{
	return (uint64_t)(id.tag & 0xff) << 32 | id.ino;
}

/* Of the work disk, by the kernel's handle (struct file_handle, unaligned). -EOPNOTSUPP: not one of ext4's. */
int handle_id(const void *handle, struct file_id *ret);
struct file_id file_of(const struct agent_attr *attr);

/* ROOT: the work disk; "workspace" is made in it. TREE: what is served beside it (node.h). */
int handle_init(const char *root, const char *tree);
int handle_root(void);

/* An O_PATH descriptor of the file, the caller's. -ESTALE: there is none of that name. */
int handle_open(struct file_id id, int *ret_fd);

/* The same, opened with FLAGS (of open(2)). */
int handle_reopen(int path_fd, int flags, int *ret_fd);

/* Of the file ID, open as FD. */
int handle_attr(struct file_id id, int fd, struct agent_attr *ret);
/* Of NAME in the folder DIR, open as DIR_FD; not following it. */
int handle_attr_at(struct file_id dir, int dir_fd, const char *name, struct agent_attr *ret);

/* Pins FD (taken) as the open file of ID, writable or not; one more pin where it is pinned already. */
int handle_pin(struct file_id id, int fd, bool writable);
void handle_unpin(struct file_id id);
void handle_unpin_all(void);
/* FD (taken) is a folder of the work disk that has lost its name: whoever has it open over there can still look at it, until a few more have gone. */
void handle_keep_removed(int fd);
/* The pinned descriptor, borrowed; -1: none (that is writable, where WRITABLE). */
int handle_pinned(struct file_id id, bool writable);

#endif
