/*
 * What a start puts into the new root: host name, hosts, resolver, and the files it was given.
 */
#ifndef BANGER_GUEST_PLACE_H
#define BANGER_GUEST_PLACE_H

#include "banger/err.h"
#include "config.h"

/* Below ROOT; a link on the way is followed inside ROOT only (openat2(2) RESOLVE_IN_ROOT), a link at the end is replaced. */
int place_all(const char *root, const struct config *c, struct err *e);

#endif
