#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "beneath.h"

/* The folders of PATH[0, N), one after the other. */
static int make_folders(int root, const char *path, size_t n, bool force)
{
	_cleanup_close_ int at = openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	while (at >= 0 && n > 0) {
		const char *end = memchr(path, '/', n);
		size_t size = end ? (size_t)(end - path) : n;
		_cleanup_free_ char *name = strndup(path, size);
		int next, r;

		if (!name)
			return -ENOMEM;
		next = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0 && (errno == ENOTDIR || errno == ELOOP)) {
			if (!force)
				return -ENOTDIR;
			if ((r = beneath_remove(at, name)) < 0)
				return r;
		}
		if (next < 0 && mkdirat(at, name, 0755) < 0 && errno != EEXIST)
			return -errno;
		if (next < 0)
			next = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		close_fd(at);
		at = next;
		path += size + (end != NULL);
		n -= size + (end != NULL);
	}
	return at < 0 ? -errno : TAKE_FD(at);
}

int beneath_parent(int root, const char *path, bool make, bool force, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *folder = NULL;
	int fd;

	*ret_name = slash ? slash + 1 : path;
	if (!slash) {
		fd = openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	folder = strndup(path, (size_t)(slash - path));
	if (!folder)
		return -ENOMEM;
	fd = io_open_beneath(root, folder, O_PATH | O_DIRECTORY);
	if (fd < 0 && make && (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP))
		fd = make_folders(root, folder, strlen(folder), force);
	return fd;
}

int beneath_id(int dir, const char *name, uint8_t ret[WORKSPACE_ID])
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	workspace_id(&st, ret);
	return 0;
}

static int remove_all_in(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r = 0;
	_cleanup_closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!d) {
		r = -errno;
		close_fd(fd);
		return r;
	}
	while (r == 0 && (entry = readdir(d)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = beneath_remove(dirfd(d), entry->d_name);
	return r;
}

int beneath_remove(int dir, const char *name)
{
	int r;

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	/* A folder: EISDIR on Linux, EPERM elsewhere. */
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	r = remove_all_in(dir, name);
	if (r == 0 && unlinkat(dir, name, AT_REMOVEDIR) < 0)
		r = -errno;
	return r == -ENOENT ? 0 : r;
}
