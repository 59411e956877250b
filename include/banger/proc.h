/*
 * Running another program to its end: no shell, an argument vector, an empty environment but for what is named.
 */
#ifndef BANGER_PROC_H
#define BANGER_PROC_H

#include <stddef.h>
#include <sys/types.h>

#include "banger/err.h"

struct proc_spec {
	const char *program;     /* what is run when that is not argv[0]: a path; NULL: argv[0] */
	const char *const *argv; /* NULL-terminated; argv[0] is an absolute path, or a name looked up in
				    /usr/sbin:/usr/bin:/sbin:/bin */
	const char *const *env;  /* NULL-terminated "KEY=value", or NULL for an empty environment */
	int stdin_fd;            /* borrowed; negative: /dev/null */
	int stdout_fd; /* borrowed; negative: captured into *ret_output when that is given, else /dev/null */
	int stderr_fd; /* borrowed; negative: its last line goes into the error text */
	int dir_fd;    /* borrowed; working directory, negative: / */
	size_t max_output; /* bytes captured at most; more is -EFBIG. 0: 1 MiB */
	int cancel_fd; /* borrowed; readable means: end the child (SIGTERM, 2 s, SIGKILL) and -EINTR. negative: none */
	unsigned timeout_msec; /* 0: none. When it is over the child is ended and the result is -ETIMEDOUT */
};

/* All descriptors negative. */
#define PROC_SPEC_INIT                                                                                       \
	{                                                                                                    \
		.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .dir_fd = -1, .cancel_fd = -1              \
	}

/*
 * Runs SPEC and waits for it. 0 when it exited with 0; -ENOENT no such program; -EIO any other exit, with the
 * program's name, its exit code or signal and its last line of stderr in E. *RET_OUTPUT (may be NULL) is
 * NUL-terminated and the caller's to free, also when the exit was not 0; *RET_EXIT (may be NULL) is the exit code or
 * 128 + signal. The child has no descriptor but 0-2, and dies with the calling process. Blocks: worker threads only.
 */
int proc_run(const struct proc_spec *spec, char **ret_output, size_t *ret_len, int *ret_exit, struct err *e);

#endif
