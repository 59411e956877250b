#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "banger/cleanup.h"
#include "files.h"
#include "handle.h"

#define NAME_SIZE 256

/* A request's payload, taken apart from the front. The first short read sets BAD, and zeros come from then on. */
struct input {
	const uint8_t *at;
	size_t left;
	bool bad;
};

/* An answer's payload; shared by all requests, of which one is at work at a time. */
static uint8_t answer[AGENT_PAYLOAD_MAX];

static void get(struct input *in, void *to, size_t n)
{
	if (in->left < n) {
		in->bad = true;
		memset(to, 0, n);
		return;
	}
	memcpy(to, in->at, n);
	in->at += n;
	in->left -= n;
}

static uint32_t get_u32(struct input *in)
{
	uint32_t v;

	get(in, &v, sizeof(v));
	return v;
}

static uint64_t get_u64(struct input *in)
{
	uint64_t v;

	get(in, &v, sizeof(v));
	return v;
}

/* Length and bytes, to a string with a NUL. */
static void get_text(struct input *in, char *to, size_t size)
{
	uint16_t n;

	get(in, &n, sizeof(n));
	to[0] = '\0';
	if (n == 0 || n >= size || n > in->left || memchr(in->at, '\0', n)) {
		in->bad = true;
		return;
	}
	get(in, to, n);
	to[n] = '\0';
}

static void get_name(struct input *in, char to[NAME_SIZE])
{
	get_text(in, to, NAME_SIZE);
	if (strchr(to, '/') || strcmp(to, ".") == 0 || strcmp(to, "..") == 0)
		in->bad = true;
}

static int get_file(struct input *in, int *ret_fd)
{
	uint32_t ino = get_u32(in), tag = get_u32(in);

	return in->bad ? -EINVAL : handle_open(ino, tag, ret_fd);
}

static void proc_path(int fd, char ret[32])
{
	snprintf(ret, 32, "/proc/self/fd/%d", fd);
}

static int answer_attr(int fd, size_t *ret_n)
{
	struct agent_attr attr;
	int r = handle_attr(fd, &attr);

	if (r == 0) {
		memcpy(answer, &attr, sizeof(attr));
		*ret_n = sizeof(attr);
	}
	return r;
}

static int answer_attr_at(int dir, const char *name, size_t *ret_n)
{
	struct agent_attr attr;
	int r = handle_attr_at(dir, name, &attr);

	if (r == 0) {
		memcpy(answer, &attr, sizeof(attr));
		*ret_n = sizeof(attr);
	}
	return r;
}

static int fs_lookup(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int dir = -EBADF;
	char name[NAME_SIZE];
	int r = get_file(in, &dir);

	(void)flags;
	get_name(in, name);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	return answer_attr_at(dir, name, ret_n);
}

static int fs_getattr(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	int r = get_file(in, &fd);

	(void)flags;
	return r < 0 ? r : answer_attr(fd, ret_n);
}

