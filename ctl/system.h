/*
 * The instance as a whole: what its commands share. What fails is said; the results are exit codes.
 */
#ifndef BANGER_CTL_SYSTEM_H
#define BANGER_CTL_SYSTEM_H

#include <sys/types.h>

#include "ctl.h"

/* For the command WHAT. */
int system_need_root(const char *what);
/* Who the instance belongs to: NAMED, or who called sudo, or the system user made for it. For the command WHAT. */
int system_owner(const char *what, const char *named, uid_t *ret);
/* `banger down`: root is needed. */
int system_down(struct ctl *c);

#endif
