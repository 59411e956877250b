/*
 * What the files of exec.h share: a job and its VM. No other file includes this.
 */
#ifndef BANGER_VM_EXEC_JOB_H
#define BANGER_VM_EXEC_JOB_H

#include <dirent.h>
#include <sys/queue.h>

#include "vm/exec.h"
#include "vm/ring.h"

#define EXEC_BUCKETS 64

struct exec_reader {
	LIST_ENTRY(exec_reader) link;
	uint64_t id, offset;
	int stream;
};

struct exec_stream {
	struct ring kept;
	bool ended;
	size_t owed; /* consumed by nobody yet: credit that waits for readers */
};

struct exec_vm {
	LIST_ENTRY(exec_vm) link;
	struct execs *execs;
	uint32_t id;
	uint32_t next; /* number */
	int dir_fd, next_fd;
	struct agent *agent;
	unsigned count;
	TAILQ_HEAD(exec_list, exec) jobs; /* in order of number */
};

struct exec {
	TAILQ_ENTRY(exec) link;
	struct exec_vm *vm;
	unsigned refs;
	bool deleted;
	uint32_t number;
	enum exec_state state;
	char **argv, **env; /* NULL-terminated, one block each */
	char *cwd, *user;
	uint32_t stop_signal; /* of the image's own command: what a stop tells it first; 0: any other job */
	bool fleeting;
	uint64_t handle; /* exec_set_handle() */
	bool tty, want_stdin, keep_stdin, stdin_closed;
	uint32_t wire;     /* what its agent knows it by; 0: it was never started */
	bool close_wanted; /* stdin's end, not yet said */
	uint16_t rows, cols;
	uint32_t exit_kind, exit_code;
	int start_code;
	uint64_t created, started, ended;
	struct agent_job *job; /* while starting or running */
	vm_done_fn done;
	void *done_user;
	struct exec_stream streams[2]; /* stdout, stderr */
	LIST_HEAD(, exec_reader) readers;
};

struct execs {
	struct vms *vms;
	int state_fd;
	const struct exec_watch *watch;
	void *watch_user;
	uint64_t next_reader;
	LIST_HEAD(, exec_vm) vms_by_id[EXEC_BUCKETS];
};

/* exec_folder.c: the VM's folder of jobs is opened, or made (nothing where it is open), which gives V its next number. */
int exec_folder_open(struct exec_vm *v, struct err *e); /* -EUCLEAN: the file of that number holds none */
void exec_folder_close(struct exec_vm *v);
/* A number of an open folder's that no job of the VM has had; -EUSERS: there is none left. */
int exec_folder_number(struct exec_vm *v, uint32_t *ret, struct err *e);
/* The folder of the VM ID as an earlier daemon left it, the caller's; NULL: there is none. */
DIR *exec_folder_find(const struct execs *xs, uint32_t id);
/* The next job in it; false: those were all. */
bool exec_folder_next(DIR *dir, uint32_t *ret_number);
/* With all that is kept there. */
void exec_folder_remove(const struct execs *xs, uint32_t id);

/* exec_keep.c: the file N.job. What can't be written is said in the daemon's own log, and then ends with the daemon. */
void exec_keep(const struct exec *x);
/* Fills in X, whose number and VM are set, from its file. -errno: there is none, or it is none. */
int exec_keep_load(struct exec *x);
void exec_keep_remove(const struct exec *x);

/* exec_run.c: those that run are taken up from the agent, which has just come. */
void exec_take_up(struct exec_vm *v);
/* One that runs, as far as was known, and that there is no more. */
void exec_lost(struct exec *x);

/* A watcher may delete the job: between these it stays readable (deleted tells). */
void exec_hold(struct exec *x);
void exec_release(struct exec *x);

void exec_tell_changed(struct exec *x);
void exec_tell_output(struct exec *x, int stream);

/* Calls the waiter of the start, if there is one. */
void exec_tell_started(struct exec *x, int code, const struct err *e);

/* exec_image.c: the variables of the VM's image, then the job's own; one block, the caller's. NULL: no memory. */
char **exec_full_env(const struct exec *x);

/* A job that runs is a use of its VM (vm_use()): it begins, it ends. */
void exec_use(struct exec *x, bool begins);

/* Gives the guest the credit that no reader holds back. */
void exec_give_credit(struct exec *x, int stream);

#endif
