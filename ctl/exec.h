/* Jobs in guests, as other commands need them. */
#ifndef BANGER_CTL_EXEC_H
#define BANGER_CTL_EXEC_H

#include "ctl.h"

#define EXEC_ENV_MAX 64

struct exec_request {
	const char *vm;
	const char *setup; /* a verb of the job's ctl that says what it runs; NULL: ARGV does */
	bool tty, want_stdin, detach;
	bool check;        /* say when what was prepared is stale */
	bool ends_with_us; /* it is killed when it doesn't end with our terminal */
	const char *env[EXEC_ENV_MAX + 1], *cwd, *user;
	size_t env_count;
	char *const
		*argv; /* NULL-terminated; NULL: what the VM's image is for, a shell where that is nothing */
};

/*
 * Runs it with our standard streams, signals and terminal. Its exit code, or one of ours, with a message. *RET_BEGAN: it ran. Once in a process: signals stay the
 * job's.
 */
int exec_run(struct ctl *c, const struct exec_request *q, bool *ret_began);

/* Takes up job NUMBER of VM again: its output from the first byte kept, to its end. Its exit code. Likewise once. */
int exec_attach(struct ctl *c, const char *vm, const char *number, bool want_stdin);

#endif
