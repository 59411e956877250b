/* What LAUNCH is given, and what is run: each way of being wrong is refused, and what is right is not. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../../helper/check.h"
#include "banger/cleanup.h"
#include "banger/program.h"
#include "lib/need.h"

#define OWNER 65534

static char base[] = "/tmp/banger-check-unit-XXXXXX";
static int good[LAUNCH_FD_COUNT];

static int new_file(uid_t owner, int flags)
{
	_cleanup_free_ char *path = NULL;
	int fd;

	assert_true(asprintf(&path, "%s/file", base) > 0);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fchown(fd, owner, owner), 0);
	close_fd(fd);
	fd = open(path, flags | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(unlink(path), 0);
	return fd;
}

static int new_socket(int family, int type, int listening)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(family, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (family == AF_UNIX)
		assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	if (listening)
		assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static int new_memfd(uid_t owner, unsigned seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(fchown(fd, owner, owner), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static int setup(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(base));
	if (geteuid() != 0)
		return 0;
	for (int i = 0; i < LAUNCH_FD_COUNT; i++)
		good[i] = i >= LAUNCH_FD_TTY ? new_socket(AF_UNIX, SOCK_STREAM, 1)
					     : new_file(OWNER, i <= LAUNCH_FD_IMAGE ? O_RDONLY : O_RDWR);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (int i = 0; i < LAUNCH_FD_COUNT && geteuid() == 0; i++)
		close_fd(good[i]);
	return rmdir(base);
}

static int is_socket_row(int i)
{
	return i >= LAUNCH_FD_TTY;
}

static int check_with(int row, int fd)
{
	_cleanup_err_ struct err e = {0};
	int fds[LAUNCH_FD_COUNT], r;

	memcpy(fds, good, sizeof(good));
	fds[row] = fd;
	r = check_launch_fds(fds, LAUNCH_FD_COUNT, OWNER, &e);
	assert_true((r < 0) == (e.text != NULL));
	return r;
}

/* FD, which is closed, is refused in every row; by CODE in those of files or of sockets, as said. */
static void refused(int fd, int code, int by_files, int by_sockets)
{
	for (int i = 0; i < LAUNCH_FD_COUNT; i++) {
		int r = check_with(i, fd);

		assert_true(r < 0);
		if (is_socket_row(i) ? by_sockets : by_files)
			assert_int_equal(r, code);
	}
	close_fd(fd);
}

static void all_good(void **state)
{
	_cleanup_err_ struct err e = {0};

	(void)state;
	need_root();
	assert_int_equal(check_launch_fds(good, LAUNCH_FD_COUNT, OWNER, &e), 0);
}

static void not_files(void **state)
{
	int p[2];

	(void)state;
	need_root();
	refused(open("/dev/null", O_RDWR | O_CLOEXEC), -EINVAL, 0, 1);
	refused(open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC), -EINVAL, 0, 1);
	refused(open(base, O_PATH | O_CLOEXEC), -EINVAL, 1, 1);
	refused(eventfd(0, EFD_CLOEXEC), -EINVAL, 0, 1);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	refused(p[0], -EINVAL, 1, 1);
	refused(p[1], -EINVAL, 1, 1);
	for (int i = 0; i < LAUNCH_FD_COUNT; i++)
		assert_true(check_with(i, -EBADF) < 0);
}

static void not_the_owners(void **state)
{
	(void)state;
	need_root();
	for (int i = 0; i < LAUNCH_FD_TTY; i++) {
		int flags = i <= LAUNCH_FD_IMAGE ? O_RDONLY : O_RDWR;
		_cleanup_close_ int roots = new_file(0, flags), others = new_file(12345, flags);

		assert_int_equal(check_with(i, roots), -EPERM);
		assert_int_equal(check_with(i, others), -EPERM);
	}
}

/* Wider than asked, or narrower. */
static void other_access(void **state)
{
	(void)state;
	need_root();
	for (int i = 0; i < LAUNCH_FD_TTY; i++) {
		_cleanup_close_ int other = new_file(OWNER, i <= LAUNCH_FD_IMAGE ? O_RDWR : O_RDONLY);
		_cleanup_close_ int write_only = new_file(OWNER, O_WRONLY);
		_cleanup_close_ int path_only = new_file(OWNER, O_PATH);

		assert_int_equal(check_with(i, other), -EINVAL);
		assert_int_equal(check_with(i, write_only), -EINVAL);
		assert_int_equal(check_with(i, path_only), -EINVAL);
	}
}

