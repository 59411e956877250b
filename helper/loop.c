#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "loop.h"

#define CONTROL   "/dev/loop-control"
#define TRIES_MAX 64 /* a free number that somebody else takes before us is asked for again */

static int open_control(int *ret, struct err *e)
{
	*ret = open(CONTROL, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (*ret >= 0)
		return 0;
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return err_set(e, -ENODEV, "no loop devices in this kernel");
	return err_sys(e, -errno, CONTROL);
}

int loop_probe(struct err *e)
{
	_cleanup_close_ int control = -EBADF;

	return open_control(&control, e);
}

static int open_device(int number, enum loop_kind kind)
{
	_cleanup_free_ char *path = NULL;
	int fd;

	if (asprintf(&path, "/dev/loop%d", number) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	fd = open(path, (kind == LOOP_READ ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* -EBUSY: somebody else has taken the number that was free a moment ago. */
static int try_one(int control, int file_fd, enum loop_kind kind, int *ret_fd)
{
	struct loop_config config = {.fd = (uint32_t)file_fd,
		.info.lo_flags =
			LO_FLAGS_AUTOCLEAR | (kind == LOOP_READ ? LO_FLAGS_READ_ONLY : LO_FLAGS_DIRECT_IO)};
	_cleanup_close_ int fd = -EBADF;
	int number = ioctl(control, LOOP_CTL_GET_FREE);

	if (number < 0)
		return -errno;
	fd = open_device(number, kind);
	if (fd < 0)
		return fd;
	if (ioctl(fd, LOOP_CONFIGURE, &config) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int loop_make(int file_fd, enum loop_kind kind, int *ret_fd, dev_t *ret_dev, struct err *e)
{
	_cleanup_close_ int control = -EBADF, fd = -EBADF;
	struct stat st;
	int r = open_control(&control, e);

	if (r < 0)
		return r;
	r = -EBUSY;
	for (int i = 0; i < TRIES_MAX && r == -EBUSY; i++)
		r = try_one(control, file_fd, kind, &fd);
	if (r == 0 && fstat(fd, &st) < 0)
		r = -errno;
	if (r == 0 && !S_ISBLK(st.st_mode))
		r = -ENOTBLK;
	if (r < 0)
		return err_sys(e, r, "loop device");
	*ret_dev = st.st_rdev;
	*ret_fd = TAKE_FD(fd);
	return 0;
}
