/*
 * What the calls share: the helper's state, and a request at work. Of calls.c and its siblings alone.
 */
#ifndef BANGER_CALLS_STATE_H
#define BANGER_CALLS_STATE_H

#include <sys/queue.h>

#include "bridge.h"
#include "calls.h"
#include "disk.h"
#include "nat.h"

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

/* The VMM's pidfd of SLOT (NULL: -ESRCH), borrowed, opened again after a restart of ours where pid and start still agree. -ESRCH; -EIO: nobody knows */
int calls_living(struct helper_state *s, const struct journal_vm *slot, int *ret_pidfd);
/* Nothing of SLOT's VM (NULL: of none) runs: what it had may be taken away, or made. -EBUSY: it runs; -EIO: nobody knows */
int calls_idle(struct helper_state *s, const struct journal_vm *slot, struct err *e);

/* What is held of VM, made where nothing is yet; borrowed, gone with a call that leaves VM without a row in the journal. -ENOMEM */
int calls_hold(struct helper_state *s, uint32_t vm, struct held **ret, struct err *e);

/* calls_net.c */
int call_net_up(struct call *c, struct err *e);
int call_net_down(struct call *c, struct err *e);
int call_tap(struct call *c, struct err *e);
int call_nat(struct call *c, struct err *e);
int call_rate(struct call *c, struct err *e);
/* Removes the tap, where it doesn't go with its last descriptor, and what it may send. */
int calls_drop_tap(struct helper_state *s, struct journal_vm *slot, struct err *e);
int calls_drop_nat(struct helper_state *s, struct journal_vm *slot, struct err *e);

/* calls_vmm.c */
int call_jail(struct call *c, struct err *e);
int call_launch(struct call *c, struct err *e);
int call_signal(struct call *c, struct err *e);
int call_pidfd(struct call *c, struct err *e);
int calls_drop_jail(struct helper_state *s, struct journal_vm *slot, struct err *e);

/* calls_disk.c */
int call_storage(struct call *c, struct err *e);
int call_disk(struct call *c, struct err *e);
int call_disk_status(struct call *c, struct err *e);

#endif
