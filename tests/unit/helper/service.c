/* What a service manager passes, and what it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../../helper/service.h"
#include "banger/io.h"

#define SOCKET "banger-helper.socket"

static int manager = -1;

/* A manager of our own, in the abstract namespace. */
static int setup(void **state)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	char name[64];
	int n;

	(void)state;
	n = snprintf(name, sizeof(name), "@banger-test-%d", (int)getpid());
	memcpy(a.sun_path + 1, name + 1, (size_t)n - 1);
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(manager >= 0);
	assert_int_equal(
		bind(manager, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)),
		0);
	return setenv("NOTIFY_SOCKET", name, 1);
}

static int teardown(void **state)
{
	static const char *const names[] = {"NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"};

	(void)state;
	for (size_t i = 0; i < 4; i++)
		unsetenv(names[i]);
	close(manager);
	return 0;
}

/* Passes COUNT descriptors from 3 on. */
static void pass(const char *count, const char *names, pid_t whom)
{
	char pid[24];

	snprintf(pid, sizeof(pid), "%d", (int)whom);
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", count, 1);
	setenv("LISTEN_FDNAMES", names, 1);
	for (int i = 0; i < count[0] - '0' && i < 3; i++) {
		int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

		assert_true(fd >= 0);
		/* The test's own may have the number: out of the way with it. */
		if (manager == 3 + i)
			manager = fcntl(manager, F_DUPFD_CLOEXEC, 32);
		if (fd != 3 + i) {
			assert_int_equal(dup2(fd, 3 + i), 3 + i);
			close(fd);
		}
	}
}

static void hears(const char *wanted, int with_fd)
{
	char text[256] = {0};
	size_t n = 0;
	int fd = -1;

	assert_int_equal(io_recv_fds(manager, text, sizeof(text) - 1, &fd, 1, &n, 0), strlen(wanted));
	assert_string_equal(text, wanted);
	assert_int_equal(n, with_fd);
	if (n)
		close(fd);
}

static void hears_nothing(void)
{
	char text[256];

	assert_int_equal(recv(manager, text, sizeof(text), 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static struct service *new_service(void)
{
	struct service *s = NULL;

	assert_int_equal(service_new(&s, NULL), 0);
	return s;
}

static void by_hand(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	assert_null(new_service());
	/* What was meant for another process isn't taken. */
	pass("1", SOCKET, getpid() + 1);
	assert_null(new_service());
	close(3);
	/* And nothing of it needs a service. */
	assert_int_equal(service_take_socket(NULL), -EBADF);
	assert_int_equal(service_take_fuse(NULL, 7), -EBADF);
	service_ready(NULL);
	service_keep_fuse(NULL, 0, 7);
	service_drop_fuse(NULL, 7);
	hears_nothing();
}

static void tells(void **state)
{
	struct service *s = new_service();

	(void)state;
	service_ready(s);
	hears("READY=1", 0);
	service_keep_fuse(s, manager, 52);
	hears("FDSTORE=1\nFDPOLL=0\nFDNAME=fuse-52", 1);
	service_drop_fuse(s, 52);
	hears("FDSTOREREMOVE=1\nFDNAME=fuse-52", 0);
	service_free(s);
}

static void takes(void **state)
{
	struct service *s;

	(void)state;
	pass("3", "fuse-7:" SOCKET ":fuse-9", getpid());
	s = new_service();
	assert_int_equal(fcntl(3, F_GETFD), FD_CLOEXEC);
	assert_int_equal(service_take_socket(s), 4);
	assert_int_equal(service_take_socket(s), -EBADF);
	/* That of the mount that is there; the other is let go, and the manager told so. */
	assert_int_equal(service_take_fuse(s, 9), 5);
	hears("FDSTOREREMOVE=1\nFDNAME=fuse-7", 0);
	hears_nothing();
	assert_int_equal(fcntl(3, F_GETFD), -1);
	assert_int_equal(service_take_fuse(s, 9), -EBADF);
	service_free(s);
	close(4);
	close(5);
}

static void refuses(void **state)
{
	struct service *s = NULL;
	char longest[200];

	(void)state;
	pass("0", "", getpid());
	setenv("LISTEN_FDS", "9", 1);
	assert_int_equal(service_new(&s, NULL), -EBADMSG);
	setenv("LISTEN_FDS", "x", 1);
	assert_int_equal(service_new(&s, NULL), -EBADMSG);
	/* More than there are. */
	setenv("LISTEN_FDS", "8", 1);
	close(10);
	assert_int_equal(service_new(&s, NULL), -EBADF);
	unsetenv("LISTEN_FDS");
	setenv("NOTIFY_SOCKET", "relative", 1);
	assert_int_equal(service_new(&s, NULL), -EBADMSG);
	memset(longest, '/', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	setenv("NOTIFY_SOCKET", longest, 1);
	assert_int_equal(service_new(&s, NULL), -EBADMSG);
	assert_null(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(by_hand, setup, teardown),
		cmocka_unit_test_setup_teardown(tells, setup, teardown),
		cmocka_unit_test_setup_teardown(takes, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
