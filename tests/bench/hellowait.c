/*
 * hellowait SOCKET: connects to a VMM's agent socket as soon as it is there and returns when the agent has answered.
 */
#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "banger/cleanup.h"
#include "banger/err.h"
#include "guest/hello.h"

int main(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_err_ struct err e = {0};
	_cleanup_close_ int fd = -EBADF;
	char boot_id[40];

	if (argc != 2 || strlen(argv[1]) >= sizeof(address.sun_path))
		return 2;
	memcpy(address.sun_path, argv[1], strlen(argv[1]));
	for (int i = 0; i < 60000; i++) {
		fd = close_fd(fd);
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
			break;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	if (agent_hello(fd, 60000, -1, -1, boot_id, &e) < 0) {
		fprintf(stderr, "%s\n", err_text(&e));
		return 1;
	}
	return 0;
}
