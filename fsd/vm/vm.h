/*
 * The model: the VMs, their settings, their state machine, and the verbs that move them.
 *
 * Loop thread only. Every change of a VM is announced through struct vm_watch after the store has it. What
 * can block is done by jobs; each asynchronous call takes a `done` that is called exactly once, on the loop, and may be
 * called before the call returns only where that is said.
 */
#ifndef BANGER_VM_H
#define BANGER_VM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <systemd/sd-event.h>

#include "banger/err.h"
#include "guest/agent.h"
#include "job/job.h"

struct vms;
struct vm;

enum vm_state {
	VM_CREATED,
	VM_STARTING,
	VM_RUNNING,
	VM_PAUSED,
	VM_STOPPING,
	VM_STOPPED,
	VM_FAILED,
};
const char *vm_state_name(enum vm_state s);
/* -EINVAL */
int vm_state_parse(const char *s, enum vm_state *ret);

/* What can be read of a VM; borrowed, valid until the loop's next event. */
struct vm_view {
	uint32_t id;
	const char *name;
	enum vm_state state;
	const char *error;            /* rule 4: "OPERATION-ID STEP: what: what to do", or "" */
	const char *image, *kernel;   /* as set; the names in use */
	const char *engine, *storage; /* names, never "" */
	uint32_t vcpus;
	uint64_t memory, disk;
	bool nat;
	uint32_t ip; /* host byte order */
	bool has_ip6;
	uint8_t ip6[16];
	char mac[18];
	int pid;                            /* the VMM's; 0: none */
	const char *boot_id;                /* of the running guest, or "" */
	const char *channel;                /* of its agent: "vsock 12345", ..., or "" while stopped */
	const char *accel;                  /* "kvm", "tcg", or "" while stopped */
	uint64_t created, started, changed; /* CLOCK_REALTIME usec; started 0 while stopped */
	bool busy;                          /* an operation is at work on it */
	uint64_t op;                        /* its id, or 0 */
};
void vm_view(const struct vm *vm, struct vm_view *ret);

/* What happened; on the loop, after it is in the model. */
struct vm_watch {
	void (*created)(void *user, struct vm *vm);
	void (*deleted)(void *user, uint32_t id, const char *name);
	void (*renamed)(void *user, struct vm *vm, const char *old_name);
	void (*changed)(void *user, struct vm *vm); /* a setting, error, or fact */
	void (*state)(void *user, struct vm *vm, enum vm_state old);
	void (*ready)(void *user, struct vm *vm); /* its agent answers */
	void (*files)(void *user, struct vm *vm); /* somebody else serves its files, or nobody */
	void (*log)(void *user, struct vm *vm, const char *line); /* a line was added to its log */
	void (*console)(void *user, struct vm *vm, const void *data, size_t n); /* live output */
	/* A TCP port of the guest's, "listen PORT ADDRESS\n" or "close PORT ADDRESS\n", while vm_ports_watch() holds. */
	void (*port)(void *user, struct vm *vm, const char *line);
};

struct vms_config; /* vm/config.h: the instance's settings and places */

/* Adds what the store has and what the helper's list says still lives (reconcile); calls of WATCH begin afterwards. Blocking, at start. */
int vms_new(sd_event *event, struct jobs *jobs, struct ops *ops, const struct vms_config *config,
	const struct vm_watch *watch, void *user, struct vms **ret, struct err *e);
/* Lets go of the VMs without touching their guests. */
struct vms *vms_free(struct vms *vms);
/* The daemon's end: what works for nobody in particular ends, so that jobs_free() hasn't to wait for it. NULL is fine. */
void vms_end_background(struct vms *vms);

struct vm *vms_get(struct vms *vms, uint32_t id);
struct vm *vms_find(struct vms *vms, const char *name);
/* In order of id: the first with an id above AFTER, or NULL. */
struct vm *vms_next(struct vms *vms, uint32_t after);
size_t vms_count(const struct vms *vms);

/* CODE 0 or -errno with E. */
typedef void (*vm_done_fn)(void *user, int code, const struct err *e);

/* Creates NAME with defaults. -EINVAL, -EEXIST at once; otherwise DONE. */
int vm_create(struct vms *vms, const char *name, vm_done_fn done, void *user, struct err *e);
/* -EBUSY while it runs or is busy. */
int vm_delete(struct vm *vm, vm_done_fn done, void *user, struct err *e);
/* -EBUSY likewise, -EEXIST, -EINVAL. */
int vm_rename(struct vm *vm, const char *new_name, vm_done_fn done, void *user, struct err *e);

/* Verbs: a table. */
enum vm_verb {
	VM_START,
	VM_STOP,
	VM_KILL,
	VM_RESTART,
	VM_PAUSE,
	VM_RESUME,
	VM_VERB_COUNT,
};
const char *vm_verb_name(enum vm_verb v);
int vm_verb_parse(const char *s, enum vm_verb *ret); /* -EINVAL */
bool vm_verb_legal(const struct vm *vm, enum vm_verb v);
/*
 * Begins V, or joins the operation that is already doing it. -EBUSY in a wrong state or while something else is at work, with
 * E (which is also put into the VM's error). WAITER names this caller until DONE; vm_unwait() takes it away: when the last waiter of an
 * operation goes, the operation is cancelled and rolled back. DONE may be called before the return when nothing is to be done.
 */
