/*
 * Loop devices: a file as a block device, for as long as somebody has it open (LO_FLAGS_AUTOCLEAR): nothing of one is left when all who held it
 * have gone, in whatever way.
 */
#ifndef BANGER_LOOP_H
#define BANGER_LOOP_H

#include <sys/types.h>

#include "banger/err.h"

enum loop_kind {
	LOOP_READ, /* read-only, through the host's cache: all who read the file share what is in it */
	LOOP_WRITE, /* past the host's cache where the file system can do that: what is above has flushed when this has */
};

/* Of the regular file FILE_FD (borrowed). *RET_FD: the device, open, the caller's; *RET_DEV: its number. -ENODEV: no loop devices in this kernel. */
int loop_make(int file_fd, enum loop_kind kind, int *ret_fd, dev_t *ret_dev, struct err *e);

/* 0 when this kernel has loop devices, -ENODEV. */
int loop_probe(struct err *e);

#endif
