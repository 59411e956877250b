/*
 * From an inode number to a descriptor and back, by the kernel's file handles (open_by_handle_at(2)); and the pins that keep a
 * file beyond its name.
 */
#ifndef BANGER_GUEST_HANDLE_H
#define BANGER_GUEST_HANDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "banger/agent_proto.h"

int handle_init(const char *root);
int handle_root(void);

/* An O_PATH descriptor of the file, the caller's. -ESTALE: there is none of that number and tag. */
int handle_open(uint32_t ino, uint32_t tag, int *ret_fd);

/* The same, opened with FLAGS (of open(2)). */
int handle_reopen(int path_fd, int flags, int *ret_fd);

/* Of an O_PATH or other descriptor. */
int handle_attr(int fd, struct agent_attr *ret);
/* Of NAME in DIR, not following it. */
int handle_attr_at(int dir, const char *name, struct agent_attr *ret);
uint32_t handle_tag(uint32_t generation);

/* Pins FD (taken) as the open file of INO, writable or not; one more pin where it is pinned already. */
int handle_pin(uint32_t ino, int fd, bool writable);
void handle_unpin(uint32_t ino);
void handle_unpin_all(void);
/* The pinned descriptor, borrowed; -1: none (that is writable, where WRITABLE). */
int handle_pinned(uint32_t ino, bool writable);

#endif
