/* What tells one process from another of its number. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../helper/process.h"

/* A name may hold what ends it. */
static void reads_a_process(void **state)
{
	struct process_stat mine, child;
	pid_t pid;

	(void)state;
	assert_int_equal(prctl(PR_SET_NAME, "a) S 1 ("), 0);
	assert_int_equal(process_read(getpid(), &mine), 0);
	assert_int_equal(mine.parent, getppid());
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		for (;;)
			pause();
	assert_int_equal(process_read(pid, &child), 0);
	assert_int_equal(child.parent, getpid());
	assert_true(child.starttime >= mine.starttime);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(process_read(pid, &child), -ESRCH);
}

static void knows_no_such_process(void **state)
{
	struct process_stat p;

	(void)state;
	assert_int_equal(process_read(0, &p), -ESRCH);
	assert_int_equal(process_read(-1, &p), -ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_process),
		cmocka_unit_test(knows_no_such_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
