/* Requests that are asked again after their answer was lost: done once. */
#include "tests/unit/guest/live.h"

static int make(struct bench *b, uint64_t token)
{
	agent_once(b->agent, token);
	return CALL(b, files_mkdir(b->agent, root, "d", 0755, owner, on_attr, b, NULL));
}

static int drop(struct bench *b, uint64_t token)
{
	agent_once(b->agent, token);
	return CALL(b, files_rmdir(b->agent, root, "d", on_done, b, NULL));
}

static void answers_as_before(void **state)
{
	struct bench *b = *state;
	uint32_t ino;

	need_handles(b);
	assert_int_equal(make(b, 2), 0);
	ino = b->attr.ino;
	assert_int_equal(make(b, 2), 0);
	assert_int_equal(b->attr.ino, ino);
	assert_int_equal(make(b, 4), -EEXIST);
	assert_int_equal(make(b, 4), -EEXIST);
	assert_int_equal(drop(b, 6), 0);
	assert_int_equal(drop(b, 6), 0);
	assert_int_equal(drop(b, 0), -ENOENT);
}

/* Another request that has the number of one before is another request. */
static void is_the_request_not_its_number(void **state)
{
	struct bench *b = *state;

	need_handles(b);
	assert_int_equal(make(b, 2), 0);
	assert_int_equal(drop(b, 2), 0);
	assert_int_equal(CALL(b, files_lookup(b->agent, root, "d", on_attr, b, NULL)), -ENOENT);
}

static void forgets_old_ones(void **state)
{
	struct bench *b = *state;

	need_handles(b);
	assert_int_equal(make(b, 2), 0);
	for (uint64_t i = 0; i < AGENT_ONCE_KEPT; i++)
		assert_int_equal(make(b, 4 + 2 * i), -EEXIST);
	assert_int_equal(make(b, 2), -EEXIST);
}

/* The numbers of a new mount begin where those of the one before did. */
static void a_new_mount_has_its_own(void **state)
{
	struct bench *b = *state;

	need_handles(b);
	assert_int_equal(make(b, 2), 0);
	assert_int_equal(drop(b, 0), 0);
	/* Whether it can be watched is not what matters. */
	CALL(b, files_watch(b->agent, true, NULL, on_done, b, NULL));
	assert_int_equal(make(b, 2), 0);
	assert_int_equal(CALL(b, files_lookup(b->agent, root, "d", on_attr, b, NULL)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(answers_as_before, setup, teardown),
		cmocka_unit_test_setup_teardown(is_the_request_not_its_number, setup, teardown),
		cmocka_unit_test_setup_teardown(forgets_old_ones, setup, teardown),
		cmocka_unit_test_setup_teardown(a_new_mount_has_its_own, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
