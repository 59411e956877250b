/* What is in a folder, and in the file system. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include "banger/cleanup.h"
#include "files_wire.h"
#include "handle.h"

struct kernel_dirent {
	uint64_t ino;
	int64_t next;
	uint16_t size;
	uint8_t type;
	char name[];
};

/* One entry of an files_answer; 0 when it doesn't fit. */
static size_t put_entry(
	struct file_id id, int dir, const struct kernel_dirent *d, bool plus, size_t at, size_t max)
{
	size_t length = strlen(d->name), size = 20 + length + (plus ? sizeof(struct agent_attr) : 0);
	struct agent_attr attr = {0};
	uint64_t next = (uint64_t)d->next;
	uint32_t ino = (uint32_t)d->ino, tag = 0;
	uint8_t type[2] = {d->type, 0};
	uint16_t n = (uint16_t)length;
	uint8_t *to = files_answer + at;

	if (at + size > max)
		return 0;
	if (plus) {
		/* Gone meanwhile: not listed. */
		if (handle_attr_at(id, dir, d->name, &attr) < 0)
			return SIZE_MAX;
		ino = attr.ino;
		tag = file_of(&attr).tag;
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

int fs_readdir(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int path = -EBADF, dir = -EBADF;
	_Alignas(8) uint8_t buf[32768];
	int r = handle_open(q->file, &path);
	size_t at = 0, max = q->size < sizeof(files_answer) ? q->size : sizeof(files_answer);

	if (r < 0)
		return r;
	r = handle_reopen(path, O_RDONLY | O_DIRECTORY, &dir);
	if (r < 0)
		return r;
	if (q->offset != 0 && lseek(dir, (off_t)q->offset, SEEK_SET) < 0)
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
			put = put_entry(q->file, dir, d, q->flags & AGENT_READDIR_PLUS, at, max);
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

int fs_statfs(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	int r = handle_open(q->file, &fd);
	struct statvfs st;
	uint64_t v[5];
	uint32_t w[2];

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
	memcpy(files_answer, v, sizeof(v));
	memcpy(files_answer + sizeof(v), w, sizeof(w));
	*ret_n = sizeof(v) + sizeof(w);
	return 0;
}
