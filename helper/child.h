/*
 * A child of the helper's: forked before the helper locks itself up, for one thing that the helper itself must have no right to, or that needs
 * a right which nothing else needs. It has its end of a socket pair and one more descriptor at most, and lives until the helper's end is closed.
 */
#ifndef BANGER_CHILD_H
#define BANGER_CHILD_H

#include <sys/types.h>

#include "banger/err.h"

struct child {
	int sock; /* SOCK_SEQPACKET, the helper's end */
	pid_t pid;
};

/* What the child does until its SOCK is closed at the other end; FD is what child_new() was given, or -1. Its return ends the process. */
typedef void (*child_fn)(int sock, int fd, const void *data);

/* Forks it. NAME is what ps shows, 15 characters at most. FD, -1: none, stays the caller's. */
int child_new(const char *name, child_fn run, int fd, const void *data, struct child *ret, struct err *e);
/* Ends it, and waits for it. One that was never made, {-1, 0}, is fine. */
void child_end(struct child *c);

#endif
