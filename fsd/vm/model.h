/*
 * The model's insides, shared by the files of this room. No other room includes this.
 */
#ifndef BANGER_VM_MODEL_H
#define BANGER_VM_MODEL_H

#include <sys/queue.h>

#include "engine/engine.h"
#include "net/address.h"
#include "vm/config.h"
#include "vm/exec.h"
#include "vm/objects.h"
#include "vm/stopped.h"
#include "vm/vm.h"

/* An operation on a VM, from its verb to its end; those who wait for it. */
struct deed {
	struct vm *vm;
	enum vm_verb verb;
	struct op *op;
	enum vm_state before; /* what a cancelled start goes back to */
	TAILQ_HEAD(, vm_waiter) waiters;
	struct objects_waiter *ensuring;
	bool starting_again; /* the second half of a restart */
	unsigned resets;     /* of its guest, before it answered */
	struct err why;      /* it has failed, which the store is being told */
};

struct vm_waiter {
	TAILQ_ENTRY(vm_waiter) link;
	struct deed *deed; /* NULL: none yet, it is in vm->held */
	vm_done_fn done;
	void *user;
	bool wants_it_down; /* a stop that cancelled a start: that it was cancelled is its success */
	/* Of one that is held: */
	struct vm *vm;
	enum vm_verb verb;
};

struct vm {
	TAILQ_ENTRY(vm) link;
	struct vms *vms;
	struct store_vm row;
	enum vm_state state;
	struct deed *deed;
	bool deleting, reconnecting, telling; /* telling: of a setting, those who run it */
	bool clearing; /* what an ended VMM left is cleared away; who has a verb is held until then */
	TAILQ_HEAD(, vm_waiter) held;
	bool going;     /* a stop was cut off by the end of the daemon before: the VMM's is no failure */
	bool strange;   /* `error` says that its agent is none to speak with */
	unsigned tries; /* to reach its agent, in a row */
	/* While its VMM lives: */
	const struct engine *engine; /* that runs it; NULL: none */
	int pid, pidfd, run_fd, tty_fd;
	char channel[ENGINE_CHANNEL]; /* of its agent */
	sd_event_source *exit_source, *tty_source, *retry;
	struct agent *agent;
	struct workspace_waiter *preparing; /* its workspace, just now */
	struct sync_waiter *syncing;
	struct publish *publish;     /* NULL: its VMM does not live */
	struct listeners *listeners; /* NULL: nobody wants to know */
	/* ssh.c */
	struct ssh_setup *ssh;        /* what its server needs is being brought */
	char *host_key, ssh_boot[40]; /* NULL: none yet; the run that has it all */
	/* idle.c */
	unsigned uses;
	uint64_t used_at; /* CLOCK_MONOTONIC usec: when the last use ended, or it began to run */
	bool asked;       /* the guest is, whether it is idle */
	sd_event_source *idle;
	/* stopped.c */
	struct stopped *stopped; /* who serves its files while it does not run; NULL: nobody */
	int stopped_code;        /* how the last try ended, and until when none is made */
	uint64_t stopped_until;
	/* words.c: what its VMM tells by itself; NULL: nothing, or it can't be heard. What it has counted; lines of its log that were taken. */
	struct {
		struct words *log, *metrics;
		struct disk_counters disks;
		unsigned told;
	} words;
	/* Of its root disk's cow: as it was last, and the step that was told (fill.c). */
	struct {
		struct helper_disk_use use;
		unsigned told;
	} fill;
};

struct vms {
	TAILQ_HEAD(, vm) list; /* in order of id */
	size_t count;
	sd_event *event;
	struct jobs *jobs;
	struct ops *ops;
	struct vms_config config;
	struct subnet subnet;
	struct vm_watch watch;
	void *user;
	struct execs *execs;
	LIST_HEAD(, talk) talks;
	LIST_HEAD(, stopped) stopped;
	int dir_fd;  /* PLACE_STATE/vms */
	int runs_fd; /* PLACE_FSD_DIR/vm */
	/* The files looked at last: few readers, many VMs. */
	struct {
		uint32_t id;
		int fd;
	} log, console;
	sd_event_source
		*fill; /* the next round of fill.c; NULL: nobody runs on device-mapper, or it is at work */
	sd_event_source *clock; /* clock.c; NULL: no agent has been told since */
	bool quiet;             /* during vms_new(): nobody is told */
	/* Those whose agent is looked for just now; readable at the daemon's end. */
	unsigned reconnecting;
	int ending_fd;
};

