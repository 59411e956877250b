/*
 * Operations: what is at work, where it stands, and how to stop it. One `struct op` is one row of ops/ in the tree.
 *
 * Made and ended on the loop thread; stage, progress and the question whether it was cancelled may be called from the
 * worker that does the work. Reference-counted: whoever keeps a pointer holds a reference.
 */
#ifndef BANGER_OP_H
#define BANGER_OP_H

#include <stdbool.h>
#include <stdint.h>

#include "banger/err.h"
#include "banger/cleanup.h"

struct ops; /* all that run; loop thread */
struct op;

struct op_view {
	uint64_t id;          /* never used again, over restarts too */
	const char *kind;     /* "start", "stop", "import", "pull" ... */
	const char *target;   /* "vms/box1", "images/debian" */
	const char *stage;    /* name of the step at work */
	const char *error;    /* why it is being undone; "" as long as all goes well */
	uint64_t done, total; /* progress in the stage; total 0: not known */
	uint64_t started;     /* CLOCK_REALTIME usec */
	bool cancelled;
};

/* Called on the loop thread when the set of operations changed (APPEARED true: it began; false: it ended). */
typedef void (*ops_changed_fn)(void *user, const struct op_view *op, bool appeared);

/*
 * NEXT_ID: first id to give out, above every id that an earlier daemon can have given (store_reserve_ops()).
 */
int ops_new(uint64_t next_id, struct ops **ret, struct err *e);
struct ops *ops_free(struct ops *ops);
void ops_watch(struct ops *ops, ops_changed_fn fn, void *user);

/* Iterates in order of id: the first one with an id above AFTER. False: none. The view is valid until the op ends. */
bool ops_next(const struct ops *ops, uint64_t after, struct op_view *ret);
bool ops_get(const struct ops *ops, uint64_t id, struct op_view *ret);
/* Asks operation ID to stop, and tells op_on_cancel()'s function. 0 or -ENOENT. Returns at once; the operation ends with -EINTR when it has undone its work. */
int ops_cancel(struct ops *ops, uint64_t id);

/*
 * Parts of an operation that go side by side (the layers of a pull), as it was told of them; in order. ELAPSED: usec since the part came to
 * its stage, in which it has gone from FROM to DONE. Loop thread; FN is called with a lock held.
 */
struct op_part_view {
	const char *name, *stage;
	uint64_t done, total, from, elapsed;
};
void ops_parts(const struct ops *ops, uint64_t id, void (*fn)(void *user, const struct op_part_view *part),
	void *user);

/* Begins an operation; *RET holds one reference. Ended by op_end() on the loop thread, which takes it out of OPS. */
int op_begin(struct ops *ops, const char *kind, const char *target, struct op **ret, struct err *e);
void op_end(struct op *op);
/*
 * FN(USER) is called on the loop thread when ops_cancel() asks OP to stop: for an operation that waits without a worker that
 * would look. It may end OP. Not called after op_end(). Loop thread.
 */
void op_on_cancel(struct op *op, void (*fn)(void *user), void *user);
struct op *op_ref(struct op *op);
struct op *op_unref(struct op *op);
DEFINE_CLEANUP(struct op *, op_unref)

uint64_t op_id(const struct op *op);

/* Any thread; NULL is allowed in all of these and means: nobody looks, nothing cancels. STAGE must be a constant string. */
void op_stage(struct op *op, const char *stage);
/* Why what was done is being undone; the first reason stays. TEXT is copied. */
void op_error(struct op *op, const char *text);
void op_progress(struct op *op, uint64_t done, uint64_t total);
/*
 * Part I, below OP_PARTS_MAX (more are not shown), called NAME (copied at first sight), is at STAGE (a constant string), DONE of TOTAL. The
 * first DONE of a stage may be more than 0: what was there before counts for no speed.
 */
#define OP_PARTS_MAX 500
void op_part(struct op *op, size_t i, const char *name, const char *stage, uint64_t done, uint64_t total);
bool op_cancelled(const struct op *op);
/* 0, or -EINTR with the text "cancelled" in E when OP was cancelled. */
int op_check(const struct op *op, struct err *e);
/* A descriptor that is readable once OP was cancelled (an eventfd; borrowed; -1 for NULL): for poll and proc_run. */
int op_cancel_fd(const struct op *op);
/* Cancels; any thread. */
void op_cancel(struct op *op);

#endif