static int fs_setattr(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	uint32_t valid, mode, uid, gid;
	struct timespec times[2];
	uint64_t size;
	char path[32];
	int r = get_file(in, &fd);

	(void)flags;
	valid = get_u32(in);
	mode = get_u32(in);
	uid = get_u32(in);
	gid = get_u32(in);
	size = get_u64(in);
	for (int i = 0; i < 2; i++) {
		times[i].tv_sec = (time_t)get_u64(in);
		times[i].tv_nsec = (long)get_u32(in);
	}
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	proc_path(fd, path);
	if (valid & (AGENT_SET_UID | AGENT_SET_GID))
		if (fchownat(fd, "", valid & AGENT_SET_UID ? uid : (uid_t)-1,
			    valid & AGENT_SET_GID ? gid : (gid_t)-1, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
	if ((valid & AGENT_SET_MODE) && chmod(path, mode & 07777) < 0)
		return -errno;
	if ((valid & AGENT_SET_SIZE) && truncate(path, (off_t)size) < 0)
		return -errno;
	if (valid & (AGENT_SET_ATIME | AGENT_SET_MTIME)) {
		if (!(valid & AGENT_SET_ATIME))
			times[0].tv_nsec = UTIME_OMIT;
		if (!(valid & AGENT_SET_MTIME))
			times[1].tv_nsec = UTIME_OMIT;
		if (utimensat(AT_FDCWD, path, times, 0) < 0)
			return -errno;
	}
	return answer_attr(fd, ret_n);
}

static int fs_readlink(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	int r = get_file(in, &fd);
	ssize_t n;

	(void)flags;
	if (r < 0)
		return r;
	n = readlinkat(fd, "", (char *)answer, 4096);
	if (n < 0)
		return errno == ENOENT ? -EINVAL : -errno;
	*ret_n = (size_t)n;
	return 0;
}

/* What was just made gets its owner; where that fails it goes again. */
static int own(int dir, const char *name, uint32_t uid, uint32_t gid, int unlink_flags, size_t *ret_n)
{
	if (fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0) {
		int r = -errno;

		unlinkat(dir, name, unlink_flags);
		return r;
	}
	return answer_attr_at(dir, name, ret_n);
}

static int fs_mknod(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int dir = -EBADF;
	uint32_t mode, rdev, uid, gid;
	char name[NAME_SIZE];
	int r = get_file(in, &dir);

	(void)flags;
	mode = get_u32(in);
	rdev = get_u32(in);
	uid = get_u32(in);
	gid = get_u32(in);
	get_name(in, name);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	/* The kernel's own 32-bit form of a device number (include/linux/kdev_t.h: new_decode_dev). */
	if (mknodat(dir, name, mode,
		    makedev((rdev & 0xfff00) >> 8, (rdev & 0xff) | ((rdev >> 12) & 0xfff00))) < 0)
		return -errno;
	return own(dir, name, uid, gid, 0, ret_n);
}

static int fs_mkdir(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int dir = -EBADF;
	uint32_t mode, uid, gid;
	char name[NAME_SIZE];
	int r = get_file(in, &dir);

	(void)flags;
	mode = get_u32(in);
	uid = get_u32(in);
	gid = get_u32(in);
	get_name(in, name);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	if (mkdirat(dir, name, mode & 07777) < 0)
		return -errno;
	return own(dir, name, uid, gid, AT_REMOVEDIR, ret_n);
}

static int fs_symlink(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int dir = -EBADF;
	char name[NAME_SIZE], target[4096];
	uint32_t uid, gid;
	int r = get_file(in, &dir);

	(void)flags;
	uid = get_u32(in);
	gid = get_u32(in);
	get_name(in, name);
	get_text(in, target, sizeof(target));
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	if (symlinkat(target, dir, name) < 0)
		return -errno;
	return own(dir, name, uid, gid, 0, ret_n);
}

static int fs_link(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF, dir = -EBADF;
	char name[NAME_SIZE], path[32];
	int r = get_file(in, &fd);

	(void)flags;
	if (r == 0)
		r = get_file(in, &dir);
	get_name(in, name);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	proc_path(fd, path);
	if (linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return answer_attr_at(dir, name, ret_n);
}

static int remove_name(struct input *in, int flags)
{
	_cleanup_close_ int dir = -EBADF;
	char name[NAME_SIZE];
	int r = get_file(in, &dir);

	get_name(in, name);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	return unlinkat(dir, name, flags) < 0 ? -errno : 0;
}

static int fs_unlink(struct input *in, uint16_t flags, size_t *ret_n)
{
	(void)flags;
	(void)ret_n;
	return remove_name(in, 0);
}

static int fs_rmdir(struct input *in, uint16_t flags, size_t *ret_n)
{
	(void)flags;
	(void)ret_n;
	return remove_name(in, AT_REMOVEDIR);
}

static int fs_rename(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int from = -EBADF, to = -EBADF;
	char old[NAME_SIZE], new[NAME_SIZE];
	uint32_t how;
	int r = get_file(in, &from);

	(void)flags;
	(void)ret_n;
	if (r == 0)
		r = get_file(in, &to);
	how = get_u32(in);
	get_name(in, old);
	get_name(in, new);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	return syscall(SYS_renameat2, from, old, to, new, how) < 0 ? -errno : 0;
}

/* Opens and pins what PATH_FD is. */
static int open_and_pin(int path_fd, uint32_t flags, size_t *ret_n)
{
	bool writable = (flags & O_ACCMODE) != O_RDONLY;
	struct agent_attr attr;
	int fd, r;

	r = handle_attr(path_fd, &attr);
	if (r < 0)
		return r;
	if (!S_ISREG(attr.mode))
		return S_ISDIR(attr.mode) ? -EISDIR : -EINVAL;
	/* Read too, also for a writer: the host's kernel reads pages that it changes in part. */
	r = handle_reopen(path_fd, (writable ? O_RDWR : O_RDONLY) | (int)(flags & O_TRUNC) | O_NONBLOCK, &fd);
	if (r < 0)
		return r;
	r = handle_pin(attr.ino, fd, writable);
	if (r < 0)
		return r;
	r = answer_attr(path_fd, ret_n);
	if (r < 0)
		handle_unpin(attr.ino);
	return r;
}

static int fs_open(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	int r = get_file(in, &fd);
	uint32_t how = get_u32(in);

	(void)flags;
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	return open_and_pin(fd, how, ret_n);
}

static int fs_create(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int dir = -EBADF, made = -EBADF, fd = -EBADF;
	uint32_t how, mode, uid, gid;
	char name[NAME_SIZE];
	int r = get_file(in, &dir);

	(void)flags;
	how = get_u32(in);
	mode = get_u32(in);
	uid = get_u32(in);
	gid = get_u32(in);
	get_name(in, name);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	made = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 07777);
	if (made >= 0) {
		if (fchown(made, uid, gid) < 0 || fchmod(made, mode & 07777) < 0)
			return -errno;
	} else if (errno != EEXIST || (how & O_EXCL)) {
		return -errno;
	}
	fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return open_and_pin(fd, how | (made >= 0 ? O_RDWR : 0), ret_n);
}

static int fs_release(struct input *in, uint16_t flags, size_t *ret_n)
{
	uint32_t ino = get_u32(in);

	(void)flags;
	(void)ret_n;
	get_u32(in);
	if (in->bad)
		return -EINVAL;
	handle_unpin(ino);
	return 0;
}

/* The file that the payload begins with, open for reading or writing: pinned, or opened for this request (*RET_OWN). */
static int get_open(struct input *in, bool writable, int *ret_fd, int *ret_own)
{
	_cleanup_close_ int path = -EBADF;
	uint32_t ino = get_u32(in), tag = get_u32(in);
	int r;

	*ret_own = -EBADF;
	if (in->bad)
		return -EINVAL;
	*ret_fd = handle_pinned(ino, writable);
	if (*ret_fd >= 0)
		return 0;
	r = handle_open(ino, tag, &path);
	if (r == 0)
		r = handle_reopen(path, (writable ? O_RDWR : O_RDONLY) | O_NONBLOCK, ret_own);
	*ret_fd = *ret_own;
	return r;
}

static int fs_read(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int own_fd = -EBADF;
	int fd, r = get_open(in, false, &fd, &own_fd);
	uint64_t offset = get_u64(in);
	uint32_t size = get_u32(in);
	size_t have = 0;

	(void)flags;
	if (r < 0 || in->bad || offset > INT64_MAX)
		return r < 0 ? r : -EINVAL;
	if (size > sizeof(answer))
		size = sizeof(answer);
	while (have < size) {
		ssize_t n = pread(fd, answer + have, size - have, (off_t)(offset + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	*ret_n = have;
	return 0;
}

static int fs_write(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int own_fd = -EBADF;
	int fd, r = get_open(in, true, &fd, &own_fd);
	uint64_t offset = get_u64(in);
	uint32_t how = get_u32(in), done = 0;
	struct stat st;

	(void)flags;
	if (r < 0 || in->bad || offset > INT64_MAX)
		return r < 0 ? r : -EINVAL;
	if (how & AGENT_WRITE_APPEND) {
		if (fstat(fd, &st) < 0)
			return -errno;
		offset = (uint64_t)st.st_size;
	}
	while (done < in->left) {
		ssize_t n = pwrite(fd, in->at + done, in->left - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && done == 0)
			return -errno;
		if (n <= 0)
			break;
		done += (uint32_t)n;
	}
	memcpy(answer, &done, sizeof(done));
	*ret_n = sizeof(done);
	return 0;
}

static int fs_fsync(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int own_fd = -EBADF;
	int fd, r = get_open(in, false, &fd, &own_fd);
	uint32_t datasync = get_u32(in);

	(void)flags;
	(void)ret_n;
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	return (datasync ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
}

struct kernel_dirent {
	uint64_t ino;
	int64_t next;
	uint16_t size;
	uint8_t type;
	char name[];
};

/* One entry of an answer; 0 when it doesn't fit. */
static size_t put_entry(int dir, const struct kernel_dirent *d, bool plus, size_t at, size_t max)
{
	size_t length = strlen(d->name), size = 20 + length + (plus ? sizeof(struct agent_attr) : 0);
	struct agent_attr attr = {0};
	uint64_t next = (uint64_t)d->next;
	uint32_t ino = (uint32_t)d->ino, tag = 0;
	uint8_t type[2] = {d->type, 0};
	uint16_t n = (uint16_t)length;
	uint8_t *to = answer + at;

	if (at + size > max)
		return 0;
	if (plus) {
		/* Gone meanwhile, or another file system mounted there: not listed. */
		if (handle_attr_at(dir, d->name, &attr) < 0)
			return SIZE_MAX;
		ino = attr.ino;
		tag = handle_tag(attr.generation);
	}
	memcpy(to, &next, 8);
	memcpy(to + 8, &ino, 4);
	memcpy(to + 12, &tag, 4);
	memcpy(to + 16, type, 2);
	memcpy(to + 18, &n, 2);
	memcpy(to + 20, d->name, length);
	if (plus)
		memcpy(to + 20 + length, &attr, sizeof(attr));
	return size;
}

static int fs_readdir(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int path = -EBADF, dir = -EBADF;
	_Alignas(8) uint8_t buf[32768];
	int r = get_file(in, &path);
	uint64_t cookie = get_u64(in);
	uint32_t size = get_u32(in);
	size_t at = 0, max = size < sizeof(answer) ? size : sizeof(answer);

	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	r = handle_reopen(path, O_RDONLY | O_DIRECTORY, &dir);
	if (r < 0)
		return r;
	if (cookie != 0 && lseek(dir, (off_t)cookie, SEEK_SET) < 0)
		return -errno;
	for (;;) {
		long n = syscall(SYS_getdents64, dir, buf, sizeof(buf));

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		for (long i = 0; i < n;) {
			const struct kernel_dirent *d = (const struct kernel_dirent *)(buf + i);
			size_t put;

			i += d->size;
			if (strcmp(d->name, ".") == 0 || strcmp(d->name, "..") == 0)
				continue;
			put = put_entry(dir, d, flags & AGENT_READDIR_PLUS, at, max);
			if (put == SIZE_MAX)
				continue;
			if (put == 0) {
				*ret_n = at;
				return at > 0 ? 0 : -EINVAL;
			}
			at += put;
		}
	}
	*ret_n = at;
	return 0;
}

static int fs_statfs(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	int r = get_file(in, &fd);
	struct statvfs st;
	uint64_t v[5];
	uint32_t w[2];

	(void)flags;
	if (r < 0)
		return r;
	if (fstatvfs(fd, &st) < 0)
		return -errno;
	v[0] = st.f_blocks;
	v[1] = st.f_bfree;
	v[2] = st.f_bavail;
	v[3] = st.f_files;
	v[4] = st.f_ffree;
	w[0] = (uint32_t)st.f_frsize;
	w[1] = (uint32_t)st.f_namemax;
	memcpy(answer, v, sizeof(v));
	memcpy(answer + sizeof(v), w, sizeof(w));
	*ret_n = sizeof(v) + sizeof(w);
	return 0;
}

static int fs_getxattr(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	int r = get_file(in, &fd);
	uint32_t size = get_u32(in);
	char name[NAME_SIZE], path[32];
	ssize_t n;

	(void)flags;
	get_name(in, name);
	if (r < 0 || in->bad || size > sizeof(answer))
		return r < 0 ? r : -EINVAL;
	proc_path(fd, path);
	n = getxattr(path, name, answer, size);
	if (n < 0)
		return -errno;
	*ret_n = (size_t)n;
	if (size == 0) {
		uint32_t v = (uint32_t)n;

		memcpy(answer, &v, sizeof(v));
		*ret_n = sizeof(v);
	}
	return 0;
}

static int fs_setxattr(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	int r = get_file(in, &fd);
	uint32_t how = get_u32(in), size;
	char name[NAME_SIZE], path[32];

	(void)flags;
	(void)ret_n;
	get_name(in, name);
	size = get_u32(in);
	if (r < 0 || in->bad || size != in->left)
		return r < 0 ? r : -EINVAL;
	if (strncmp(name, "user.", 5) != 0)
		return -EPERM;
	proc_path(fd, path);
	return setxattr(path, name, in->at, size, (int)how) < 0 ? -errno : 0;
}

static int fs_listxattr(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	int r = get_file(in, &fd);
	char path[32];
	ssize_t n;

	(void)flags;
	if (r < 0)
		return r;
	proc_path(fd, path);
	n = listxattr(path, (char *)answer, sizeof(answer));
	if (n < 0)
		return -errno;
	*ret_n = (size_t)n;
	return 0;
}

static int fs_removexattr(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	int r = get_file(in, &fd);
	char name[NAME_SIZE], path[32];

	(void)flags;
	(void)ret_n;
	get_name(in, name);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	if (strncmp(name, "user.", 5) != 0)
		return -EPERM;
	proc_path(fd, path);
	return removexattr(path, name) < 0 ? -errno : 0;
}

static int fs_fallocate(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int own_fd = -EBADF;
	int fd, r = get_open(in, true, &fd, &own_fd);
	uint32_t mode = get_u32(in);
	uint64_t offset = get_u64(in), length = get_u64(in);

	(void)flags;
	(void)ret_n;
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	return fallocate(fd, (int)mode, (off_t)offset, (off_t)length) < 0 ? -errno : 0;
}

static int fs_lseek(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int own_fd = -EBADF;
	int fd, r = get_open(in, false, &fd, &own_fd);
	uint64_t offset = get_u64(in);
	uint32_t whence = get_u32(in);
	off_t at;

	(void)flags;
	if (r < 0 || in->bad || (whence != SEEK_DATA && whence != SEEK_HOLE))
		return r < 0 ? r : -EINVAL;
	at = lseek(fd, (off_t)offset, (int)whence);
	if (at < 0)
		return -errno;
	memcpy(answer, &at, sizeof(at));
	*ret_n = sizeof(at);
	return 0;
}

static int (*const calls[])(struct input *in, uint16_t flags, size_t *ret_n) = {
	[AGENT_FS_LOOKUP] = fs_lookup,
	[AGENT_FS_GETATTR] = fs_getattr,
	[AGENT_FS_SETATTR] = fs_setattr,
	[AGENT_FS_READLINK] = fs_readlink,
	[AGENT_FS_MKNOD] = fs_mknod,
	[AGENT_FS_MKDIR] = fs_mkdir,
	[AGENT_FS_SYMLINK] = fs_symlink,
	[AGENT_FS_LINK] = fs_link,
	[AGENT_FS_UNLINK] = fs_unlink,
	[AGENT_FS_RMDIR] = fs_rmdir,
	[AGENT_FS_RENAME] = fs_rename,
	[AGENT_FS_OPEN] = fs_open,
	[AGENT_FS_CREATE] = fs_create,
	[AGENT_FS_RELEASE] = fs_release,
	[AGENT_FS_READ] = fs_read,
	[AGENT_FS_WRITE] = fs_write,
	[AGENT_FS_FSYNC] = fs_fsync,
	[AGENT_FS_READDIR] = fs_readdir,
	[AGENT_FS_STATFS] = fs_statfs,
	[AGENT_FS_GETXATTR] = fs_getxattr,
	[AGENT_FS_SETXATTR] = fs_setxattr,
	[AGENT_FS_LISTXATTR] = fs_listxattr,
	[AGENT_FS_REMOVEXATTR] = fs_removexattr,
	[AGENT_FS_FALLOCATE] = fs_fallocate,
	[AGENT_FS_LSEEK] = fs_lseek,
};

void files_request(struct channel *c, const struct agent_header *h, const uint8_t *payload)
{
	struct input in = {.at = payload, .left = h->length};
	size_t n = 0;
	int r = -EOPNOTSUPP;

	if (h->type < ELEMENTSOF(calls) && calls[h->type])
		r = calls[h->type](&in, h->code, &n);
	channel_send(c, AGENT_REPLY, (uint16_t)-r, h->id, answer, r == 0 ? n : 0, NULL, 0);
}

int files_init(const char *root)
{
	return handle_init(root);
}

void files_unpin_all(void)
{
	handle_unpin_all();
}

int files_root_fd(void)
{
	return handle_root();
}
