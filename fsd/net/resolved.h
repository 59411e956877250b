/*
 * systemd-resolved, asked over D-Bus (org.freedesktop.resolve1(5)) whether it has been told to ask this instance for NAME.vm. Only asked:
 * what tells it is root's `banger system names` (docs/privileges.md).
 */
#ifndef BANGER_NET_RESOLVED_H
#define BANGER_NET_RESOLVED_H

#include <stdint.h>

#include "banger/err.h"

/*
 * 0: names below .vm go to ADDRESS:PORT (host byte order) by the link BRIDGE. -ENOENT: there is no systemd-resolved that runs here; -EADDRNOTAVAIL: it
 * goes elsewhere with them; anything else: it can't be asked. E says it. Blocks, for two seconds at most: workers only.
 */
int resolved_check(const char *bridge, uint32_t address, uint16_t port, struct err *e);

#endif
