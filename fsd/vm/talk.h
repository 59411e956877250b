/*
 * A worker that talks with a program in the guest, by plain reads and writes of a socket, to its end. Loop thread, but for what the worker does.
 */
#ifndef BANGER_VM_TALK_H
#define BANGER_VM_TALK_H

#include "job/job.h"
#include "vm/vm.h"

struct talk;

/* On a worker. The program's input ends with the return, and it is killed, if it still runs. -EPIPE: it went away; talk_done_fn is told why. */
typedef int (*talk_work_fn)(void *data, int sock, struct err *e);
/*
 * On the loop, once: CODE of WORK, or -EINTR after talk_cancel(), or what became of the program. EXIT: its exit code, -1: it has none, or was not waited for. A
 * program that ends with another code than 0 makes -EIO of a work that went well, E then its last words.
 */
typedef void (*talk_done_fn)(void *data, int code, int exit, struct err *e);

/* Runs ARGV as root of the running VM, from /. -EBUSY: it doesn't run. */
int talk_begin(struct vm *vm, const char *const *argv, talk_work_fn work, talk_done_fn done, void *data,
	struct talk **ret, struct err *e);
/* The worker's socket ends; DONE comes when the worker has seen it. */
void talk_cancel(struct talk *t);
/* The banger-guest of the guest's agent, once more: ARGV[0] of a program that is its own. */
#define TALK_GUEST "/proc/self/exe"

#endif
