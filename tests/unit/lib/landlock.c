/* What rules leave, and that all else is gone. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/landlock.h"
#include "lib/need.h"

static char dir[] = "/tmp/banger-landlock-XXXXXX";

static int setup(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(mkdir("in", 0700) | mkdir("out", 0700), 0);
	for (int i = 0; i < 3; i++) {
		const char *const names[] = {"in/file", "out/file", "out/named"};

		assert_int_equal(close(open(names[i], O_CREAT | O_WRONLY, 0600)), 0);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return unlink("in/file") | unlink("out/file") | unlink("out/named") | rmdir("in") | rmdir("out") |
	       rmdir(dir);
}

static int denied(int r)
{
	return r < 0 && errno == EACCES;
}

/* In a child: 0, or the number of what wasn't so. */
static int inside(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	const struct landlock_rule rules[] = {
		{open("in", O_PATH), LANDLOCK_READ | LANDLOCK_READ_DIR},
		{open("out/named", O_PATH), LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_IOCTL},
		{-EBADF, LANDLOCK_READ},
		/* It can't be in a rule, and isn't held back. */
		{(int)syscall(SYS_memfd_create, "banger-test", 0), LANDLOCK_READ},
	};
	_cleanup_free_ char *memory = NULL;

	if (asprintf(&memory, "/proc/self/fd/%d", rules[3].fd) < 0 ||
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		landlock_enter(rules, ELEMENTSOF(rules), NULL) < 0)
		return 1;
	if (open("in/file", O_RDONLY) < 0 || open("in", O_RDONLY | O_DIRECTORY) < 0)
		return 2;
	if (!denied(open("in/file", O_WRONLY)) || !denied(open("in/new", O_CREAT | O_WRONLY, 0600)) ||
		!denied(unlink("in/file")))
		return 3;
	if (open("out/named", O_RDWR) < 0)
		return 4;
	if (!denied(open("out/file", O_RDONLY)) || !denied(open("out", O_RDONLY | O_DIRECTORY)))
		return 5;
	if (open(memory, O_RDONLY) < 0)
		return 6;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (landlock_version() >= 4 &&
		!denied(connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&to, sizeof(to))))
		return 7;
	return 0;
}

static void rules_are_all(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	need("landlock", landlock_version() != 0, "this kernel has no Landlock");
	pid = fork();
	if (pid == 0)
		_exit(inside());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* What can't be entered is an error, never half a wall. */
static void refused(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	need("landlock", landlock_version() != 0, "this kernel has no Landlock");
	pid = fork();
	if (pid == 0)
		/* A right of folders alone, to a file. */
		_exit(landlock_enter(&(struct landlock_rule){open("out/file", O_PATH), LANDLOCK_READ_DIR}, 1,
			      NULL) == -EINVAL
				? 0
				: 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(rules_are_all), cmocka_unit_test(refused)};

	return cmocka_run_group_tests(tests, setup, teardown);
}
