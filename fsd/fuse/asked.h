/*
 * What the kernel has asked and nobody has answered yet, for kernels that can't ask again by themselves (FUSE_NOTIFY_RESEND: from 6.9 on): kept in a file in
 * memory that outlives this daemon, from which the next one takes it up as if it were asked again. Loop thread.
 */
#ifndef BANGER_FUSE_ASKED_H
#define BANGER_FUSE_ASKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banger/err.h"

struct asked;

/* The file "asked" in RUN_FD. FRESH: of a mount of which no earlier daemon was asked anything; else what one has left is there. */
int asked_open(int run_fd, bool fresh, struct asked **ret, struct err *e);
/* What is not answered stays in the file. */
struct asked *asked_close(struct asked *a);

/*
 * A request as the kernel has written it, kept until asked_done(). What wants no answer isn't; nor is what finds no room, whose caller then waits, should
 * this daemon end, until he is interrupted.
 */
void asked_keep(struct asked *a, const void *data, size_t n);
/* A NULL, and a number that isn't there, are fine. */
void asked_done(struct asked *a, uint64_t unique);
/* Calls FN with each that an earlier daemon has left, in the order of their numbers, and behind one that was interrupted with the interrupt. DATA is valid during the call. */
void asked_replay(struct asked *a, void (*fn)(void *user, void *data, size_t n), void *user);

#endif
