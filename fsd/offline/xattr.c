/* Extended attributes: of the users' namespace alone. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "offline/serving.h"

#define VALUE_MAX 65536 /* linux/limits.h: XATTR_SIZE_MAX */

static bool is_user(const char *name)
{
	return strncmp(name, "user.", 5) == 0;
}

static int attributes(struct file *f, struct ext2_xattr_handle **ret)
{
	struct ext2_xattr_handle *h = NULL;
	errcode_t code = ext2fs_xattrs_open(f->v->fs, f->ino, &h);

	if (!code)
		code = ext2fs_xattrs_read(h);
	if (code && h)
		ext2fs_xattrs_close(&h);
	if (!code)
		*ret = h;
	return volume_errno(code);
}

/* The value is the caller's. */
static int get(struct file *f, const char *name, void **ret, size_t *ret_n)
{
	struct ext2_xattr_handle *h;
	int r = f->plain ? -ENODATA : attributes(f, &h);

	if (r < 0)
		return r;
	r = volume_errno(ext2fs_xattr_get(h, name, ret, ret_n));
	ext2fs_xattrs_close(&h);
	return r;
}

int file_xattr(struct file *f, const char *name, char *to, size_t size)
{
	void *value;
	size_t n;
	int r = get(f, name, &value, &n);

	if (r < 0)
		return r;
	if (n > size)
		r = -ERANGE;
	else if (n > 0)
		memcpy(to, value, n);
	ext2fs_free_mem(&value);
	return r < 0 ? r : (int)n;
}

int serve_getxattr(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file f;
	int r = serving_file(s, q->file, &f);

	if (r < 0 || q->size > sizeof(s->answer))
		return r < 0 ? r : -EINVAL;
	r = file_xattr(&f, q->name, (char *)s->answer, q->size ? q->size : sizeof(s->answer));
	if (r < 0)
		return r;
	if (q->size > 0)
		*ret_n = (size_t)r;
	else
		serving_answer(s, &(uint32_t){(uint32_t)r}, sizeof(uint32_t), ret_n);
	return 0;
}

/* NAME of the file that the payload begins with is to be changed. */
static int to_change(struct file *f, const char *name)
{
	if (!is_user(name))
		return -EPERM;
	/* As the kernel has it for this namespace. */
	if (!S_ISREG(f->raw.i_mode) && !S_ISDIR(f->raw.i_mode))
		return -EPERM;
	return volume_change(f->v);
}

/* It was written by way of a handle. */
static int changed(struct file *f)
{
	int r = file_read(f->v, f->ino, f);

	if (r < 0)
		return r;
	file_touch(f, false);
	return file_write(f);
}

int serve_setxattr(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct ext2_xattr_handle *h;
	struct file f;
	void *old;
	size_t n;
	int r = serving_file(s, q->file, &f);

	(void)ret_n;
	if (r < 0 || (q->how & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE)))
		return r < 0 ? r : -EINVAL;
	if (q->data_size > VALUE_MAX)
		return -E2BIG;
	if (!is_user(q->name))
		return -EPERM;
	r = get(&f, q->name, &old, &n);
	if (r == 0)
		ext2fs_free_mem(&old);
	if (r == 0 && (q->how & XATTR_CREATE))
		return -EEXIST;
	if (r == -ENODATA && !(q->how & XATTR_REPLACE))
		r = 0;
	if (r == 0)
		r = to_change(&f, q->name);
	if (r == 0)
		r = attributes(&f, &h);
	if (r < 0)
		return r;
	r = volume_errno(ext2fs_xattr_set(h, q->name, q->data, q->data_size));
	ext2fs_xattrs_close(&h);
	return r == 0 ? changed(&f) : r;
}

struct names {
	struct serving *s;
	size_t n;
	bool full;
};

static int on_name(char *name, char *value, size_t value_size, void *user)
{
	struct names *all = user;
	size_t size = strlen(name) + 1;

	(void)value;
	(void)value_size;
	if (size > sizeof(all->s->answer) - all->n) {
		all->full = true;
		return XATTR_ABORT;
	}
	memcpy(all->s->answer + all->n, name, size);
	all->n += size;
	return 0;
}

int serve_listxattr(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct names all = {.s = s};
	struct ext2_xattr_handle *h;
	struct file f;
	int r = serving_file(s, q->file, &f);

	if (r < 0 || f.plain)
		return r;
	r = attributes(&f, &h);
	if (r < 0)
		return r;
	r = volume_errno(ext2fs_xattrs_iterate(h, on_name, &all));
	ext2fs_xattrs_close(&h);
	if (r == 0 && all.full)
		r = -E2BIG;
	if (r == 0)
		*ret_n = all.n;
	return r;
}

int serve_removexattr(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct ext2_xattr_handle *h;
	struct file f;
	void *old;
	size_t n;
	int r = serving_file(s, q->file, &f);

	(void)ret_n;
	if (r < 0)
		return r;
	if (!is_user(q->name))
		return -EPERM;
	r = get(&f, q->name, &old, &n);
	if (r == 0) {
		ext2fs_free_mem(&old);
		r = to_change(&f, q->name);
	}
	if (r == 0)
		r = attributes(&f, &h);
	if (r < 0)
		return r;
	r = volume_errno(ext2fs_xattr_remove(h, q->name));
	ext2fs_xattrs_close(&h);
	return r == 0 ? changed(&f) : r;
}