/* vms.c */
/* Not in the list, its row empty; NULL: no memory. */
struct vm *vm_new(struct vms *vms);
void vm_free(struct vm *vm);
int vm_copy_row(const struct store_vm *from, struct store_vm *to);
/* Stores the row as it is now; a failure is logged. */
void vm_save(struct vm *vm);
/* The same, told to DONE. */
int vm_save_then(struct vm *vm, vm_done_fn done, void *user, struct err *e);
void vm_set_state(struct vm *vm, enum vm_state state);
/* DONE, once the store has it. */
int vm_set_state_then(struct vm *vm, enum vm_state state, vm_done_fn done, void *user);
/* In the store only, and here and to who watches only. */
int vm_store_state_then(struct vm *vm, enum vm_state state, vm_done_fn done, void *user);
void vm_show_state(struct vm *vm, enum vm_state state);
void vm_changed(struct vm *vm);
void vm_set_text(char **field, const char *text);
uint32_t vm_address(const struct vm *vm);
/* Which runs it; else the one that was asked for, or "auto". */
const char *vm_engine_name(const struct vm *vm);
/* False: this host has no IPv6, and the guest gets none. */
bool vm_ip6(const struct vm *vm, uint8_t ret[16]);
/* PLACE_STATE/vms/ID; the caller's. */
int vm_open_dir(struct vms *vms, uint32_t id, int *ret_fd, struct err *e);

/* alive.c: what is held while a VMM lives. */
/* Watches its end, its console and its agent; PIDFD and AGENT_FD (-1: to be found) are taken. */
int vm_alive(struct vm *vm, int pid, int pidfd, int agent_fd, struct err *e);
/* Looks for the agent of a VM that runs and has none, in the background. */
void vm_find_agent(struct vm *vm);
void vm_dead(struct vm *vm);

/* ssh.c: the host key that is kept. */
void ssh_load(struct vm *vm);

/* idle.c: a run begins, is over; settings, state or use have changed. */
void idle_begin(struct vm *vm);
void idle_end(struct vm *vm);
void idle_check(struct vm *vm);

/* fill.c: how full root disks are, watched while one runs on device-mapper. */
void fill_begin(struct vm *vm); /* a VM that lives */
void fill_watch(struct vms *vms);
void fill_print(const struct vm *vm, FILE *out); /* lines for `stats` */

/* clock.c: the guest is told the time, now and as long as it lives. */
void clock_tell(struct vm *vm);

/* words.c: what a VMM tells by itself is heard, no longer. */
void words_begin(struct vm *vm);
void words_end(struct vm *vm);
void words_print(struct vm *vm, FILE *out); /* lines for `stats` */

/* start.c, stop.c: the deeds. */
void start_begin(struct deed *d);
void stop_begin(struct deed *d);
void pause_begin(struct deed *d);
/* The VMM ended by itself. */
void stop_after_exit(struct vm *vm);
/* What an ended VMM says of why: 0 the guest switched itself off; -EIO with E. DIR_FD: PLACE_STATE/vms/ID. */
int stop_reason(int dir_fd, struct err *e);
/* Whether it is known to have reset itself. */
bool stop_was_reset(int dir_fd);
/* Sockets and their folder. Any thread. */
void stop_remove_sockets(struct vms *vms, uint32_t id);

/* verbs.c */
/* The deed is over: waiters are told, state and error set. E may be NULL when CODE is 0. */
void deed_end(struct deed *d, int code, const struct err *e);

/* Nothing is cleared away any more: who was held goes on. */
void vm_let_go_on(struct vm *vm);

/* uses.c: images and kernels ask the model from now on who uses them. */
void uses_begin(struct vms *vms);

/* talk.c: all of them end, as if they had been cancelled. */
void talks_end(struct vms *vms);

/* reconcile.c */
int vms_reconcile(struct vms *vms, struct err *e);

#endif
