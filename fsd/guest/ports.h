/*
 * What a guest says of what listens in it (AGENT_PORTS), checked, and as text. Pure; any thread.
 */
#ifndef BANGER_GUEST_PORTS_H
#define BANGER_GUEST_PORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "banger/agent_proto.h"

struct guest_port {
	struct agent_port port;     /* valid, but for what pid and what it speaks are: the guest's word */
	const char *comm, *command; /* of port's lengths: any bytes */
};

/* The one that *DATA begins with, of *N bytes, which move on. 1; 0: there is none any more; -EPROTO. */
int ports_next(const uint8_t **data, size_t *n, struct guest_port *ret);

/* Whether the guest's loopback leads to what listens there: at every address, 127.0.0.1 or ::1. FAMILY 4 or 6. */
bool ports_on_loopback(unsigned family, const uint8_t address[16]);

/*
 * Lines of `PORT PROTOCOL ADDRESS SPEAKS PID COMM COMMAND`, `-` for what there is none of, `?` for what is not known yet. Bytes that
 * are not printable ASCII, a backslash, and blanks of COMM are \ooo. -EPROTO: nothing is written.
 */
int ports_print(const void *data, size_t n, FILE *out);

#endif
