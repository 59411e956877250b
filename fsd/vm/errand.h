/*
 * A worker that talks with a program of banger-guest's in a VM's guest, over a socket that is the program's standard input and output. Loop thread, but
 * for the worker.
 */
#ifndef BANGER_VM_ERRAND_H
#define BANGER_VM_ERRAND_H

#include "vm/vm.h"

struct errand;
struct errand_spec {
	const char *what;        /* for messages */
	const char *const *argv; /* NULL-terminated; argv[0] is ERRAND_SELF */
	/* On a worker. SOCK is closed afterwards, which is the program's end of input. */
	int (*work)(void *data, int sock, struct err *e);
	/* On the loop, once, when work has returned. VM: NULL when it has gone meanwhile. */
	void (*done)(void *data, struct vm *vm, int code, const struct err *e);
	void *data;
};
#define ERRAND_SELF "/proc/self/exe"

/* -EBUSY: there is no agent. DATA stays the caller's on failure. *RET is good until DONE. */
int errand_begin(struct vm *vm, const struct errand_spec *spec, struct errand **ret, struct err *e);
/* The socket ends, and with it whatever the worker waits for: DONE comes with an error. */
void errand_cancel(struct errand *x);

#endif
