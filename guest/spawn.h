/*
 * Starting a job's program: an EXEC frame taken apart, a user looked up, a process made.
 */
#ifndef BANGER_GUEST_SPAWN_H
#define BANGER_GUEST_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct spawn {
	bool tty, want_stdin;
	bool by_mise; /* by mise, where there is one */
	uint16_t rows, cols;
	int stop_signal;    /* 0: none */
	char **argv, **env; /* NULL-terminated; point into TEXT */
	const char *cwd, *user;
	char *text;
};

/* A frame's payload, checked. -EINVAL, -ENOMEM. *RET is spawn_clear()ed also after a failure. */
int spawn_parse(const uint8_t *payload, size_t n, struct spawn *ret);
void spawn_clear(struct spawn *s);

struct spawned {
	pid_t pid; /* leads a session and a process group of its own */
	bool tty;
	int in;     /* non-blocking; -EBADF: /dev/null; with a tty: the master, the same as out[0] */
	int out[2]; /* non-blocking; with a tty: the master, -EBADF */
};
/* Runs it; comes back when the program has begun, or with -errno of what failed (execve's, -ENOENT of the user ...). */
int spawn_run(const struct spawn *s, struct spawned *ret);

#endif
