/*
 * hellowait SOCKET TOKEN [PORT]: connects to a VMM's agent socket as soon as it is there, with PORT to that of the guest's vsock through Firecracker's socket,
 * and returns when the agent has answered, which knows us by what is in the file TOKEN.
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
#include "engine/vsock.h"
#include "guest/hello.h"

#define TRIES 60000 /* 1 ms each */

static int connect_once(const char *path, unsigned port, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -EBADF;

	if (port) {
		const struct vsock_place at = {.dir_fd = AT_FDCWD, .name = path, .port = port};
		const struct vsock_wait w = {
			.end = io_now_usec() + TRIES * 1000ull, .pidfd = -1, .cancel_fd = -1};

		return vsock_connect(&at, &w, ret_fd, NULL);
	}
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
	_cleanup_free_ char *token = NULL;
	char boot_id[40];
	size_t n;

	if (argc < 3 || argc > 4 || strlen(argv[1]) >= sizeof(((struct sockaddr_un *)NULL)->sun_path) ||
		(argc == 4 && parse_u64(argv[3], 1, UINT32_MAX, &port) < 0) ||
		io_read_file(AT_FDCWD, argv[2], AGENT_TOKEN, &token, &n, NULL) < 0 || n != AGENT_TOKEN)
		return 2;
	for (int i = 0; i < TRIES && connect_once(argv[1], (unsigned)port, &fd) < 0; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	if (agent_hello(fd, (const uint8_t *)token, TRIES, -1, -1, boot_id, &e) < 0) {
		fprintf(stderr, "%s\n", err_text(&e));
		return 1;
	}
	return 0;
}
