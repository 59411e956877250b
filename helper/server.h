/*
 * The socket and those who are connected: one thread, one poll loop, nobody is waited for.
 */
#ifndef BANGER_SERVER_H
#define BANGER_SERVER_H

#include "calls.h"

/* Serves until SIGTERM or SIGINT (read from SIGNAL_FD). */
int server_listen(const struct instance *inst, int *ret_fd, struct err *e);
int server_run(
	const struct instance *inst, struct helper_state *s, int listen_fd, int signal_fd, struct err *e);

#endif
