/* Extended attributes: of the users' namespace alone. */
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "banger/cleanup.h"
#include "files_wire.h"
#include "handle.h"

int fs_getxattr(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	struct file_id id;
	int r = input_file(in, &id, &fd);
	uint32_t size = input_u32(in);
	char name[NAME_SIZE], path[32];
	ssize_t n;

	(void)flags;
	input_name(in, name);
	if (r < 0 || in->bad || size > sizeof(files_answer))
		return r < 0 ? r : -EINVAL;
	files_proc_path(fd, path);
	n = getxattr(path, name, files_answer, size);
	if (n < 0)
		return -errno;
	*ret_n = (size_t)n;
	if (size == 0) {
		uint32_t v = (uint32_t)n;

		memcpy(files_answer, &v, sizeof(v));
		*ret_n = sizeof(v);
	}
	return 0;
}

int fs_setxattr(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	struct file_id id;
	int r = input_file(in, &id, &fd);
	uint32_t how = input_u32(in), size;
	char name[NAME_SIZE], path[32];

	(void)flags;
	(void)ret_n;
	input_name(in, name);
	size = input_u32(in);
	if (r < 0 || in->bad || size != in->left)
		return r < 0 ? r : -EINVAL;
	if (strncmp(name, "user.", 5) != 0)
		return -EPERM;
	files_proc_path(fd, path);
	return setxattr(path, name, in->at, size, (int)how) < 0 ? -errno : 0;
}

int fs_listxattr(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	struct file_id id;
	int r = input_file(in, &id, &fd);
	char path[32];
	ssize_t n;

	(void)flags;
	if (r < 0)
		return r;
	files_proc_path(fd, path);
	n = listxattr(path, (char *)files_answer, sizeof(files_answer));
	if (n < 0)
		return -errno;
	*ret_n = (size_t)n;
	return 0;
}

int fs_removexattr(struct input *in, uint16_t flags, size_t *ret_n)
{
	_cleanup_close_ int fd = -EBADF;
	struct file_id id;
	int r = input_file(in, &id, &fd);
	char name[NAME_SIZE], path[32];

	(void)flags;
	(void)ret_n;
	input_name(in, name);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	if (strncmp(name, "user.", 5) != 0)
		return -EPERM;
	files_proc_path(fd, path);
	return removexattr(path, name) < 0 ? -errno : 0;
}
