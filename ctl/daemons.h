/*
 * The two daemons: found, started, ended. Root only.
 */
#ifndef BANGER_CTL_DAEMONS_H
#define BANGER_CTL_DAEMONS_H

#include <sys/types.h>

#include "banger/helper_client.h"
#include "ctl.h"

/* The path of a program of banger's beside this one, or where an installation has it; the caller's. NULL: it isn't there. */
char *daemons_program(const char *name);
/* The pid of the instance's living banger-fsd: who holds the lock on its pid file. 0: none. */
pid_t daemons_fsd(struct ctl *c);
/* The helper of the instance answers. */
bool daemons_helper(struct ctl *c, struct helper_hello *ret);
/* Starts what isn't there; OPTIONS: KEY=VALUE for fsd. 0 or an exit code, said. */
int daemons_start_helper(struct ctl *c, uid_t owner);
int daemons_start_fsd(struct ctl *c, uid_t owner, char *const *options, size_t n);
/* Waits until PID has gone. False: not within MSEC. */
bool daemons_gone(pid_t pid, unsigned msec);
/* The whole of the instance is taken for this command, so that two don't meet. -1: failed, said. */
int daemons_lock(struct ctl *c);

#endif
