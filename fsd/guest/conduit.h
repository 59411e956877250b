/*
 * A program in the guest whose standard input and output are a socket of ours: a worker talks with it by plain reads and writes,
 * while the loop moves the bytes and gives the credit. Or a port of the guest's, and somebody's connection to the host. Loop thread.
 */
#ifndef BANGER_CONDUIT_H
#define BANGER_CONDUIT_H

#include "guest/agent.h"

struct conduit;

/*
 * It is over: KIND and CODE as of agent_job_events.ended (-errno in START when it could not be started, and nothing else then). What it wrote is in the socket by
 * then, and our end is closed. TEXT: the last that it wrote to standard error, printable; borrowed. The conduit is gone after the call.
 */
typedef void (*conduit_done_fn)(void *user, int start, uint32_t kind, uint32_t code, const char *text);

/*
 * Runs WHAT (its want_stdin is set) with SOCK, a connected stream socket that is the conduit's own from here, also on failure.
 * The other end is the worker's: closing it for writing ends the program's input.
 */
int conduit_start(struct agent *a, sd_event *event, const struct agent_exec *what, int sock,
	conduit_done_fn done, void *user, struct conduit **ret, struct err *e);

/*
 * The same, of a connection to PORT of the guest's loopback, with SOCK a TCP connection of somebody's on the host: halves are closed on each side as on the
 * other, and so it is reset. KIND 2: that was its end.
 */
int conduit_connect(struct agent *a, sd_event *event, uint16_t port, int sock, conduit_done_fn done,
	void *user, struct conduit **ret, struct err *e);

/* The program is killed, the connection reset, our end of the socket closed: the worker sees the end. No further calls; C is gone. NULL is fine. */
struct conduit *conduit_free(struct conduit *c);

#endif
