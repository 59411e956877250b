/*
 * A checkout on its way into a guest: what was changed there is asked for, then the difference is brought. Blocks: workers only.
 */
#ifndef BANGER_REPO_SEND_H
#define BANGER_REPO_SEND_H

#include "repo/checkout.h"

struct send_result {
	uint64_t files, bytes, removed; /* of the difference */
};

/*
 * SOCK: the two ends of `banger-guest workspace receive` (banger/workspace_proto.h), as one socket. BEFORE: what the guest has (NULL: nothing that is known). C's list gets
 * the guest's states. FORCE: what the guest has changed is overwritten. -EEXIST: it would be, and E names it; nothing was changed then. -EPIPE: the other side has ended; -EPROTO: it
 * says nonsense; else what it failed with.
 */
int checkout_send(struct checkout *c, const struct prepared *before, bool force, int sock, struct op *op,
	struct send_result *ret, struct err *e);

#endif
