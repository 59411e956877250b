/*
 * hellowait SOCKET [PORT]: connects to a VMM's agent socket as soon as it is there, with PORT to that of the guest's vsock through Firecracker's socket,
 * and returns when the agent has answered.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "banger/cleanup.h"
#include "banger/err.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "engine/engine.h"
#include "guest/hello.h"

#define TRIES 60000 /* 1 ms each */

static int connect_once(const char *path, unsigned port, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -EBADF;

	if (port)
		return engine_connect_vsock(
			AT_FDCWD, path, port, io_now_usec() + TRIES * 1000ull, -1, -1, ret_fd, NULL);
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int main(int argc, char **argv)
{
	_cleanup_err_ struct err e = {0};
	_cleanup_close_ int fd = -EBADF;
	uint64_t port = 0;
	char boot_id[40];

	if (argc < 2 || argc > 3 || strlen(argv[1]) >= sizeof(((struct sockaddr_un *)NULL)->sun_path) ||
		(argc == 3 && parse_u64(argv[2], 1, UINT32_MAX, &port) < 0))
		return 2;
	for (int i = 0; i < TRIES && connect_once(argv[1], (unsigned)port, &fd) < 0; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	if (agent_hello(fd, TRIES, -1, -1, boot_id, &e) < 0) {
		fprintf(stderr, "%s\n", err_text(&e));
		return 1;
	}
	return 0;
}
