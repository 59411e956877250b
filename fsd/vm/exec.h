/*
 * Jobs in guests (exec/ in the tree): made, set up, started, watched. Loop thread.
 *
 * A job is numbered per VM, from 1, never again while the VM lives (the number is in the store of the VM's directory). What it writes
 * to stdout and stderr is kept in files of the VM's directory, rings of EXEC_KEEP_MAX bytes each at most (the oldest are overwritten, and
 * readers are told how many they missed), and given to live readers, who set the pace: a slow reader slows the job, no reader does not.
 * What a job is and how it ended is kept beside that (N.job), so that the next daemon has the same jobs, and takes those up that run: their
 * output goes on at the byte where it was left. Input that was taken for a job and not yet given to it goes with the daemon.
 */
#ifndef BANGER_VM_EXEC_H
#define BANGER_VM_EXEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "banger/cleanup.h"
#include "banger/err.h"
#include "vm/vm.h"

#define EXEC_KEEP_MAX (4u * 1024 * 1024)
#define EXEC_AHEAD    (1024u * 1024)
#define EXEC_JOBS_MAX 256 /* of one VM, ended ones included; -EUSERS beyond */

#define EXEC_NUMBER_MAX ((1u << 22) - 1) /* what a node number has room for */

enum exec_state {
	EXEC_NEW,
	EXEC_STARTING,
	EXEC_RUNNING,
	EXEC_EXITED,
	EXEC_FAILED, /* could not be started */
};

struct exec;
struct exec_view {
	uint32_t number;
	uint32_t vm;
	enum exec_state state;
	const char *const *argv; /* NULL-terminated */
	const char *const *env;
	const char *cwd, *user;
	bool tty, keep_stdin;
	uint16_t rows, cols;
	uint32_t exit_kind, exit_code; /* as AGENT_EXIT; 128 + signal is the reader's */
	int start_code;                /* -errno of EXEC_FAILED */
	bool fleeting;                 /* nobody wants to read of it once it has ended */
	uint64_t created, started, ended;
};

struct exec_watch {
	void (*changed)(void *user, struct exec *x);            /* state or settings */
	void (*output)(void *user, struct exec *x, int stream); /* more was kept, or end of file */
	void (*writable)(void *user, struct exec *x);           /* stdin takes more */
	void (*gone)(void *user, uint32_t vm, uint32_t number);
};

/* One per daemon. */
struct execs;
/* Of the model (vm/vm.c keeps what execs_new() gave it). */
struct execs *execs_of(struct vms *vms);
struct execs *vm_execs(struct vm *vm);
/* What VM ID's image says of itself; the caller's. NULL: it says nothing, or there is none. */
struct image_config;
struct image_config *vms_image_config(struct vms *vms, uint32_t id);

/* STATE_FD: PLACE_STATE, borrowed for good. Files are made below vms/ID/exec, the folders too where they are missing. */
int execs_new(struct vms *vms, int state_fd, struct execs **ret, struct err *e);
/* The jobs that an earlier daemon left of the VM ID. Before the first of them is asked for. */
void execs_load(struct execs *xs, uint32_t id);
/* Lets go of the jobs, which run on. Nobody is told. */
struct execs *execs_free(struct execs *xs);
DEFINE_CLEANUP(struct execs *, execs_free)

/*
 * The model's calls: the agent of VM is there, or (NULL) is about to go or has gone; agent_free() ends what runs as lost, before
 * or after this. The VM ID has been deleted: its jobs are forgotten, vms/ID/exec is removed.
 */
void execs_agent(struct execs *xs, struct vm *vm, struct agent *agent);
void execs_vm_gone(struct execs *xs, uint32_t id);
/* The VM ID does not run: its jobs that nobody has taken up yet never will be. XS may be NULL. */
void execs_down(struct execs *xs, uint32_t id);

/* One watcher; it may call anything here, exec_delete() of the job it is told about included. */
void execs_watch(struct execs *xs, const struct exec_watch *watch, void *user);

