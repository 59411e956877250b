/* NAME.vm on this host, where systemd-resolved runs. */
#ifndef BANGER_CTL_NAMES_H
#define BANGER_CTL_NAMES_H

#include "ctl.h"

/*
 * Has systemd-resolved send queries for NAME.vm, and for the names of the instance's addresses, to the daemon, as root: settings of the bridge's
 * link, which go with it, or with a restart of systemd-resolved. *RET_SAID, the caller's: why nothing is to be done; NULL: it is done. An exit code.
 */
int names_route(struct ctl *c, char **ret_said);

#endif
