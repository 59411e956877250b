/* Names: looked up, made, changed, removed; and what is known of a file without opening it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "banger/cleanup.h"
#include "files_wire.h"
#include "handle.h"
#include "node.h"

int fs_lookup(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int dir = -EBADF;
	int r = handle_open(q->file, &dir);

	if (r < 0)
		return r;
	return files_answer_attr_at(q->file, dir, q->name, ret_n);
}

int fs_getattr(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	int r = handle_open(q->file, &fd);

	return r < 0 ? r : files_answer_attr(q->file, fd, ret_n);
}

int fs_setattr(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	struct timespec times[2] = {q->times[0], q->times[1]};
	char path[32];
	int r = handle_open(q->file, &fd);

	if (r < 0)
		return r;
	files_proc_path(fd, path);
	if (q->how & (AGENT_SET_UID | AGENT_SET_GID))
		if (fchownat(fd, "", q->how & AGENT_SET_UID ? q->uid : (uid_t)-1,
			    q->how & AGENT_SET_GID ? q->gid : (gid_t)-1,
			    AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
	if ((q->how & AGENT_SET_MODE) && chmod(path, q->mode & 07777) < 0)
		return -errno;
	if ((q->how & AGENT_SET_SIZE) && truncate(path, (off_t)q->size) < 0)
		return -errno;
	if (q->how & (AGENT_SET_ATIME | AGENT_SET_MTIME)) {
		if (!(q->how & AGENT_SET_ATIME))
			times[0].tv_nsec = UTIME_OMIT;
		if (!(q->how & AGENT_SET_MTIME))
			times[1].tv_nsec = UTIME_OMIT;
		if (utimensat(AT_FDCWD, path, times, 0) < 0)
			return -errno;
	}
	return files_answer_attr(q->file, fd, ret_n);
}

int fs_readlink(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	int r = handle_open(q->file, &fd);
	ssize_t n;

	if (r < 0)
		return r;
	n = readlinkat(fd, "", (char *)files_answer, 4096);
	if (n < 0)
		return errno == ENOENT ? -EINVAL : -errno;
	*ret_n = (size_t)n;
	return 0;
}

uint32_t files_group(int dir, uint32_t gid)
{
	struct stat st;

	return fstat(dir, &st) == 0 && (st.st_mode & S_ISGID) ? (uint32_t)-1 : gid;
}

/* What was just made gets its owner; where that fails it goes again. */
static int own(struct file_id id, int dir, const char *name, uint32_t uid, uint32_t gid, int unlink_flags,
	size_t *ret_n)
{
	int r;

	if (fchownat(dir, name, uid, files_group(dir, gid), AT_SYMLINK_NOFOLLOW) < 0) {
		r = -errno;
		unlinkat(dir, name, unlink_flags);
		return r;
	}
	r = files_answer_attr_at(id, dir, name, ret_n);
	if (r == 0)
		files_answer_folder(id, dir, ret_n);
	return r;
}

int fs_mknod(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int dir = -EBADF;
	int r = handle_open(q->file, &dir);

	if (r < 0)
		return r;
	/* The kernel's own 32-bit form of a device number (include/linux/kdev_t.h: new_decode_dev). */
	if (mknodat(dir, q->name, q->mode,
		    makedev((q->rdev & 0xfff00) >> 8, (q->rdev & 0xff) | ((q->rdev >> 12) & 0xfff00))) < 0)
		return -errno;
	return own(q->file, dir, q->name, q->uid, q->gid, 0, ret_n);
}

int fs_mkdir(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int dir = -EBADF;
	int r = handle_open(q->file, &dir);

	if (r < 0)
		return r;
	if (mkdirat(dir, q->name, q->mode & 07777) < 0)
		return -errno;
	return own(q->file, dir, q->name, q->uid, q->gid, AT_REMOVEDIR, ret_n);
}

int fs_symlink(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int dir = -EBADF;
	int r = handle_open(q->file, &dir);

	if (r < 0)
		return r;
	if (symlinkat(q->target, dir, q->name) < 0)
		return -errno;
	return own(q->file, dir, q->name, q->uid, q->gid, 0, ret_n);
}

int fs_link(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF, dir = -EBADF;
	char path[32];
	int r = handle_open(q->file, &fd);

	if (r == 0)
		r = handle_open(q->to, &dir);
	if (r < 0)
		return r;
	files_proc_path(fd, path);
	if (linkat(AT_FDCWD, path, dir, q->name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return files_answer_attr_at(q->to, dir, q->name, ret_n);
}

/* The folder NAME in DIR, which is about to lose its name; negative: there is none, or it is not on the work disk, and nothing there is kept open. */
static int open_folder(struct file_id id, int dir, const char *name)
{
	return file_in_tree(id) ? -EBADF : openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int remove_name(const struct file_request *q, int flags)
{
	_cleanup_close_ int dir = -EBADF, folder = -EBADF;
	int r = handle_open(q->file, &dir);

	if (r < 0)
		return r;
	if (flags & AT_REMOVEDIR)
		folder = open_folder(q->file, dir, q->name);
	if (unlinkat(dir, q->name, flags) < 0)
		return -errno;
	if (folder >= 0)
		handle_keep_removed(TAKE_FD(folder));
	return 0;
}

int fs_unlink(const struct file_request *q, size_t *ret_n)
{
	(void)ret_n;
	return remove_name(q, 0);
}

int fs_rmdir(const struct file_request *q, size_t *ret_n)
{
	(void)ret_n;
	return remove_name(q, AT_REMOVEDIR);
}

int fs_rename(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int from_fd = -EBADF, to_fd = -EBADF, folder = -EBADF;
	struct agent_attr moved = {0}, exchanged = {0};
	int r = handle_open(q->file, &from_fd);

	(void)ret_n;
	if (r == 0)
		r = handle_open(q->to, &to_fd);
	if (r < 0)
		return r;
	/* What is known by its name has to be known by the new one. */
	if (file_in_tree(q->file)) {
		r = handle_attr_at(q->file, from_fd, q->name, &moved);
		if (r == 0 && (q->how & RENAME_EXCHANGE))
			r = handle_attr_at(q->to, to_fd, q->to_name, &exchanged);
		if (r < 0)
			return r;
	}
	if (!(q->how & (RENAME_EXCHANGE | RENAME_NOREPLACE)))
		folder = open_folder(q->to, to_fd, q->to_name);
	if (syscall(SYS_renameat2, from_fd, q->name, to_fd, q->to_name, q->how) < 0)
		return -errno;
	if (folder >= 0)
		handle_keep_removed(TAKE_FD(folder));
	if (moved.space == AGENT_SPACE_TREE)
		node_moved(file_key(file_of(&moved)), q->to, q->to_name);
	if (exchanged.space == AGENT_SPACE_TREE)
		node_moved(file_key(file_of(&exchanged)), q->file, q->name);
	return 0;
}
