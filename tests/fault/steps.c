/*
 * Linked into a daemon (Makefile: COUNTED), it counts what that does to the world outside: each change of a file, each message, each answer. Beside
 * the program lies PROGRAM.steps, two numbers of 64 bits: how many there have been, and at which one the daemon is killed before it does it (0: none).
 * Whoever tests writes both at any time. Those libraries that the program is linked with are counted too: SQLite, libfuse, libnl.
 *
 * The daemon itself is counted, in all of its threads; neither what it forks, nor what it runs for a while from its own file (--...-worker).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/fuse.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "banger/cleanup.h"

static struct steps {
	_Atomic uint64_t count, end;
} * steps;
static pid_t self;
static __thread int row = -1; /* the file that was written to last */

__attribute__((constructor)) static void begin(int argc, char **argv)
{
	_cleanup_free_ char *program = realpath("/proc/self/exe", NULL), *path = NULL;
	_cleanup_close_ int fd = -EBADF;
	void *at;

	if (!program || (argc > 1 && strstr(argv[1], "-worker")))
		return;
	if (asprintf(&path, "%s.steps", program) < 0) {
		path = NULL;
		return;
	}
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	at = mmap(NULL, sizeof(*steps), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return;
	self = getpid();
	steps = at;
}

static void step(void)
{
	uint64_t count, end;

	row = -1;
	if (!steps || getpid() != self)
		return;
	count = atomic_fetch_add(&steps->count, 1) + 1;
	end = atomic_load(&steps->end);
	/* Whoever writes both may do so between two steps and be seen to between two others: one that was passed is as good. */
	if (end && count >= end)
		kill(self, SIGKILL);
}

/* Each is what libc's is: RET NAME(DECLARED) makes the system call NUMBER of ARGS, after a step. */
#define COUNTED(ret, name, number, declared, ...)                                                            \
	ret name declared;                                                                                   \
	ret name declared                                                                                    \
	{                                                                                                    \
		step();                                                                                      \
		return (ret)syscall(number, __VA_ARGS__);                                                    \
	}

COUNTED(int, fsync, SYS_fsync, (int fd), fd)
COUNTED(int, fdatasync, SYS_fdatasync, (int fd), fd)
COUNTED(int, ftruncate, SYS_ftruncate, (int fd, off_t size), fd, size)
COUNTED(int, fallocate, SYS_fallocate, (int fd, int mode, off_t at, off_t n), fd, mode, at, n)
COUNTED(int, fchmod, SYS_fchmod, (int fd, mode_t mode), fd, mode)
COUNTED(int, fchown, SYS_fchown, (int fd, uid_t user, gid_t group), fd, user, group)
COUNTED(int, mkdir, SYS_mkdir, (const char *path, mode_t mode), path, mode)
COUNTED(int, mkdirat, SYS_mkdirat, (int dir, const char *path, mode_t mode), dir, path, mode)
COUNTED(int, rmdir, SYS_rmdir, (const char *path), path)
COUNTED(int, unlink, SYS_unlink, (const char *path), path)
COUNTED(int, unlinkat, SYS_unlinkat, (int dir, const char *path, int flags), dir, path, flags)
COUNTED(int, renameat, SYS_renameat, (int a, const char *from, int b, const char *to), a, from, b, to)
COUNTED(int, renameat2, SYS_renameat2, (int a, const char *from, int b, const char *to, unsigned flags), a,
	from, b, to, flags)
COUNTED(ssize_t, send, SYS_sendto, (int fd, const void *buf, size_t n, int flags), fd, buf, n, flags, NULL, 0)
COUNTED(ssize_t, sendto, SYS_sendto,
	(int fd, const void *buf, size_t n, int flags, const struct sockaddr *to, socklen_t size), fd, buf, n,
	flags, to, size)
COUNTED(ssize_t, sendmsg, SYS_sendmsg, (int fd, const struct msghdr *m, int flags), fd, m, flags)
COUNTED(int, mount, SYS_mount,
	(const char *what, const char *where, const char *type, unsigned long flags, const void *data), what,
	where, type, flags, data)
COUNTED(int, umount2, SYS_umount2, (const char *where, int flags), where, flags)

ssize_t write(int fd, const void *buf, size_t n)
{
	struct stat st;

	/* Threads that wake one another do so by descriptors of no file's kind. */
	if (fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) != 0)
		step();
	return syscall(SYS_write, fd, buf, n);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
	const struct fuse_out_header *h = v[0].iov_base;

	/* What the kernel's cache of the tree is told: forty to a change of a VM, and answers to nobody. */
	if (v[0].iov_len != sizeof(*h) || h->unique != 0)
		step();
	return syscall(SYS_writev, fd, v, n);
}

/* A row of writes to one file is one step: what a transaction is made of. */
ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
	if (fd != row)
		step();
	row = fd;
	return syscall(SYS_pwrite64, fd, buf, n, at);
}

/* Those with a last argument that may not be there. */

int ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	void *argument;

	va_start(list, request);
	argument = va_arg(list, void *);
	va_end(list);
	step();
	return (int)syscall(SYS_ioctl, fd, request, argument);
}

static int open_counted(int dir, const char *path, int flags, va_list list)
{
	mode_t mode = __OPEN_NEEDS_MODE(flags) ? va_arg(list, mode_t) : 0;

	if (flags & (O_CREAT | O_TRUNC))
		step();
	return (int)syscall(SYS_openat, dir, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
	va_list list;
	int fd;

	va_start(list, flags);
	fd = open_counted(dir, path, flags, list);
	va_end(list);
	return fd;
}

int open(const char *path, int flags, ...)
{
	va_list list;
	int fd;

	va_start(list, flags);
	fd = open_counted(AT_FDCWD, path, flags, list);
	va_end(list);
	return fd;
}
