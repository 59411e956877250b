/* Which of a caller's signals mean that it wants no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "fuse/signals.h"

static bool means_it(const char *own, const char *shared, const char *blocked)
{
	char status[512];

	snprintf(status, sizeof(status),
		"Name:\tsh\nThreads:\t1\nSigPnd:\t%s\nShdPnd:\t%s\nSigBlk:\t%s\nSigIgn:\t0000000000000000\n",
		own, shared, blocked);
	return signals_in_status(status);
}

#define NONE  "0000000000000000"
#define CHILD "0000000000010000"
#define INT   "0000000000000002"
#define BOTH  "0000000000010002"
#define KILL  "0000000000000100"
#define RT    "8000000000000000"

static void by_the_way(void **state)
{
	(void)state;
	assert_false(means_it(NONE, CHILD, NONE));
	assert_false(means_it(CHILD, NONE, NONE));
	/* SIGCONT, SIGURG, SIGWINCH */
	assert_false(means_it(NONE, "0000000008420000", NONE));
	/* What it blocks did not interrupt it. */
	assert_false(means_it(NONE, BOTH, INT));
}

static void in_earnest(void **state)
{
	(void)state;
	assert_true(means_it(NONE, INT, NONE));
	assert_true(means_it(NONE, BOTH, NONE));
	assert_true(means_it(KILL, CHILD, NONE));
	assert_true(means_it(RT, NONE, NONE));
}

static void what_cannot_be_seen(void **state)
{
	(void)state;
	assert_true(means_it(NONE, NONE, NONE));
	assert_true(means_it("1", CHILD, NONE));
	assert_true(means_it("xyz", CHILD, NONE));
	assert_true(signals_in_status(""));
	assert_true(signals_in_status("Name:\tsh\nShdPnd:\t"));
	assert_true(signals_mean_it(0));
	assert_true(signals_mean_it(UINT32_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_the_way),
		cmocka_unit_test(in_earnest),
		cmocka_unit_test(what_cannot_be_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
