/* The guest's own agent, on a socket. */
#ifndef BANGER_TESTS_GUEST_SPAWN_H
#define BANGER_TESTS_GUEST_SPAWN_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/socket.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "guest/hello.h"
#include "lib/guest_path.h"

/* With WORK as its work disk and / as all files, after HELLO; first come NOISE bytes, as an earlier connection would leave them. The channel's descriptor. */
static inline int guest_spawn(const char *work, size_t noise, pid_t *ret_pid)
{
	char path[4096], boot_id[40], *garbage = calloc(1, noise + 1);
	int fds[2];

	assert_int_equal(guest_path(path, sizeof(path)), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	for (size_t i = 0; i < noise; i++)
		garbage[i] = (char)(i * 31);
	if (noise > 0)
		memcpy(garbage + noise / 2, "\x40\0\0\0\1\0\0\0\0\0\0\0", 12);
	*ret_pid = fork();
	assert_true(*ret_pid >= 0);
	if (*ret_pid == 0) {
		if (io_write_full(fds[1], garbage, noise) < 0)
			_exit(126);
		fcntl(fds[1], F_SETFL, O_NONBLOCK);
		dup2(fds[1], 3);
		fcntl(3, F_SETFD, 0);
		execl(path, "banger-guest", "agent", "--fd", "3", "--root", work, "--tree", "/", NULL);
		_exit(127);
	}
	free(garbage);
	close_fd(fds[1]);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	assert_int_equal(agent_hello(fds[0], NULL, 20000, -1, -1, boot_id, NULL), 0);
	assert_int_equal(strlen(boot_id), 36);
	return fds[0];
}

#endif
