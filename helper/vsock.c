#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <sys/ioctl.h>
#include <sys/random.h>

#include "banger/cleanup.h"
#include "vsock.h"

#define DEVICE "/dev/vhost-vsock"
#define TRIES  64
/* Far above those that people and other programs count from 3 on, and so many that one that was a VM's is hardly another's soon. */
#define CID_FIRST 0x10000000u
#define CID_COUNT 0x60000000u

int vsock_take(int *ret_fd, uint32_t *ret_cid, struct err *e)
{
	_cleanup_close_ int fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	int r = -EADDRINUSE;

	if (fd < 0)
		return err_set(e, -ENODEV, "%s: %s", DEVICE, strerror(errno));
	for (int i = 0; r == -EADDRINUSE && i < TRIES; i++) {
		uint32_t number;
		uint64_t cid;

		if (getrandom(&number, sizeof(number), 0) != sizeof(number))
			return err_sys(e, -errno, "random bytes");
		cid = CID_FIRST + number % CID_COUNT;
		r = ioctl(fd, VHOST_VSOCK_SET_GUEST_CID, &cid) < 0 ? -errno : 0;
		if (r == 0)
			*ret_cid = (uint32_t)cid;
	}
	if (r < 0)
		return err_sys(e, r, DEVICE);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
