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

int fs_lookup(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int dir = -EBADF;
	char name[NAME_SIZE];
	struct file_id id;
	int r = input_file(in, &id, &dir);

	(void)flags;
	input_name(in, name);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	return files_answer_attr_at(id, dir, name, ret_n);
}

int fs_getattr(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	struct file_id id;
	int r = input_file(in, &id, &fd);

	(void)flags;
	return r < 0 ? r : files_answer_attr(id, fd, ret_n);
}

int fs_setattr(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	uint32_t valid, mode, uid, gid;
	struct timespec times[2];
	uint64_t size;
	char path[32];
	struct file_id id;
	int r = input_file(in, &id, &fd);

	(void)flags;
	valid = input_u32(in);
	mode = input_u32(in);
	uid = input_u32(in);
	gid = input_u32(in);
	size = input_u64(in);
	for (int i = 0; i < 2; i++) {
		times[i].tv_sec = (time_t)input_u64(in);
		times[i].tv_nsec = (long)input_u32(in);
	}
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	files_proc_path(fd, path);
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
	return files_answer_attr(id, fd, ret_n);
}

int fs_readlink(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	struct file_id id;
	int r = input_file(in, &id, &fd);
	ssize_t n;

	(void)flags;
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

int fs_mknod(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int dir = -EBADF;
	uint32_t mode, rdev, uid, gid;
	char name[NAME_SIZE];
	struct file_id id;
	int r = input_file(in, &id, &dir);

	(void)flags;
	mode = input_u32(in);
	rdev = input_u32(in);
	uid = input_u32(in);
	gid = input_u32(in);
	input_name(in, name);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	/* The kernel's own 32-bit form of a device number (include/linux/kdev_t.h: new_decode_dev). */
	if (mknodat(dir, name, mode,
		    makedev((rdev & 0xfff00) >> 8, (rdev & 0xff) | ((rdev >> 12) & 0xfff00))) < 0)
		return -errno;
	return own(id, dir, name, uid, gid, 0, ret_n);
}

int fs_mkdir(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int dir = -EBADF;
	uint32_t mode, uid, gid;
	char name[NAME_SIZE];
	struct file_id id;
	int r = input_file(in, &id, &dir);

	(void)flags;
	mode = input_u32(in);
	uid = input_u32(in);
	gid = input_u32(in);
	input_name(in, name);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	if (mkdirat(dir, name, mode & 07777) < 0)
		return -errno;
	return own(id, dir, name, uid, gid, AT_REMOVEDIR, ret_n);
}

int fs_symlink(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int dir = -EBADF;
	char name[NAME_SIZE], target[4096];
	uint32_t uid, gid;
	struct file_id id;
	int r = input_file(in, &id, &dir);

	(void)flags;
	uid = input_u32(in);
	gid = input_u32(in);
	input_name(in, name);
	input_text(in, target, sizeof(target));
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	if (symlinkat(target, dir, name) < 0)
		return -errno;
	return own(id, dir, name, uid, gid, 0, ret_n);
}

int fs_link(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF, dir = -EBADF;
	char name[NAME_SIZE], path[32];
	struct file_id file, id;
	int r = input_file(in, &file, &fd);

	(void)flags;
	if (r == 0)
		r = input_file(in, &id, &dir);
	input_name(in, name);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	files_proc_path(fd, path);
	if (linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return files_answer_attr_at(id, dir, name, ret_n);
}

static int remove_name(struct input *in, int flags)
{
	_cleanup_close_ int dir = -EBADF;
	char name[NAME_SIZE];
	struct file_id id;
	int r = input_file(in, &id, &dir);

	input_name(in, name);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	return unlinkat(dir, name, flags) < 0 ? -errno : 0;
}

int fs_unlink(struct input *in, uint16_t flags, size_t *ret_n)
{
	(void)flags;
	(void)ret_n;
	return remove_name(in, 0);
}

int fs_rmdir(struct input *in, uint16_t flags, size_t *ret_n)
{
	(void)flags;
	(void)ret_n;
	return remove_name(in, AT_REMOVEDIR);
}

int fs_rename(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int from_fd = -EBADF, to_fd = -EBADF;
	struct agent_attr moved = {0}, exchanged = {0};
	char old[NAME_SIZE], new[NAME_SIZE];
	struct file_id from, to;
	uint32_t how;
	int r = input_file(in, &from, &from_fd);

	(void)flags;
	(void)ret_n;
	if (r == 0)
		r = input_file(in, &to, &to_fd);
	how = input_u32(in);
	input_name(in, old);
	input_name(in, new);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	/* What is known by its name has to be known by the new one. */
	if (file_in_tree(from)) {
		r = handle_attr_at(from, from_fd, old, &moved);
		if (r == 0 && (how & RENAME_EXCHANGE))
			r = handle_attr_at(to, to_fd, new, &exchanged);
		if (r < 0)
			return r;
	}
	if (syscall(SYS_renameat2, from_fd, old, to_fd, new, how) < 0)
		return -errno;
	if (moved.space == AGENT_SPACE_TREE)
		node_moved(file_key(file_of(&moved)), to, new);
	if (exchanged.space == AGENT_SPACE_TREE)
		node_moved(file_key(file_of(&exchanged)), from, old);
	return 0;
}
