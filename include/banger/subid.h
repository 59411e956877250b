/*
 * Ranges of ids that a user may map in user namespaces: subuid(5), subgid(5).
 */
#ifndef BANGER_SUBID_H
#define BANGER_SUBID_H

#include "banger/err.h"

/* -EPERM: /etc/subuid or /etc/subgid gives USER none, saying which and what to do. Any thread. */
int subid_check(const char *user, struct err *e);

#endif
