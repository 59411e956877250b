/* Who makes the daemon's sockets to guests' vsocks: one answer a request, and nothing but requests. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "../../../helper/dial.h"
#include "banger/cleanup.h"
#include "banger/dial_proto.h"
#include "banger/io.h"

/* What it ends with once it has been said N bytes of what asks for two sockets, and then nothing more. */
static int say(size_t n, int *ret_ours)
{
	const struct dial_request q[2] = {{.cid = 1, .port = 1000}, {.cid = 1, .port = 1000}};
	_cleanup_close_ int theirs = -EBADF;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	theirs = pair[1];
	*ret_ours = pair[0];
	assert_int_equal(send(pair[0], q, n, 0), n);
	assert_int_equal(shutdown(pair[0], SHUT_WR), 0);
	return dial_serve(theirs);
}

static void answers(void **state)
{
	struct dial_reply reply;
	int ours, fd = -EBADF;
	size_t n = 0;

	(void)state;
	assert_int_equal(say(sizeof(struct dial_request), &ours), 0);
	assert_int_equal(io_recv_fds(ours, &reply, sizeof(reply), &fd, 1, &n, 0), sizeof(reply));
	/* This kernel may have no vsock; then it says so, and there is no socket. */
	assert_int_equal(n, reply.code == 0);
	assert_true(reply.code <= 0);
	if (n)
		close_fd(fd);
	assert_int_equal(recv(ours, &reply, sizeof(reply), 0), 0);
	close_fd(ours);
}

static void no_requests(void **state)
{
	char byte;
	int ours;

	(void)state;
	for (size_t n = 1; n <= 2 * sizeof(struct dial_request); n++) {
		if (n == sizeof(struct dial_request))
			continue;
		assert_int_equal(say(n, &ours), -EBADMSG);
		assert_int_equal(recv(ours, &byte, 1, 0), 0);
		close_fd(ours);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(no_requests),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
