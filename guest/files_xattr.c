/* Extended attributes: of the users' namespace alone. */
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "banger/cleanup.h"
#include "files_wire.h"
#include "handle.h"

int fs_getxattr(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	int r = handle_open(q->file, &fd);
	char path[32];
	ssize_t n;

	if (r < 0 || q->size > sizeof(files_answer))
		return r < 0 ? r : -EINVAL;
	files_proc_path(fd, path);
	n = getxattr(path, q->name, files_answer, q->size);
	if (n < 0)
		return -errno;
	*ret_n = (size_t)n;
	if (q->size == 0) {
		uint32_t v = (uint32_t)n;

		memcpy(files_answer, &v, sizeof(v));
		*ret_n = sizeof(v);
	}
	return 0;
}

int fs_setxattr(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	int r = handle_open(q->file, &fd);
	char path[32];

	(void)ret_n;
	if (r < 0)
		return r;
	if (strncmp(q->name, "user.", 5) != 0)
		return -EPERM;
	files_proc_path(fd, path);
	return setxattr(path, q->name, q->data, q->data_size, (int)q->how) < 0 ? -errno : 0;
}

int fs_listxattr(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	int r = handle_open(q->file, &fd);
	char path[32];
	ssize_t n;

	if (r < 0)
		return r;
	files_proc_path(fd, path);
	n = listxattr(path, (char *)files_answer, sizeof(files_answer));
	if (n < 0)
		return -errno;
	*ret_n = (size_t)n;
	return 0;
}

int fs_removexattr(const struct file_request *q, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	int r = handle_open(q->file, &fd);
	char path[32];

	(void)ret_n;
	if (r < 0)
		return r;
	if (strncmp(q->name, "user.", 5) != 0)
		return -EPERM;
	files_proc_path(fd, path);
	return removexattr(path, q->name) < 0 ? -errno : 0;
}