struct vm_waiter;
int vm_verb(
	struct vm *vm, enum vm_verb v, vm_done_fn done, void *user, struct vm_waiter **ret, struct err *e);
/* DONE is called with -EINTR, before this returns; the operation undoes itself afterwards. */
void vm_unwait(struct vm_waiter *w);

/*
 * Makes an image NAME of a stopped VM: what it was started from, and what it has changed; its home disk is not of it. -EBUSY: it runs, or something is at
 * work on it; -ENOENT: it was never started; -EEXIST, -EINVAL the name; otherwise DONE, with -EUCLEAN when it was not shut down in order. *RET as
 * objects_verb() has it (vm/objects.h: objects_unwait()).
 */
struct objects_waiter;
int vm_promote(struct vm *vm, const char *name, vm_done_fn done, void *user, struct objects_waiter **ret,
	struct err *e);
bool vm_promote_legal(const struct vm *vm);

/*
 * Stops every VM, in parallel, each within its bounds; DONE once, with the first error if one could not be stopped.
 */
int vms_stop_all(struct vms *vms, vm_done_fn done, void *user, struct err *e);

/* Settings: a table; the tree makes a file of each row. */
struct vm_setting {
	const char *name;
	const char *doc;
	/* Writes the value without a newline. */
	void (*show)(const struct vm *vm, FILE *out);
	/* Checks TEXT for this VM and changes nothing: -EINVAL, -ERANGE, -ENOENT, -EBUSY (frozen while it runs). */
	int (*check)(const struct vm *vm, const char *text, struct err *e);
	/* TEXT passed check; puts it into the row to be stored. -EADDRINUSE of `publish`: nothing was changed. */
	int (*apply)(struct vm *vm, const char *text, struct err *e);
	/* Of a VM that runs, tells those who run it of a change (settings.c); a worker's. NULL: nobody has to be told. */
	int (*tell)(void *change, struct err *e);
};
extern const struct vm_setting vm_settings[];
extern const size_t vm_settings_count;
/* Whether its value may be several lines. */
bool vm_setting_has_lines(const struct vm_setting *s);
/* Checks and sets; in the model at once, DONE when it is stored (or undone again). */
int vm_set(struct vm *vm, const struct vm_setting *s, const char *text, vm_done_fn done, void *user,
	struct err *e);

/* The running guest's agent, or NULL. */
struct agent *vm_agent(struct vm *vm);
/* It runs, and its agent, which is not there now, may come to be: not one that speaks otherwise than we do. */
bool vm_awaits_agent(const struct vm *vm);
/*
 * Who serves the VM's files: an agent that answers AGENT_FS_* (banger/agent_proto.h), whoever is at the other end of its stream. Borrowed until the
 * loop turns again. NULL: nobody now (it is paused, or on its way up or down, or does not run and nobody has asked).
 */
struct agent *vm_files(struct vm *vm);
/* The same, and where it does not run somebody begins to serve them: 0, or -EBUSY in another state; else why that can't be (the VM's error says it in words). */
int vm_files_begin(struct vm *vm, struct agent **ret);
/* It comes up or goes down: somebody else is about to serve them. */
bool vm_is_on_its_way(const struct vm *vm);

/*
 * Use (promise A11): from vm_use() to vm_unuse() autostop leaves the VM alone, whether it runs or not; they are counted. vm_touch(): it was
 * used just now. vm_uses(): how often it is in use, and for how long it has not been, 0 while it is or does not run.
 */
void vm_use(struct vm *vm);
void vm_unuse(struct vm *vm);
void vm_touch(struct vm *vm);
unsigned vm_uses(const struct vm *vm, uint64_t *ret_idle_usec);

/* The VM's log file and console file: open descriptors, borrowed, -1: nothing yet. */
int vm_log_fd(const struct vm *vm);
int vm_console_fd(const struct vm *vm);
/* Bytes for the serial line's input. -ENOTCONN when it does not run, -EAGAIN when it takes no more now. */
int vm_console_write(struct vm *vm, const void *data, size_t n, struct err *e);
/* Adds a line to the VM's log ("2026-11-23T20:15:02Z LINE\n"). */
void vm_log(struct vm *vm, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Sets the VM's error (stored), as rule 4 says. CODE 0 empties it. */
void vm_set_error(struct vm *vm, int code, uint64_t op, const char *text);

/* From here to vm_ports_unwatch(), which are counted, vm_watch.port tells when other ports of the guest listen than before. */
void vm_ports_watch(struct vm *vm);
void vm_ports_unwatch(struct vm *vm);

/* The ports of `publish`, a line each, for `published`: of the host, of the guest, state, connections. */
void vm_published(const struct vm *vm, FILE *out);

/*
 * Counters that the host knows of the VMM, and that the VMM does: flat keyed text, as the guest's are (AGENT_STATS), for `stats`. DONE is called exactly once,
 * within ENGINE_STATS_MSEC or so, perhaps before the return. TEXT is valid during the call.
 */
typedef void (*vm_stats_fn)(void *user, const char *text);
void vm_host_stats(struct vm *vm, vm_stats_fn done, void *user);

#endif
