#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <sys/ioctl.h>
#include <sys/random.h>

#include "banger/cleanup.h"
#include "vsock.h"

#define DEVICE "/dev/vhost-vsock"

int vsock_number(int fd, uint32_t *ret_cid, struct err *e)
{
	int r = -EADDRINUSE;

	for (int i = 0; r == -EADDRINUSE && i < VSOCK_TRIES; i++) {
		uint32_t number;
		uint64_t cid;

		if (getrandom(&number, sizeof(number), 0) != sizeof(number))
			return err_sys(e, -errno, "random bytes");
		cid = VSOCK_CID_FIRST + number % VSOCK_CID_COUNT;
		r = ioctl(fd, VHOST_VSOCK_SET_GUEST_CID, &cid) < 0 ? -errno : 0;
		if (r == 0)
			*ret_cid = (uint32_t)cid;
	}
	return r < 0 ? err_sys(e, r, DEVICE) : 0;
}

int vsock_take(int *ret_fd, uint32_t *ret_cid, struct err *e)
{
	_cleanup_close_ int fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	int r;

	if (fd < 0)
		return err_set(e, -ENODEV, "%s: %s", DEVICE, strerror(errno));
	r = vsock_number(fd, ret_cid, e);
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}
