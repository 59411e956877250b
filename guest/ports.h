/*
 * What listens, told to the host (AGENT_PORTS), by a child each time: neither a list of many processes nor a listener that says nothing holds up the
 * agent's loop. What was found out of listeners is kept as long as they live.
 */
#ifndef BANGER_GUEST_PORTS_H
#define BANGER_GUEST_PORTS_H

#include <poll.h>

#include "channel.h"

#define PORTS_POLL_MAX 2

/* PORTS and PORTS_WATCH. */
void ports_request(struct channel *c, const struct agent_header *h, const uint8_t *payload);
/* What the loop shall poll for, written to P (room for PORTS_POLL_MAX); returns how many. */
size_t ports_poll(struct pollfd *p);
/* After poll: answers what can be answered, looks whether something has changed when it is time to. */
void ports_turn(struct channel *c);
/* When that is: CLOCK_MONOTONIC usec, 0: never. */
uint64_t ports_deadline(void);
/* Another host: nobody asks or watches any more. */
void ports_new_host(void);

#endif
