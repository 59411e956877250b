/* What is in a file: opened, read, written, kept. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
	/* Opening has changed nothing that was seen before, but for this. */
	r = flags & O_TRUNC ? handle_attr(id, path_fd, &attr) : 0;
	if (r < 0) {
		handle_unpin(id);
		return r;
	}
	memcpy(files_answer, &attr, sizeof(attr));
	*ret_n = sizeof(attr);
	return 0;
}

int fs_open(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	int r = handle_open(q->file, &fd);

	if (r < 0)
		return r;
	return open_and_pin(q->file, fd, q->how, ret_n);
}

int fs_create(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int dir = -EBADF, made = -EBADF, fd = -EBADF;
	struct agent_attr attr;
	int r = handle_open(q->file, &dir);

	if (r < 0)
		return r;
	made = openat(dir, q->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, q->mode & 07777);
	if (made >= 0) {
		if (fchown(made, q->uid, files_group(dir, q->gid)) < 0 || fchmod(made, q->mode & 07777) < 0)
			return -errno;
	} else if (errno != EEXIST || (q->how & O_EXCL)) {
		return -errno;
	}
	fd = openat(dir, q->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = handle_attr_at(q->file, dir, q->name, &attr);
	if (r < 0)
		return r;
	r = open_and_pin(file_of(&attr), fd, q->how | (made >= 0 ? O_RDWR : 0), ret_n);
	if (r == 0)
		files_answer_folder(q->file, dir, ret_n);
	return r;
}

int fs_release(const struct file_request *q, size_t *ret_n)
{

	(void)ret_n;
	handle_unpin(q->file);
	return 0;
}

/* The file ID, open for reading or writing: pinned, or opened for this request (*RET_OWN). */
static int files_get_open(struct file_id id, bool writable, int *ret_fd, int *ret_own)
{
	_cleanup_close_ int path = -EBADF;
	int r;

	*ret_own = -EBADF;
	*ret_fd = handle_pinned(id, writable);
	if (*ret_fd >= 0)
		return 0;
	r = handle_open(id, &path);
	if (r == 0)
		r = handle_reopen(path, (writable ? O_RDWR : O_RDONLY) | O_NONBLOCK, ret_own);
	*ret_fd = *ret_own;
	return r;
}

int fs_read(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int own_fd = -EBADF;
	int fd, r = files_get_open(q->file, false, &fd, &own_fd);
	size_t have = 0, size = q->size < sizeof(files_answer) ? q->size : sizeof(files_answer);

	if (r < 0)
		return r;
	while (have < size) {
		ssize_t n = pread(fd, files_answer + have, size - have, (off_t)(q->offset + have));

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

int fs_write(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int own_fd = -EBADF;
	int fd, r = files_get_open(q->file, true, &fd, &own_fd);
	struct transfer t = {.data = q->data, .to = fd, .to_at = q->offset, .size = q->data_size};
	bool at_end = q->how & AGENT_WRITE_APPEND;
	int flags = r == 0 ? fcntl(fd, F_GETFL) : 0;

	if (r < 0)
		return r;
	/*
	 * Where the end is, only the kernel knows: programs of the guest append too. By the descriptor's flag, for overlayfs passes RWF_APPEND over (Linux 6.1,
	 * fs/overlayfs/file.c, ovl_iocb_to_rwf()).
	 */
	if (at_end && fcntl(fd, F_SETFL, flags | O_APPEND) < 0)
		return -errno;
	r = transfer_all(&t, ret_n);
	if (at_end && fcntl(fd, F_SETFL, flags) < 0 && r == 0)
		r = -errno;
	return r;
}

int fs_fsync(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int own_fd = -EBADF;
	int fd, r = files_get_open(q->file, false, &fd, &own_fd);

	(void)ret_n;
	if (r < 0)
		return r;
	return (q->how ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
}

int fs_fallocate(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int own_fd = -EBADF;
	int fd, r = files_get_open(q->file, true, &fd, &own_fd);

	(void)ret_n;
	if (r < 0)
		return r;
	return fallocate(fd, (int)q->mode, (off_t)q->offset, (off_t)q->size) < 0 ? -errno : 0;
}

int fs_copy(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int own_from = -EBADF, own_to = -EBADF;
	struct transfer t = {.to = -1, .from_at = q->offset, .to_at = q->to_offset, .size = q->size};
	int r = files_get_open(q->file, false, &t.from, &own_from);

	if (r == 0)
		r = files_get_open(q->to, true, &t.to, &own_to);
	if (r < 0)
		return r;
	return transfer_all(&t, ret_n);
}

int fs_lseek(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int own_fd = -EBADF;
	int fd, r = files_get_open(q->file, false, &fd, &own_fd);
	off_t at;

	if (r < 0 || (q->how != SEEK_DATA && q->how != SEEK_HOLE))
		return r < 0 ? r : -EINVAL;
	at = lseek(fd, (off_t)q->offset, (int)q->how);
	if (at < 0)
		return -errno;
	memcpy(files_answer, &at, sizeof(at));
	*ret_n = sizeof(at);
	return 0;
}
