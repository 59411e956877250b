/*
 * A step list with undo (promise A3). A start is a table of these.
 *
 * steps_run() runs each DO in order on the calling worker. When one fails it is itself undone (it may have half acquired),
 * then every earlier one in reverse; undo errors are joined to the first error and never hide it. A cancelled operation
 * fails before the next step with -EINTR.
 */
#ifndef BANGER_STEPS_H
#define BANGER_STEPS_H

#include <stddef.h>

#include "banger/err.h"
#include "job/op.h"

struct step {
	const char *name; /* shown as the operation's stage, and in the error: "STEP: what happened" */
	int (*run)(void *ctx, struct err *e);
	int (*undo)(void *ctx,
		struct err *e); /* NULL: nothing to undo; must be right after a half-done or never-done run */
};

/* OP may be NULL. Returns 0 or the first failing step's code, E then "STEP: ...". */
int steps_run(const struct step *steps, size_t n, void *ctx, struct op *op, struct err *e);
/* Undoes the first N of STEPS, in reverse: what steps_run() has done, when there is no use for it after all. Errors are joined to E, which has the reason. */
void steps_undo(const struct step *steps, size_t n, void *ctx, struct err *e);
/* Runs every step whatever fails (a stop, a cleaning up: promise A10); errors are joined; returns the first code. */
int steps_run_all(const struct step *steps, size_t n, void *ctx, struct op *op, struct err *e);

#endif
