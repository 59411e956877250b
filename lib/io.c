#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "banger/cleanup.h"
#include "banger/io.h"

int io_read_full(int fd, void *buf, size_t n)
{
	char *p = buf;

	while (n > 0) {
		ssize_t k = read(fd, p, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		if (k == 0)
			return -ENODATA;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

int io_write_full(int fd, const void *buf, size_t n)
{
	const char *p = buf;

	while (n > 0) {
		ssize_t k = write(fd, p, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

int io_pwrite_full(int fd, const void *buf, size_t n, off_t off)
{
	const char *p = buf;

	while (n > 0) {
		ssize_t k = pwrite(fd, p, n, off);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		p += k;
		off += k;
		n -= (size_t)k;
	}
	return 0;
}

int io_read_fd(int fd, size_t max, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *buf = NULL;
	size_t have = 0, room = 4096;

	for (;;) {
		char *bigger = realloc(buf, room + 1);
		ssize_t k;

		if (!bigger)
			return -ENOMEM;
		buf = bigger;
		k = read(fd, buf + have, room - have);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		if (k == 0)
			break;
		have += (size_t)k;
		if (have > max)
			return -EFBIG;
		if (have == room)
			room *= 2;
	}
	buf[have] = '\0';
	*ret = TAKE_PTR(buf);
	if (ret_len)
		*ret_len = have;
	return 0;
}

int io_read_file(int dirfd, const char *name, size_t max, char **ret, size_t *ret_len, struct err *e)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int r = fd < 0 ? -errno : io_read_fd(fd, max, ret, ret_len);

	if (r == -EFBIG)
		return err_set(e, r, "%s: longer than %zu bytes", name, max);
	return r < 0 ? err_sys(e, r, "%s", name) : 0;
}

int io_open_beneath(int dirfd, const char *path, int flags)
{
	struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC | (flags & O_PATH ? 0 : O_NOCTTY)),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
	long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static int replace_file(int dirfd, const char *name, const void *buf, size_t n, mode_t mode, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	_cleanup_free_ char *temp = NULL;
	int r;

	if (asprintf(&temp, ".%s.tmp", name) < 0) {
		temp = NULL;
		return err_sys(e, -ENOMEM, "%s", name);
	}
	fd = openat(dirfd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return err_sys(e, -errno, "%s", temp);
	r = io_write_full(fd, buf, n);
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(dirfd, temp, dirfd, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dirfd, temp, 0);
		return err_sys(e, r, "%s", name);
	}
	if (dirfd != AT_FDCWD && fsync(dirfd) < 0)
		return err_sys(e, -errno, "%s: directory", name);
	return 0;
}

int io_replace_file(int dirfd, const char *name, const void *buf, size_t n, mode_t mode, struct err *e)
{
	/* The temporary file's name is the same for all who replace the file: they take turns. */
	static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
	int r;

	pthread_mutex_lock(&turn);
	r = replace_file(dirfd, name, buf, n, mode, e);
	pthread_mutex_unlock(&turn);
	return r;
}

int io_send_fds(int sock, const void *buf, size_t n, const int *fds, size_t nfds)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * IO_FDS_MAX)];
	} control;
	struct iovec iov = {.iov_base = (void *)buf, .iov_len = n};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (nfds > IO_FDS_MAX)
		return -EINVAL;
	if (nfds > 0) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
	}
	for (;;) {
		ssize_t k = sendmsg(sock, &m, MSG_NOSIGNAL);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		return (size_t)k == n ? 0 : -EMSGSIZE;
	}
}

ssize_t io_recv_fds(int sock, void *buf, size_t n, int *fds, size_t max_fds, size_t *ret_nfds, int flags)
{
	/* Room for twice the limit, so that surplus descriptors arrive, and can be closed, rather than being cut. */
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int) * IO_FDS_MAX * 2)];
	} control;
	struct iovec iov = {.iov_base = buf, .iov_len = n};
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	size_t got = 0;
	bool surplus = false;
	ssize_t k;

	do
		k = recvmsg(sock, &m, flags | MSG_CMSG_CLOEXEC);
	while (k < 0 && errno == EINTR);
	if (k < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (got < max_fds) {
				fds[got++] = fd;
			} else {
				close_fd(fd);
				surplus = true;
			}
		}
	}
	if (surplus || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		while (got > 0)
			close_fd(fds[--got]);
		return -EMSGSIZE;
	}
	*ret_nfds = got;
	return k;
}

static uint64_t clock_usec(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

int io_lock(int fd, uint64_t usec)
{
	uint64_t end = io_now_usec() + usec;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK || io_now_usec() > end)
			return -errno;
		usleep(10000);
	}
	return 0;
}

uint64_t io_now_usec(void)
{
	return clock_usec(CLOCK_MONOTONIC);
}

uint64_t io_wall_usec(void)
{
	return clock_usec(CLOCK_REALTIME);
}
