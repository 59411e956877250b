#include <errno.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h>

#include "banger/cleanup.h"
#include "banger/vsock.h"

int vsock_begin(uint32_t cid, uint32_t port, int *ret_fd)
{
	struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
	_cleanup_close_ int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 && errno != EINPROGRESS))
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}
