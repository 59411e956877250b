/* Operations: their list, their announcements, cancellation and references. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "job/op.h"

struct seen {
	char text[128];
};

static void changed(void *user, const struct op_view *op, bool appeared)
{
	struct seen *s = user;
	size_t n = strlen(s->text);

	snprintf(s->text + n, sizeof(s->text) - n, "%s%s %s;", appeared ? "+" : "-", op->kind, op->target);
}

static void begin_and_end(void **state)
{
	struct ops *ops;
	struct op *a, *b;
	struct op_view v;
	struct seen seen = {};

	(void)state;
	assert_int_equal(ops_new(100, &ops, NULL), 0);
	ops_watch(ops, changed, &seen);
	assert_int_equal(op_begin(ops, "start", "vms/a", &a, NULL), 0);
	assert_int_equal(op_begin(ops, "stop", "vms/b", &b, NULL), 0);
	assert_int_equal(op_id(a), 100);
	assert_int_equal(op_id(b), 101);
	assert_true(ops_next(ops, 0, &v));
	assert_int_equal(v.id, 100);
	assert_true(ops_next(ops, 100, &v));
	assert_int_equal(v.id, 101);
	assert_false(ops_next(ops, 101, &v));
	op_stage(a, "disks");
	op_progress(a, 3, 9);
	assert_true(ops_get(ops, 100, &v));
	assert_string_equal(v.stage, "disks");
	assert_int_equal(v.done, 3);
	assert_int_equal(v.total, 9);
	op_stage(a, "launch");
	assert_true(ops_get(ops, 100, &v));
	assert_int_equal(v.total, 0);
	op_end(a);
	op_end(a);
	assert_false(ops_get(ops, 100, &v));
	assert_string_equal(seen.text, "+start vms/a;+stop vms/b;-start vms/a;");
	op_unref(a);
	ops_free(ops);
	/* Ended by ops_free(); the reference is still good. */
	op_stage(b, "late");
	op_unref(b);
}

static void on_cancel(void *user)
{
	++*(int *)user;
}

static void cancel_is_seen(void **state)
{
	struct ops *ops;
	struct op *op;
	struct op_view v;
	struct pollfd p;
	struct err e = {};
	int told = 0;

	(void)state;
	assert_int_equal(ops_new(1, &ops, NULL), 0);
	assert_int_equal(op_begin(ops, "pull", "images/x", &op, NULL), 0);
	p = (struct pollfd){.fd = op_cancel_fd(op), .events = POLLIN};
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(op_check(op, &e), 0);
	assert_int_equal(ops_cancel(ops, 7), -ENOENT);
	assert_int_equal(ops_cancel(ops, 1), 0);
	assert_int_equal(told, 0);
	op_on_cancel(op, on_cancel, &told);
	assert_int_equal(ops_cancel(ops, 1), 0);
	assert_int_equal(told, 1);
	assert_true(ops_get(ops, 1, &v));
	assert_string_equal(v.error, "");
	op_error(op, "first");
	op_error(op, "second");
	assert_true(ops_get(ops, 1, &v));
	assert_string_equal(v.error, "first");
	op_cancel(op);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(op_check(op, &e), -EINTR);
	assert_string_equal(err_text(&e), "cancelled");
	err_clear(&e);
	op_end(op);
	op_unref(op);
	ops_free(ops);
}

static void nobody_looks(void **state)
{
	(void)state;
	op_stage(NULL, "x");
	op_progress(NULL, 1, 2);
	op_cancel(NULL);
	op_end(NULL);
	assert_null(op_unref(NULL));
	assert_false(op_cancelled(NULL));
	assert_int_equal(op_check(NULL, NULL), 0);
	assert_int_equal(op_cancel_fd(NULL), -1);
	assert_int_equal(op_id(NULL), 0);
}

static void *report(void *arg)
{
	for (unsigned i = 0; i < 20000; i++) {
		op_stage(arg, i & 1 ? "odd" : "even");
		op_progress(arg, i, i);
	}
	op_unref(arg);
	return NULL;
}

static void progress_of_another_thread(void **state)
{
	struct ops *ops;
	struct op *op;
	struct op_view v;
	pthread_t t;

	(void)state;
	assert_int_equal(ops_new(1, &ops, NULL), 0);
	assert_int_equal(op_begin(ops, "pull", "images/x", &op, NULL), 0);
	assert_int_equal(pthread_create(&t, NULL, report, op_ref(op)), 0);
	for (unsigned i = 0; i < 20000; i++) {
		assert_true(ops_get(ops, 1, &v));
		assert_int_equal(v.done, v.total);
	}
	pthread_join(t, NULL);
	op_end(op);
	op_unref(op);
	ops_free(ops);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(begin_and_end),
		cmocka_unit_test(cancel_is_seen),
		cmocka_unit_test(nobody_looks),
		cmocka_unit_test(progress_of_another_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