static void memory_files(void **state)
{
	(void)state;
	need_root();
	for (int i = 0; i <= LAUNCH_FD_IMAGE; i++) {
		_cleanup_close_ int open_one = new_memfd(OWNER, F_SEAL_SHRINK),
				    sealed = new_memfd(OWNER, F_SEAL_WRITE);
		_cleanup_close_ int roots = new_memfd(0, F_SEAL_WRITE);

		assert_int_equal(check_with(i, open_one), -EINVAL);
		assert_int_equal(check_with(i, sealed), 0);
		assert_int_equal(check_with(i, roots), -EPERM);
	}
}

static void other_sockets(void **state)
{
	int pair[2];

	(void)state;
	need_root();
	refused(new_socket(AF_UNIX, SOCK_STREAM, 0), -EINVAL, 0, 1);
	refused(new_socket(AF_UNIX, SOCK_SEQPACKET, 1), -EINVAL, 0, 1);
	refused(new_socket(AF_UNIX, SOCK_DGRAM, 0), -EINVAL, 0, 1);
	refused(new_socket(AF_INET, SOCK_STREAM, 0), -EINVAL, 0, 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	refused(pair[0], -EINVAL, 0, 1);
	refused(pair[1], -EINVAL, 0, 1);
}

/* A file where a socket belongs, a socket where a file does. */
static void swapped(void **state)
{
	(void)state;
	need_root();
	for (int i = 0; i < LAUNCH_FD_COUNT; i++)
		for (int k = 0; k < LAUNCH_FD_COUNT; k++)
			if (is_socket_row(i) != is_socket_row(k))
				assert_true(check_with(i, good[k]) < 0);
}

/* What a disk is made of is what LAUNCH takes for it, and nothing else. */
static void disk_rows(void **state)
{
	int fds[DISK_FD_COUNT];

	(void)state;
	need_root();
	fds[DISK_FD_IMAGE] = good[LAUNCH_FD_IMAGE];
	fds[DISK_FD_COW] = good[LAUNCH_FD_OVERLAY];
	assert_int_equal(check_disk_fds(fds, OWNER, NULL), 0);
	assert_int_equal(check_disk_fds(fds, OWNER + 1, NULL), -EPERM);
	for (int i = 0; i < LAUNCH_FD_COUNT; i++) {
		int readonly = i <= LAUNCH_FD_IMAGE && !is_socket_row(i);

		fds[DISK_FD_IMAGE] = good[i];
		assert_int_equal(check_disk_fds(fds, OWNER, NULL), readonly ? 0 : -EINVAL);
		fds[DISK_FD_IMAGE] = good[LAUNCH_FD_IMAGE];
		fds[DISK_FD_COW] = good[i];
		assert_int_equal(
			check_disk_fds(fds, OWNER, NULL), readonly || is_socket_row(i) ? -EINVAL : 0);
		fds[DISK_FD_COW] = good[LAUNCH_FD_OVERLAY];
	}
}

static int program(const char *path)
{
	_cleanup_err_ struct err e = {0};
	int fd = -EBADF, r = program_open(path, &fd, &e);

	assert_true((r == 0) == (fd >= 0));
	close_fd(fd);
	return r;
}

static void programs(void **state)
{
	_cleanup_free_ char *mine = NULL;
	_cleanup_close_ int fd = -EBADF;

	(void)state;
	need_root();
	assert_int_equal(program("/usr/bin/env"), 0);
	/* Through a link of the system's. */
	assert_int_equal(program("/bin/env"), 0);
	assert_int_equal(program("/usr/bin/there-is-no-such-program"), -ENOENT);
	assert_int_equal(program("/usr/bin"), -EPERM);
	assert_int_equal(program("/etc/passwd"), -EPERM);
	assert_int_equal(program("/dev/null"), -EPERM);
	/* Root's and right in itself, but anybody may put another in /tmp. */
	assert_true(asprintf(&mine, "%s/program", base) > 0);
	fd = open(mine, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	assert_true(fd >= 0);
	assert_int_equal(program(mine), -EPERM);
	assert_int_equal(unlink(mine), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_good),
		cmocka_unit_test(not_files),
		cmocka_unit_test(not_the_owners),
		cmocka_unit_test(other_access),
		cmocka_unit_test(memory_files),
		cmocka_unit_test(other_sockets),
		cmocka_unit_test(swapped),
		cmocka_unit_test(disk_rows),
		cmocka_unit_test(programs),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
