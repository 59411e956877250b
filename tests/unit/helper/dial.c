/* Who makes the daemon's sockets to guests' vsocks: one answer a request, nothing but requests, and nobody held up by another. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../../helper/dial.h"
#include "banger/cleanup.h"
#include "banger/dial_proto.h"
#include "banger/io.h"

static const struct dial_request request = {.cid = 1, .port = 1000};

static int listener;
static struct sockaddr_un address;
static socklen_t address_size = sizeof(address);

static void *serve(void *user)
{
	(void)user;
	return (void *)(intptr_t)dial_serve(listener);
}

static int call(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, address_size), 0);
	return fd;
}

static void ask(int fd)
{
	struct dial_reply reply;
	int guest = -EBADF;
	size_t n = 0;

	assert_int_equal(send(fd, &request, sizeof(request), 0), sizeof(request));
	assert_int_equal(io_recv_fds(fd, &reply, sizeof(reply), &guest, 1, &n, 0), sizeof(reply));
	/* This kernel may have no vsock; then it says so, and there is no socket. */
	assert_int_equal(n, reply.code == 0);
	assert_true(reply.code <= 0);
	if (n)
		close_fd(guest);
}

static void answers(void **state)
{
	int fd = call(), other = call();

	(void)state;
	for (int i = 0; i < 3; i++) {
		ask(fd);
		ask(other);
	}
	close_fd(fd);
	ask(other);
	close_fd(other);
}

static void no_requests(void **state)
{
	const struct dial_request q[2] = {request, request};
	char byte;

	(void)state;
	for (size_t n = 1; n <= sizeof(q); n++) {
		int fd;

		if (n == sizeof(request))
			continue;
		fd = call();
		assert_int_equal(send(fd, q, n, 0), n);
		assert_int_equal(recv(fd, &byte, 1, 0), 0);
		close_fd(fd);
	}
}

/* As many as there may be say nothing, and one of them only asks. */
static void crowd(void **state)
{
	int fds[DIAL_CLIENTS_MAX], more, r = 0;
	char byte;

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
		fds[i] = call();
		ask(fds[i]);
	}
	more = call();
	assert_int_equal(recv(more, &byte, 1, 0), 0);
	close_fd(more);
	/* Its answers find no room in the end. */
	while (r == 0)
		r = send(fds[0], &request, sizeof(request), MSG_NOSIGNAL) == sizeof(request) ? 0 : -errno;
	assert_true(r == -EPIPE || r == -ECONNRESET);
	for (size_t i = 1; i < ELEMENTSOF(fds); i++)
		ask(fds[i]);
	/* In its place there may be another. */
	more = call();
	ask(more);
	close_fd(more);
	for (size_t i = 0; i < ELEMENTSOF(fds); i++)
		close_fd(fds[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(no_requests),
		cmocka_unit_test(crowd),
	};
	const struct sockaddr_un any = {.sun_family = AF_UNIX};
	pthread_t thread;
	void *end;
	int failed;

	/* By a name that the kernel finds. */
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (const struct sockaddr *)&any, sizeof(any.sun_family)) < 0 ||
		getsockname(listener, (struct sockaddr *)&address, &address_size) < 0 ||
		listen(listener, 4) < 0 || pthread_create(&thread, NULL, serve, NULL) != 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	shutdown(listener, SHUT_RDWR);
	pthread_join(thread, &end);
	close_fd(listener);
	return failed || (intptr_t)end != -EINVAL;
}
