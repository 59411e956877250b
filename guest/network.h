/* The guest's one interface. */
#ifndef BANGER_GUEST_NETWORK_H
#define BANGER_GUEST_NETWORK_H

#include "banger/err.h"
#include "config.h"

/* lo up; eth0 with its addresses, up, and the default routes, where the config has a network. */
int network_up(const struct config *c, struct err *e);

#endif
