/*
 * Connections that the host carries to ports of this guest's own loopback (AGENT_CONNECT). Part of the agent's loop.
 */
#ifndef BANGER_GUEST_FORWARD_H
#define BANGER_GUEST_FORWARD_H

#include <poll.h>

#include "channel.h"

#define FORWARDS_MAX 1024

/* Begins what a CONNECT frame asks for; answers it now, or when it is connected. */
void forward_connect(struct channel *c, uint32_t id, const uint8_t *payload, size_t n);
/* STDIN, CREDIT, SIGNAL of a connection's. False: none has this number. */
bool forward_frame(struct channel *c, const struct agent_header *h, const uint8_t *payload);

/* What the loop shall poll for, written to P (room for FORWARDS_MAX), which stays until forward_turn(); returns how many. */
size_t forward_poll(struct pollfd *p, bool more_out);
/* After poll: moves bytes, ends what is over. */
void forward_turn(struct channel *c);
/* Another host: those of the one before are reset. */
void forward_new_host(void);

#endif
