/*
 * The calls of the protocol, a table row each.
 */
#ifndef BANGER_CALLS_H
#define BANGER_CALLS_H

#include "banger/err.h"
#include "banger/helper_proto.h"
#include "instance.h"
#include "journal.h"
#include "launcher.h"

struct helper_state;

int calls_new(const struct instance *inst, struct journal *journal, struct launcher *launcher,
	struct helper_state **ret, struct err *e);
struct helper_state *calls_free(struct helper_state *s);

/* What an earlier helper of this boot left: processes found again, half-made things undone. What can't be is told on stderr, and stays in the journal. */
void calls_reconcile(struct helper_state *s);

/* Where the row of a call stands: -EPROTO no such call, or a request that breaks its rules (the connection is then closed). *RET_FDS_MIN and
   *RET_FDS_MAX: how many descriptors it takes. */
int calls_check(const struct helper_request *q, size_t nfds, const char **ret_name, struct err *e);

/*
 * Does a checked request. FDS are taken (closed, or kept). Fills in REPLY but for its head; *RET_FD is a descriptor to send with it,
 * borrowed unless *RET_OWNED, or -1. Returns the code that the reply carries.
 */
int calls_run(struct helper_state *s, const struct helper_request *q, int *fds, size_t nfds,
	struct helper_reply *reply, int *ret_fd, int *ret_owned, struct err *e);

#endif
