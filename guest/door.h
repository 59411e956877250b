/*
 * The agent's door: a listening vsock, at which every user of the host can knock, and the one who says the VM's token is the host. Of a connection nothing is
 * looked at but whether it begins with a HELLO that has it (banger/agent_proto.h). Who says something else is shut out, who says nothing waits outside, where
 * there is room for so many that they are in nobody's way. Nothing here blocks.
 */
#ifndef BANGER_GUEST_DOOR_H
#define BANGER_GUEST_DOOR_H

#include <stdbool.h>

#include "banger/agent_proto.h"

#define DOOR_HELLO (AGENT_HEADER + 4 + AGENT_COOKIE + AGENT_TOKEN)

struct door;

/* LISTENER is taken, also on failure; TOKEN is copied. 0 or -errno */
int door_new(int listener, const uint8_t token[AGENT_TOKEN], struct door **ret);

/* To be polled for input: then door_admit() has something to do. */
int door_fd(const struct door *d);

/* True: *RET_FD is the host's, the caller's, and RET_HELLO the frame that it began with. False: nobody is, for now. */
bool door_admit(struct door *d, int *ret_fd, uint8_t ret_hello[DOOR_HELLO]);

/* Whether the payload of a HELLO, DOOR_HELLO less its header, has TOKEN: in as much time whatever it has. */
bool door_knows(const uint8_t *payload, const uint8_t token[AGENT_TOKEN]);

#endif
