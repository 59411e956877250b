/*
 * What a listener speaks: connected to, asked by http, then by TLS. For a process of its own: it waits.
 */
#ifndef BANGER_GUEST_PROBE_H
#define BANGER_GUEST_PROBE_H

#include <poll.h>

#include "listeners.h"

#define PROBE_STEP_MSEC 1000 /* each of the two questions */

struct probe;

/* For those of L, which stays, that are of TCP and AGENT_SPEAKS_UNKNOWN; 0: all are known. They have their answers when probe_run() comes back. NULL: no memory. */
struct probe *probe_new(struct listener *l, size_t n, size_t *ret_count);
struct probe *probe_free(struct probe *p);
/* Goes on with all of them at once, for MSEC at most; how many are without an answer. */
size_t probe_run(struct probe *p, unsigned msec);

#endif
