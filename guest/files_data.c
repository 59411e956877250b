/* What is in a file: opened, read, written, kept. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "files_wire.h"
#include "handle.h"

/* Opens and pins what PATH_FD is. */
static int open_and_pin(struct file_id id, int path_fd, uint32_t flags, size_t *ret_n)
{
	bool writable = (flags & O_ACCMODE) != O_RDONLY;
	struct agent_attr attr;
	int fd, r;

	r = handle_attr(id, path_fd, &attr);
	if (r < 0)
		return r;
	if (S_ISDIR(attr.mode) && (writable || (flags & O_TRUNC)))
		return -EISDIR;
	if (!S_ISREG(attr.mode) && !S_ISDIR(attr.mode))
		return -EINVAL;
	/* Read too, also for a writer: the host's kernel reads pages that it changes in part. */
	r = handle_reopen(path_fd, (writable ? O_RDWR : O_RDONLY) | (int)(flags & O_TRUNC) | O_NONBLOCK, &fd);
	if (r < 0)
		return r;
	r = handle_pin(id, fd, writable);
	if (r < 0)
		return r;
	r = files_answer_attr(id, path_fd, ret_n);
	if (r < 0)
		handle_unpin(id);
	return r;
}

int fs_open(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	struct file_id id;
	int r = input_file(in, &id, &fd);
	uint32_t how = input_u32(in);

	(void)flags;
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	return open_and_pin(id, fd, how, ret_n);
}

int fs_create(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int dir = -EBADF, made = -EBADF, fd = -EBADF;
	uint32_t how, mode, uid, gid;
	struct agent_attr attr;
	char name[NAME_SIZE];
	struct file_id id;
	int r = input_file(in, &id, &dir);

	(void)flags;
	how = input_u32(in);
	mode = input_u32(in);
	uid = input_u32(in);
	gid = input_u32(in);
	input_name(in, name);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	made = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & 07777);
	if (made >= 0) {
		if (fchown(made, uid, files_group(dir, gid)) < 0 || fchmod(made, mode & 07777) < 0)
			return -errno;
	} else if (errno != EEXIST || (how & O_EXCL)) {
		return -errno;
	}
	fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = handle_attr_at(id, dir, name, &attr);
	if (r < 0)
		return r;
	r = open_and_pin(file_of(&attr), fd, how | (made >= 0 ? O_RDWR : 0), ret_n);
	if (r == 0)
		files_answer_folder(id, dir, ret_n);
	return r;
}

int fs_release(struct input *in, uint16_t flags, size_t *ret_n)
{
	struct file_id id;

	(void)flags;
	(void)ret_n;
	input_bytes(in, &id, sizeof(id));
	if (in->bad)
		return -EINVAL;
	handle_unpin(id);
	return 0;
}

/* The file that the payload begins with, open for reading or writing: pinned, or opened for this request (*RET_OWN). */
static int files_get_open(struct input *in, bool writable, int *ret_fd, int *ret_own)
{
	_cleanup_close_ int path = -EBADF;
	struct file_id id;
	int r;

	input_bytes(in, &id, sizeof(id));
	*ret_own = -EBADF;
	if (in->bad)
		return -EINVAL;
	*ret_fd = handle_pinned(id, writable);
	if (*ret_fd >= 0)
		return 0;
	r = handle_open(id, &path);
	if (r == 0)
		r = handle_reopen(path, (writable ? O_RDWR : O_RDONLY) | O_NONBLOCK, ret_own);
	*ret_fd = *ret_own;
	return r;
}

int fs_read(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int own_fd = -EBADF;
	int fd, r = files_get_open(in, false, &fd, &own_fd);
	uint64_t offset = input_u64(in);
	uint32_t size = input_u32(in);
	size_t have = 0;

	(void)flags;
	if (r < 0 || in->bad || offset > INT64_MAX)
		return r < 0 ? r : -EINVAL;
	if (size > sizeof(files_answer))
		size = sizeof(files_answer);
	while (have < size) {
		ssize_t n = pread(fd, files_answer + have, size - have, (off_t)(offset + have));

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

/* Where bytes go, and from where: a file, or (DATA) memory. */
struct transfer {
	const uint8_t *data;
	int from, to;
	uint64_t from_at, to_at;
	size_t size;
};

static ssize_t transfer_some(const struct transfer *t, size_t done)
{
	off_t from_at = (off_t)(t->from_at + done), to_at = (off_t)(t->to_at + done);

	return t->data ? pwrite(t->to, t->data + done, t->size - done, to_at)
		       : copy_file_range(t->from, &from_at, t->to, &to_at, t->size - done, 0);
}

/* Answers with how many were: less than all when the rest failed, or there were no more. */
static int transfer_all(const struct transfer *t, size_t *ret_n)
{
	uint32_t done = 0;

	while (done < t->size) {
		ssize_t n = transfer_some(t, done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && done == 0)
			return -errno;
		if (n <= 0)
			break;
		done += (uint32_t)n;
	}
	memcpy(files_answer, &done, sizeof(done));
	*ret_n = sizeof(done);
	return 0;
}

int fs_write(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int own_fd = -EBADF;
	int fd, r = files_get_open(in, true, &fd, &own_fd);
	struct transfer t = {.to = fd, .to_at = input_u64(in)};
	uint32_t how = input_u32(in);
	struct stat st;

	(void)flags;
	if (r < 0 || in->bad || t.to_at > INT64_MAX)
		return r < 0 ? r : -EINVAL;
	if (how & AGENT_WRITE_APPEND) {
		if (fstat(fd, &st) < 0)
			return -errno;
		t.to_at = (uint64_t)st.st_size;
	}
	t.data = in->at;
	t.size = in->left;
	return transfer_all(&t, ret_n);
}

int fs_fsync(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int own_fd = -EBADF;
	int fd, r = files_get_open(in, false, &fd, &own_fd);
	uint32_t datasync = input_u32(in);

	(void)flags;
	(void)ret_n;
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	return (datasync ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
}

int fs_fallocate(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int own_fd = -EBADF;
	int fd, r = files_get_open(in, true, &fd, &own_fd);
	uint32_t mode = input_u32(in);
	uint64_t offset = input_u64(in), length = input_u64(in);

	(void)flags;
	(void)ret_n;
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	return fallocate(fd, (int)mode, (off_t)offset, (off_t)length) < 0 ? -errno : 0;
}

int fs_copy(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int own_from = -EBADF, own_to = -EBADF;
	struct transfer t = {.to = -1};
	int r = files_get_open(in, false, &t.from, &own_from);

	(void)flags;
	if (r == 0)
		r = files_get_open(in, true, &t.to, &own_to);
	t.from_at = input_u64(in);
	t.to_at = input_u64(in);
	t.size = input_u32(in);
	if (r < 0 || in->bad || t.from_at > INT64_MAX || t.to_at > INT64_MAX)
		return r < 0 ? r : -EINVAL;
	return transfer_all(&t, ret_n);
}

int fs_lseek(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int own_fd = -EBADF;
	int fd, r = files_get_open(in, false, &fd, &own_fd);
	uint64_t offset = input_u64(in);
	uint32_t whence = input_u32(in);
	off_t at;

	(void)flags;
	if (r < 0 || in->bad || (whence != SEEK_DATA && whence != SEEK_HOLE))
		return r < 0 ? r : -EINVAL;
	at = lseek(fd, (off_t)offset, (int)whence);
	if (at < 0)
		return -errno;
	memcpy(files_answer, &at, sizeof(at));
	*ret_n = sizeof(at);
	return 0;
}
