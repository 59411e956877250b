/*
 * The socket and those who are connected: one thread, one poll loop, nobody is waited for.
 */
#ifndef BANGER_SERVER_H
#define BANGER_SERVER_H

#include "calls.h"

/* The socket that the service manager made, or one of our own. -EBADMSG: the manager's is another than the instance's. */
int server_listen(const struct instance *inst, int *ret_fd, struct err *e);
/* Serves until SIGTERM or SIGINT (read from SIGNAL_FD). -ECHILD: a child of the helper's has ended. */
int server_run(
	const struct instance *inst, struct helper_state *s, int listen_fd, int signal_fd, struct err *e);

#endif
