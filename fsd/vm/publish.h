/*
 * A VM's ports on the host's loopback (promise I5): while its VMM lives the daemon listens at those of the setting `publish` on 127.0.0.1 and ::1, and carries
 * each connection through the agent, so that it needs neither a network nor rights. Loop thread.
 *
 * A guest that is paused, or whose agent is not there for a while, takes no connections: who connects waits in the socket's queue. A port that somebody else
 * has is tried again every PUBLISH_RETRY_USEC.
 */
#ifndef BANGER_VM_PUBLISH_H
#define BANGER_VM_PUBLISH_H

#include "vm/vm.h"

#define PUBLISH_RETRY_USEC      10000000
#define PUBLISH_AUTO_MAX        64  /* ports that are open because they listen in the guest */
#define PUBLISH_CONNECTIONS_MAX 512 /* of a VM; one more waits until another ends */

struct publish; /* of a VM, while it lives */

/* The VMM lives, or has gone. What the setting says that can't be had is in the log, and in publish_print(). */
void publish_begin(struct vm *vm);
void publish_end(struct vm *vm);
/* The agent came or went, the VM was paused or goes on. */
void publish_check(struct vm *vm);
/* Other ports of the guest listen than before: those that `auto` is for are opened and closed. */
void publish_listeners(struct vm *vm);
/*
 * TEXT, which port_map_parse() takes, is the setting from now on. -EADDRINUSE: a port that is new in it can't be had now, and all is as before. Connections
 * by ports that are no longer in it go on.
 */
int publish_set(struct vm *vm, const char *text, struct err *e);

#endif
