/* Which names of a guest's files the kernel keeps, and when it has to forget them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "fuse/guest.h"

static const struct file_ref workspace = {0}, git = {100, 3}, src = {200, 7}, disk = {2, 1};
static uint64_t now = 1;

#define A agent_name_hash("a")
#define B agent_name_hash("b")

uint64_t io_now_usec(void)
{
	return now;
}

static int setup(void **state)
{
	*state = told_new();
	if (!*state)
		return -1;
	told_root(*state, (struct file_ref){12, 5}, told_roots(*state));
	return 0;
}

static int teardown(void **state)
{
	*state = told_free(*state);
	return 0;
}

static void only_what_it_was_told(void **state)
{
	struct told *t = *state;

	assert_false(told_changed(t, src, A));
	assert_true(told_may(t, src, A));
	assert_false(told_changed(t, git, A));
	/* Another of that number is another. */
	assert_false(told_changed(t, (struct file_ref){src.ino, src.tag + 1}, A));
	assert_false(told_changed(t, src, B));
	assert_true(told_changed(t, src, A));
	/* Until it has forgotten, it may have one. */
	assert_true(told_changed(t, src, A));
	told_nothing(t);
	assert_false(told_changed(t, src, A));
}

static void none_that_changes_often(void **state)
{
	struct told *t = *state;

	assert_true(told_may(t, git, A));
	assert_true(told_changed(t, git, A));
	told_nothing(t);
	assert_false(told_may(t, git, A));
	assert_true(told_may(t, src, A));
	assert_true(told_may(t, git, B));
	assert_false(told_changed(t, git, A));
	/* For ten minutes from the last change. */
	now += 599 * 1000000ull;
	assert_false(told_changed(t, git, A));
	now += 599 * 1000000ull;
	assert_false(told_may(t, git, A));
	now += 2 * 1000000ull;
	assert_true(told_may(t, git, A));
	assert_true(told_changed(t, git, A));
	told_nothing(t);
	/* One that was moved there is kept all the same. */
	assert_false(told_may(t, git, A));
	told_name(t, git, A);
	assert_true(told_changed(t, git, A));
}

/* More names than there is room for: any may be one of them. */
static void more_than_it_holds(void **state)
{
	struct told *t = *state;
	uint64_t i;

	for (i = 1; i <= 200000; i++)
		assert_true(told_may(t, src, i * 0x9e3779b97f4a7c15));
	for (i = 1; i <= 200000; i++)
		assert_true(told_changed(t, src, i * 0x9e3779b97f4a7c15));
}

static void the_workspace_is_a_folder(void **state)
{
	struct told *t = *state;
	uint64_t roots;

	assert_true(told_may(t, workspace, A));
	assert_false(told_changed(t, src, A));
	assert_true(told_changed(t, (struct file_ref){12, 5}, A));
	told_nothing(t);
	assert_false(told_changed(t, disk, A));
	assert_true(told_knows_root(t));
	/* It may be another one now: any is. */
	assert_true(told_changed(t, disk, agent_name_hash("workspace")));
	assert_false(told_knows_root(t));
	assert_true(told_changed(t, src, A));
	/* What was asked before that says nothing of it. */
	roots = told_roots(t);
	assert_true(told_changed(t, disk, agent_name_hash("workspace")));
	told_root(t, (struct file_ref){12, 5}, roots);
	assert_false(told_knows_root(t));
	told_root(t, (struct file_ref){13, 5}, told_roots(t));
	assert_true(told_knows_root(t));
	assert_false(told_changed(t, src, A));
	now += 601 * 1000000ull;
	assert_true(told_may(t, workspace, A));
	assert_false(told_changed(t, (struct file_ref){12, 5}, A));
	assert_true(told_changed(t, (struct file_ref){13, 5}, A));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(only_what_it_was_told, setup, teardown),
		cmocka_unit_test_setup_teardown(none_that_changes_often, setup, teardown),
		cmocka_unit_test_setup_teardown(more_than_it_holds, setup, teardown),
		cmocka_unit_test_setup_teardown(the_workspace_is_a_folder, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
