#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "banger/cleanup.h"
#include "check.h"

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546 /* linux/magic.h, 5.14+ */
#endif

static const struct {
	const char *name;
	int access; /* O_RDONLY, O_RDWR; -1: a listening socket */
} rows[LAUNCH_FD_COUNT] = {
	[LAUNCH_FD_KERNEL] = {"kernel", O_RDONLY},
	[LAUNCH_FD_INITRD] = {"initramfs", O_RDONLY},
	[LAUNCH_FD_IMAGE] = {"image", O_RDONLY},
	[LAUNCH_FD_OVERLAY] = {"overlay disk", O_RDWR},
	[LAUNCH_FD_WORK] = {"work disk", O_RDWR},
	[LAUNCH_FD_CONSOLE] = {"console file", O_RDWR},
	[LAUNCH_FD_EXIT] = {"exit file", O_RDWR},
	[LAUNCH_FD_QMP] = {"QMP socket", -1},
	[LAUNCH_FD_AGENT] = {"agent socket", -1},
	[LAUNCH_FD_TTY] = {"console socket", -1},
};

static int check_socket(int fd, const char *name, struct err *e)
{
	static const struct {
		int option, wanted;
	} options[] = {{SO_DOMAIN, AF_UNIX}, {SO_TYPE, SOCK_STREAM}, {SO_ACCEPTCONN, 1}};

	for (size_t i = 0; i < ELEMENTSOF(options); i++) {
		int value = -1;
		socklen_t n = sizeof(value);

		if (getsockopt(fd, SOL_SOCKET, options[i].option, &value, &n) < 0 ||
			value != options[i].wanted)
			return err_set(e, -EINVAL, "%s: not a listening unix stream socket", name);
	}
	return 0;
}

static int check_file(int fd, const char *name, int access, uid_t owner, struct err *e)
{
	/* statfs(2): file systems whose answers somebody else gives. */
	static const unsigned long foreign[] = {FUSE_SUPER_MAGIC, NFS_SUPER_MAGIC, SMB_SUPER_MAGIC,
		SMB2_SUPER_MAGIC, CIFS_SUPER_MAGIC, V9FS_MAGIC, CEPH_SUPER_MAGIC, AFS_SUPER_MAGIC,
		CODA_SUPER_MAGIC};
	int flags = fcntl(fd, F_GETFL);
	struct statfs fs;
	struct stat st;

	/* The file system first: to stat a file on a dead one would hold us up. */
	if (flags < 0 || fstatfs(fd, &fs) < 0)
		return err_sys(e, -errno, "%s", name);
	for (size_t i = 0; i < ELEMENTSOF(foreign); i++)
		if ((unsigned long)fs.f_type == foreign[i])
			return err_set(e, -EPERM, "%s: on a FUSE or network file system", name);
	if (flags & O_PATH || (access == O_RDWR && (flags & O_ACCMODE) != O_RDWR))
		return err_set(
			e, -EINVAL, "%s: not open for %s", name, access == O_RDWR ? "writing" : "reading");
	/* What is only to be read goes out as it came: never with more than that. A memfd is made writable, and sealed. */
	if (access == O_RDONLY && (flags & O_ACCMODE) == O_WRONLY)
		return err_set(e, -EINVAL, "%s: not open for reading", name);
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s: not a regular file", name);
	if (st.st_uid != owner)
		return err_set(e, -EPERM, "%s: belongs to user %u", name, st.st_uid);
	return 0;
}

int check_launch_fds(const int fds[LAUNCH_FD_COUNT], uid_t owner, struct err *e)
{
	for (int i = 0; i < LAUNCH_FD_COUNT; i++) {
		int r = rows[i].access < 0 ? check_socket(fds[i], rows[i].name, e)
					   : check_file(fds[i], rows[i].name, rows[i].access, owner, e);

		if (r < 0)
			return r;
	}
	return 0;
}

static int check_owner(int fd, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", path);
	if (st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)))
		return err_set(e, -EPERM,
			"%s: refused, because others than root could change it (owner %u, mode %04o)", path,
			st.st_uid, st.st_mode & 07777);
	return 0;
}

int check_program(const char *path, int *ret_fd, struct err *e)
{
	/* Links of the system's own (/bin -> usr/bin) are resolved first; what they lead to is then walked without any. */
	_cleanup_free_ char *real = realpath(path, NULL);
	_cleanup_close_ int fd = -EBADF;
	struct stat st;
	char *rest, *name;
	int r;

	if (!real)
		return err_sys(e, -errno, "%s", path);
	fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	rest = real + 1;
	while ((name = strsep(&rest, "/"))) {
		int next;

		r = check_owner(fd, path, e);
		if (r < 0)
			return r;
		next = openat(fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return err_sys(e, -errno, "%s", path);
		close_fd(fd);
		fd = next;
	}
	r = check_owner(fd, path, e);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & S_IXOTH))
		return err_set(e, -EPERM, "%s: not a program that all may run", path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
