/* Whether anybody but init and the agent runs, asked in a process namespace of its own. */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/need.h"
#include "processes.h"

/* Somebody who is there until it is killed, by a name that /proc's lines are hard to read with. */
static pid_t somebody(void)
{
	int ready[2];
	pid_t pid;
	char byte;

	if (pipe(ready) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_NAME, ") Z 0 0 (");
		(void)!write(ready[1], "", 1);
		for (;;)
			pause();
	}
	(void)!read(ready[0], &byte, 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

/* As number 1. 0, or the number of what wasn't so. */
static int inside(void)
{
	siginfo_t si;
	pid_t pid;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount("proc", "/proc", "proc", 0, NULL) < 0)
		return 1;
	if (processes_others_run())
		return 2;
	pid = somebody();
	if (pid < 0 || !processes_others_run())
		return 3;
	/* It has ended, and nobody has asked how yet. */
	if (kill(pid, SIGKILL) < 0 || waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT) < 0 ||
		processes_others_run())
		return 4;
	if (waitpid(pid, NULL, 0) != pid || processes_others_run())
		return 5;
	/* Whoever can't look had better wait. */
	if (mount("none", "/proc", "tmpfs", 0, NULL) < 0 || !processes_others_run())
		return 6;
	/* Nor is one whose lines can't be read taken for nobody. */
	if (mkdir("/proc/7", 0755) < 0 || mkdir("/proc/7/stat", 0755) < 0 || !processes_others_run())
		return 7;
	return 0;
}

static void others(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	need_root();
	pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | SIGCHLD, NULL, NULL, NULL, 0);
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(inside());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(others)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
