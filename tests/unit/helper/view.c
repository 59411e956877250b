/* The root that QEMU gets: what is in it, what isn't, and what Landlock leaves of it. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../helper/view.h"
#include "banger/cleanup.h"
#include "banger/landlock.h"
#include "lib/need.h"

#define OTHER 1879113729u

static char base[] = "/tmp/banger-view-XXXXXX";

static int fails_with(int r, int code)
{
	return r < 0 && errno == code;
}

/* How many names a folder has. */
static int count(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n - 2;
}

/* In a child with a process namespace of its own. 0, or the number of what wasn't so. */
static int inside(void)
{
	struct instance inst = {.helper_dir = base};
	int program = open("/bin/true", O_PATH | O_CLOEXEC), kernel = open("/etc/passwd", O_RDONLY), secret,
	    pid, status;
	_cleanup_free_ char *through = NULL, *denied = NULL;

	if (view_enter(&inst, false, program) < 0)
		return 1;
	/* All of what the host has besides, and the way back. */
	if (!fails_with(open("/etc/shadow", O_RDONLY), ENOENT) ||
		!fails_with(open("/home", O_RDONLY), ENOENT) || !fails_with(open("/var", O_RDONLY), ENOENT) ||
		!fails_with(open("/tmp", O_RDONLY), ENOENT) ||
		!fails_with(open("/usr/bin/env", O_RDONLY), ENOENT) ||
		!fails_with(open("../../../../etc/passwd", O_RDONLY), ENOENT))
		return 2;
	if (count("/etc") != 1 || count("/usr/bin") != 1 || access("/dev", F_OK) == 0)
		return 3;
	if (!fails_with(open("/new", O_CREAT | O_WRONLY, 0600), EROFS) ||
		!fails_with(open("/usr/lib/new", O_CREAT | O_WRONLY, 0600), EROFS))
		return 4;
	if (!fails_with(open("/proc/sys", O_RDONLY), ENOENT) || access("/proc/1", F_OK) < 0 || getpid() != 1)
		return 5;
	secret = open("/proc/self/status", O_RDONLY);
	if (secret < 0 || close(secret) < 0)
		return 6;
	/* It runs, by the descriptor, with the libraries that are there. */
	pid = fork();
	if (pid == 0) {
		syscall(SYS_execveat, program, "", (char *[]){(char *)"true", NULL}, (char *[]){NULL},
			AT_EMPTY_PATH);
		_exit(errno);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		return 7;
	if (setresuid(OTHER, OTHER, OTHER) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		view_restrict(kernel, -EBADF) < 0)
		return 8;
	if (landlock_version() == 0)
		return 0;
	if (asprintf(&through, "/proc/self/fd/%d", kernel) < 0 ||
		asprintf(&denied, "/proc/self/fd/%d", program) < 0)
		return 9;
	if (open(through, O_RDONLY) < 0 || open("/usr/lib", O_RDONLY | O_DIRECTORY) < 0 ||
		open(denied, O_RDONLY) < 0)
		return 10;
	if (!fails_with(open(through, O_RDWR), EACCES) ||
		!fails_with(open("/proc/self/status", O_RDONLY), EACCES) ||
		!fails_with(open("/proc", O_RDONLY | O_DIRECTORY), EACCES))
		return 11;
	return 0;
}

static void view(void **state)
{
	_cleanup_free_ char *jail = NULL;
	int status;
	pid_t pid;

	(void)state;
	need_root();
	assert_non_null(mkdtemp(base));
	assert_true(asprintf(&jail, "%s/" INSTANCE_JAIL_BASE, base) > 0);
	assert_int_equal(mkdir(jail, 0700), 0);
	pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, 0);
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(inside());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* Nothing of it was ever seen from here. */
	assert_int_equal(rmdir(jail), 0);
	assert_int_equal(rmdir(base), 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(view)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
