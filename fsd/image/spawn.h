/*
 * The running program once more, as a child that has some descriptors and nothing else of its parent: for main() functions that confine themselves
 * (sandbox.h). Blocks for as long as an exec takes.
 */
#ifndef BANGER_IMAGE_SPAWN_H
#define BANGER_IMAGE_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "banger/err.h"

/*
 * ARGV[1] tells main() what to be. FDS: those that it keeps, under their numbers, all above 2 (one may be there twice, negative ones are passed over); the array
 * is put in order. ORPHAN: it outlives the thread that calls this; else it is killed with it. The pid is the caller's to wait for, *RET_PIDFD to close.
 */
int spawn_self(
	char *const argv[], int *fds, size_t n, bool orphan, pid_t *ret_pid, int *ret_pidfd, struct err *e);

#endif