int exec_new(struct vm *vm, struct exec **ret, struct err *e); /* -EUSERS; -ENOSPC, ...: its folder */
struct exec *exec_get(struct vms *vms, uint32_t vm, uint32_t number);
struct exec *exec_next(struct vm *vm, uint32_t after);
/* A job that one file handle has made, by a number of it that the next daemon knows too (not 0). NULL: there is none. */
void exec_set_handle(struct exec *x, uint64_t handle);
struct exec *exec_of_handle(struct vm *vm, uint64_t handle);
void exec_view(const struct exec *x, struct exec_view *ret);

/*
 * Before the start only (-EBUSY). Arguments (variables, "K=V") one a line, an empty line is an empty argument; or, when there is a
 * NUL among the N bytes of TEXT, each ended by a NUL, so that they may hold newlines. -E2BIG, -EINVAL.
 */
int exec_set_cmd(struct exec *x, const char *text, size_t n, struct err *e);
int exec_set_env(struct exec *x, const char *text, size_t n, struct err *e);
/* As they can be set again: lines, or NUL-ended where a newline is among them. */
void exec_show_list(const char *const *list, FILE *out);
/* One line; "": the default. */
int exec_set_cwd(struct exec *x, const char *text, struct err *e);
int exec_set_user(struct exec *x, const char *text, struct err *e);
/*
 * Sets up command, folder and user as the VM's image has them: its entrypoint and cmd. -EINVAL: it is no OCI image, or says nothing of that. Jobs have the image's
 * variables in any case, before their own.
 */
int exec_set_main(struct exec *x, struct err *e);
/* Sets it up as the guest's ssh server (vm/ssh.h has seen to it that there is one) for one connection, its standard streams. */
int exec_set_ssh(struct exec *x, struct err *e);
int exec_set_tty(struct exec *x, bool on, struct err *e);
/* Its input ends when somebody says so, not with the last who writes to it. */
int exec_set_keep_stdin(struct exec *x, bool on, struct err *e);

/*
 * DONE (may be NULL) once: when it runs (or has run), or why not; not called when exec_start() itself fails.
 * -EINVAL no command, -ENOTCONN the VM does not run, -EBUSY it is paused, or the job was started. Deleting the job makes it -ECANCELED, exec_unwait() -EINTR (the start goes on).
 */
int exec_start(struct exec *x, bool want_stdin, vm_done_fn done, void *user, struct err *e);
void exec_unwait(struct exec *x);
/* -ESRCH: it does not run; -EBUSY: its VM is paused; -EAGAIN: its agent is not found again yet. */
int exec_signal(struct exec *x, uint32_t sig, struct err *e);
/* "15", "TERM", "SIGTERM", "SIGRTMIN+3": Linux's numbers on x86-64 and arm64. -EINVAL. */
int exec_signal_parse(const char *s, uint32_t *ret);
/* Also before the start. */
int exec_winsize(struct exec *x, uint16_t rows, uint16_t cols, struct err *e);
/* Stdin: returns bytes taken (may be fewer; 0: none now, wait for `writable`), or -errno (-EPIPE: ended or closed). */
ssize_t exec_stdin(struct exec *x, const void *data, size_t n, struct err *e);
int exec_stdin_close(struct exec *x);

/*
 * Kept output: bytes from OFFSET of all that the stream ever wrote. Returns bytes copied; 0: nothing there yet (*RET_EOF false) or
 * the end; *OFFSET is moved forward over dropped bytes first (*RET_LOST: how many).
 */
ssize_t exec_read(struct exec *x, int stream, uint64_t *offset, void *buf, size_t n, bool *ret_eof,
	uint64_t *ret_lost, struct err *e);
/* Bytes written in all; the first byte that is still kept. */
uint64_t exec_size(const struct exec *x, int stream);
uint64_t exec_first(const struct exec *x, int stream);
/*
 * Where a live reader stands: output goes on only while the slowest reader is within EXEC_AHEAD. READER names it. It begins at the
 * first byte kept. -ENOMEM.
 */
int exec_reader_add(struct exec *x, int stream, uint64_t *ret_reader);
void exec_reader_at(struct exec *x, uint64_t reader, uint64_t offset);
void exec_reader_remove(struct exec *x, uint64_t reader);

/* Ends the process (SIGKILL to its group) and forgets the job and its output. */
int exec_delete(struct exec *x, struct err *e);

#endif
