/*
 * What the calls share: the helper's state, and a request at work. Of calls.c and its siblings alone.
 */
#ifndef BANGER_CALLS_STATE_H
#define BANGER_CALLS_STATE_H

#include <sys/queue.h>

#include "calls.h"
#include "disk.h"

/* What is held of a VM while this helper runs: descriptors, which a journal can't keep. */
struct held {
	LIST_ENTRY(held) link;
	uint32_t vm;
	int tap_fd, pidfd;
	int mounts_fd; /* of JAIL, until LAUNCH */
};

struct helper_state {
	const struct instance *inst;
	struct journal *journal;
	struct launcher *launcher;
	struct mount_held *mount;
	struct bridge *bridge;
	struct nat *nat;
	struct disk disk;
	LIST_HEAD(, held) held;
};

/* A request at work. */
struct call {
	struct helper_state *s;
	const struct helper_request *q;
	int *fds;
	size_t nfds;
	struct helper_reply *reply;
	int ret_fd, ret_owned;
};

/* The VMM's pidfd of SLOT (NULL: -ESRCH), borrowed, opened again after a restart of ours where pid and start still agree. -ESRCH */
int calls_living(struct helper_state *s, const struct journal_vm *slot, int *ret_pidfd);

/* calls_disk.c */
int call_storage(struct call *c, struct err *e);
int call_disk(struct call *c, struct err *e);
int call_disk_status(struct call *c, struct err *e);

#endif
