/* Steps: each one failing in turn, every earlier one undone in reverse exactly once, errors joined and never hidden. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "job/steps.h"

#define STEPS 4

struct trace {
	int fail_at;      /* step that fails; -1: none */
	int fail_undo;    /* undo that fails; -1: none */
	int cancel_after; /* step after which the operation is cancelled; -1: never */
	bool mute;        /* fail without a text */
	struct op *op;
	char did[64];
};

static void note(struct trace *t, char what, int i)
{
	size_t n = strlen(t->did);

	snprintf(t->did + n, sizeof(t->did) - n, "%c%d", what, i);
}

static int run(struct trace *t, int i, struct err *e)
{
	note(t, '+', i);
	if (t->cancel_after == i)
		op_cancel(t->op);
	if (t->fail_at != i)
		return 0;
	return t->mute ? -EIO : err_set(e, -ENOSPC, "it is full");
}

static int undo(struct trace *t, int i, struct err *e)
{
	note(t, '-', i);
	return t->fail_undo == i ? err_set(e, -EBUSY, "it is held") : 0;
}

#define STEP(i)                                                                                              \
	static int run##i(void *ctx, struct err *e)                                                          \
	{                                                                                                    \
		return run(ctx, i, e);                                                                       \
	}                                                                                                    \
	static int undo##i(void *ctx, struct err *e)                                                         \
	{                                                                                                    \
		return undo(ctx, i, e);                                                                      \
	}
STEP(0)
STEP(1)
STEP(2)
STEP(3)

static const struct step steps[STEPS] = {
	{"zero", run0, undo0},
	{"one", run1, undo1},
	{"two", run2, undo2},
	{"three", run3, undo3},
};

static void all_succeed(void **state)
{
	struct trace t = {.fail_at = -1, .fail_undo = -1, .cancel_after = -1};
	struct err e = {};

	(void)state;
	assert_int_equal(steps_run(steps, STEPS, &t, NULL, &e), 0);
	assert_string_equal(t.did, "+0+1+2+3");
	assert_int_equal(e.code, 0);
}

static void each_fails_in_turn(void **state)
{
	static const char *const did[STEPS] = {"+0-0", "+0+1-1-0", "+0+1+2-2-1-0", "+0+1+2+3-3-2-1-0"};
	static const char *const text[STEPS] = {
		"zero: it is full", "one: it is full", "two: it is full", "three: it is full"};

	(void)state;
	for (int i = 0; i < STEPS; i++) {
		struct trace t = {.fail_at = i, .fail_undo = -1, .cancel_after = -1};
		_cleanup_err_ struct err e = {};

		assert_int_equal(steps_run(steps, STEPS, &t, NULL, &e), -ENOSPC);
		assert_string_equal(t.did, did[i]);
		assert_string_equal(err_text(&e), text[i]);
		assert_int_equal(e.code, -ENOSPC);
	}
}

static void undo_error_joins(void **state)
{
	struct trace t = {.fail_at = 2, .fail_undo = 1, .cancel_after = -1};
	_cleanup_err_ struct err e = {};

	(void)state;
	assert_int_equal(steps_run(steps, STEPS, &t, NULL, &e), -ENOSPC);
	assert_string_equal(t.did, "+0+1+2-2-1-0");
	assert_string_equal(err_text(&e), "two: it is full; undoing one: it is held");
	assert_int_equal(e.code, -ENOSPC);
}

static void undone_afterwards(void **state)
{
	struct trace t = {.fail_at = -1, .fail_undo = 2, .cancel_after = -1};
	_cleanup_err_ struct err e = {};

	(void)state;
	assert_int_equal(steps_run(steps, STEPS, &t, NULL, &e), 0);
	err_set(&e, -EIO, "nobody wants it");
	steps_undo(steps, STEPS, &t, &e);
	assert_string_equal(t.did, "+0+1+2+3-3-2-1-0");
	assert_string_equal(err_text(&e), "nobody wants it; undoing two: it is held");
}

static void silent_failure_has_a_text(void **state)
{
	struct trace t = {.fail_at = 0, .fail_undo = -1, .cancel_after = -1, .mute = true};
	_cleanup_err_ struct err e = {};

	(void)state;
	assert_int_equal(steps_run(steps, STEPS, &t, NULL, &e), -EIO);
	assert_int_equal(e.code, -EIO);
	assert_string_equal(err_text(&e), "zero: failed: Input/output error");
	assert_int_equal(steps_run(steps, STEPS, &t, NULL, NULL), -EIO);
}

static void cancelled_before_the_next(void **state)
{
	struct ops *ops;
	struct op *op;
	struct trace t = {.fail_at = -1, .fail_undo = -1, .cancel_after = 1};
	_cleanup_err_ struct err e = {};

	(void)state;
	assert_int_equal(ops_new(1, &ops, NULL), 0);
	assert_int_equal(op_begin(ops, "start", "vms/a", &op, NULL), 0);
	t.op = op;
	assert_int_equal(steps_run(steps, STEPS, &t, op, &e), -EINTR);
	assert_string_equal(t.did, "+0+1-1-0");
	assert_string_equal(err_text(&e), "two: cancelled");
	op_end(op);
	op_unref(op);
	ops_free(ops);
}

static void run_all_goes_on(void **state)
{
	struct trace t = {.fail_at = 1, .fail_undo = -1, .cancel_after = -1};
	_cleanup_err_ struct err e = {};

	(void)state;
	assert_int_equal(steps_run_all(steps, STEPS, &t, NULL, &e), -ENOSPC);
	assert_string_equal(t.did, "+0+1+2+3");
	assert_string_equal(err_text(&e), "one: it is full");
}

static void run_all_joins(void **state)
{
	static const struct step both[] = {{"one", run1, NULL}, {"zero", run0, NULL}, {"one", run1, NULL}};
	struct trace t = {.fail_at = 1, .fail_undo = -1, .cancel_after = -1};
	_cleanup_err_ struct err e = {};

	(void)state;
	assert_int_equal(steps_run_all(both, 3, &t, NULL, &e), -ENOSPC);
	assert_string_equal(err_text(&e), "one: it is full; one: it is full");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_succeed),
		cmocka_unit_test(each_fails_in_turn),
		cmocka_unit_test(undo_error_joins),
		cmocka_unit_test(undone_afterwards),
		cmocka_unit_test(silent_failure_has_a_text),
		cmocka_unit_test(cancelled_before_the_next),
		cmocka_unit_test(run_all_goes_on),
		cmocka_unit_test(run_all_joins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
