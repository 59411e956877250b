#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "banger/cleanup.h"
#include "guest.h"
#include "seed.h"

#define SEEDED         "trusted.banger.seeded"
#define DEPTH_MAX      64
#define XATTR_LIST_MAX 65536 /* XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/limits.h */

static int copy_dir(int from, int to, unsigned depth);

/* All but what belongs to overlayfs: it would mean something else here. */
static int copy_xattrs(int from, int to)
{
	_cleanup_free_ char *names = malloc(XATTR_LIST_MAX), *value = malloc(XATTR_LIST_MAX);
	ssize_t n = names && value ? flistxattr(from, names, XATTR_LIST_MAX) : -1;

	if (!names || !value)
		return -ENOMEM;
	if (n < 0)
		return errno == EOPNOTSUPP ? 0 : -errno;
	for (const char *name = names; name < names + n; name += strlen(name) + 1) {
		ssize_t size;

		if (strncmp(name, "trusted.", 8) == 0)
			continue;
		size = fgetxattr(from, name, value, XATTR_LIST_MAX);
		if (size < 0 || fsetxattr(to, name, value, (size_t)size, 0) < 0)
			return -errno;
	}
	return 0;
}

/* The owner before the mode and the capabilities, both of which a change of owner takes away. */
static int copy_attributes(int from, int to, const struct stat *st)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};

	if (fchown(to, st->st_uid, st->st_gid) < 0 || fchmod(to, st->st_mode & 07777) < 0)
		return -errno;
	if (copy_xattrs(from, to) < 0)
		return -errno;
	return futimens(to, times) < 0 ? -errno : 0;
}

/* A file gets its name when all of it is there. */
static int copy_file(int from_dir, int to_dir, const char *name)
{
	_cleanup_close_ int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int to = openat(to_dir, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	char path[sizeof("/proc/self/fd/") + 11];
	struct stat st;
	int r;

	if (from < 0 || to < 0 || fstat(from, &st) < 0)
		return -errno;
	for (off_t left = st.st_size; left > 0;) {
		ssize_t n = sendfile(to, from, NULL, left > 1 << 20 ? 1 << 20 : (size_t)left);

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		left -= n;
	}
	r = copy_attributes(from, to, &st);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", to);
	return linkat(AT_FDCWD, path, to_dir, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

static int copy_link(int from_dir, int to_dir, const char *name, const struct stat *st)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	_cleanup_free_ char *target = calloc(1, (size_t)st->st_size + 1);

	if (!target)
		return -ENOMEM;
	if (readlinkat(from_dir, name, target, (size_t)st->st_size) < 0 ||
		symlinkat(target, to_dir, name) < 0 ||
		fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
		utimensat(to_dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int copy_special(int to_dir, const char *name, const struct stat *st)
{
	if (mknodat(to_dir, name, st->st_mode, st->st_rdev) < 0 ||
		fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
		fchmodat(to_dir, name, st->st_mode & 07777, 0) < 0)
		return -errno;
	return 0;
}

static int copy_folder(int from_dir, int to_dir, const char *name, unsigned depth)
{
	_cleanup_close_ int from = openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int to = -EBADF;
	struct stat st;
	bool made;
	int r;

	if (from < 0 || fstat(from, &st) < 0)
		return -errno;
	made = mkdirat(to_dir, name, 0700) == 0;
	to = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return -errno;
	r = copy_dir(from, to, depth);
	return r == 0 && made ? copy_attributes(from, to, &st) : r;
}

static int copy_entry(int from, int to, const char *name, unsigned depth)
{
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return copy_folder(from, to, name, depth);
	if (S_ISREG(st.st_mode))
		return copy_file(from, to, name);
	if (S_ISLNK(st.st_mode))
		return copy_link(from, to, name, &st);
	return copy_special(to, name, &st);
}

static int copy_dir(int from, int to, unsigned depth)
{
	_cleanup_closedir_ DIR *dir = NULL;
	int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;

	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		close_fd(fd);
		return -errno;
	}
	if (depth == DEPTH_MAX)
		return -ELOOP;
	while ((entry = readdir(dir))) {
		int r;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		r = copy_entry(from, to, entry->d_name, depth + 1);
		if (r == -ENOSPC)
			return r;
		if (r < 0 && r != -EEXIST)
			guest_say("/root of the image: %s: %s", entry->d_name, strerror(-r));
	}
	return 0;
}

void seed_once(int from, int to)
{
	struct stat st;
	char mark;
	int r;

	if (fgetxattr(to, SEEDED, &mark, sizeof(mark)) >= 0 || fstat(from, &st) < 0)
		return;
	r = copy_dir(from, to, 0);
	if (r == 0)
		r = copy_attributes(from, to, &st);
	if (r < 0)
		guest_say("/root of the image: not all of it is on the work disk: %s", strerror(-r));
	/* What is said to be there is there after a crash too. */
	if (syncfs(to) < 0 || fsetxattr(to, SEEDED, "1", 1, 0) < 0)
		guest_say("/root: %s", strerror(errno));
}
