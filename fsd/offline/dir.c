#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "offline/serving.h"

/* What libext2fs has in a folder in a row, also what is not in use, so that a folder without an end has one. */
#define ENTRIES_MAX (64u << 20)

struct each {
	const struct file *dir;
	uint64_t from, block; /* the block at work on, counted from 1 */
	unsigned seen;
	bool dots;
	int (*fn)(void *user, const struct dir_entry *entry);
	void *user;
	int r;
};

static bool is_dots(const struct dir_entry *d)
{
	return d->name[0] == '.' && (d->name_size == 1 || (d->name_size == 2 && d->name[1] == '.'));
}

static int on_entry(struct ext2_dir_entry *entry, int offset, int size, char *buf, void *user)
{
	struct each *x = user;
	uint64_t block = x->dir->v->fs->blocksize, at;
	struct dir_entry d;
	unsigned length;

	(void)size;
	(void)buf;
	if (++x->seen > ENTRIES_MAX) {
		x->r = -EIO;
		return DIRENT_ABORT;
	}
	if (offset == 0)
		x->block++;
	at = (x->block - 1) * block + (uint64_t)offset;
	if (entry->inode == 0 || at < x->from)
		return 0;
	if (ext2fs_get_rec_len(x->dir->v->fs, entry, &length))
		return DIRENT_ABORT;
	d = (struct dir_entry){
		.ino = entry->inode,
		.type = (uint8_t)ext2fs_dirent_file_type(entry),
		.next = at + length,
		.name_size = (size_t)ext2fs_dirent_name_len(entry),
		.name = entry->name,
	};
	/* What no file can be called is nobody's to see. */
	if (d.name_size == 0 || memchr(d.name, '/', d.name_size) || memchr(d.name, '\0', d.name_size) ||
		(is_dots(&d) && !x->dots))
		return 0;
	x->r = x->fn(x->user, &d);
	return x->r ? DIRENT_ABORT : 0;
}

static int each(struct each *x)
{
	errcode_t code;

	if (!S_ISDIR(x->dir->raw.i_mode))
		return -ENOTDIR;
	code = ext2fs_dir_iterate(
		x->dir->v->fs, x->dir->ino, DIRENT_FLAG_INCLUDE_EMPTY, x->dir->v->block, on_entry, x);
	return x->r ? x->r : volume_errno(code);
}

int dir_each(const struct file *dir, uint64_t from, int (*fn)(void *user, const struct dir_entry *entry),
	void *user)
{
	struct each x = {.dir = dir, .from = from, .fn = fn, .user = user};

	return each(&x);
}

struct find {
	const char *name;
	size_t size;
	ext2_ino_t ino;
};

static int on_find(void *user, const struct dir_entry *d)
{
	struct find *f = user;

	if (d->name_size != f->size || memcmp(d->name, f->name, f->size) != 0)
		return 0;
	f->ino = d->ino;
	return 1;
}

int dir_find(const struct file *dir, const char *name, ext2_ino_t *ret)
{
	struct find f = {.name = name, .size = strlen(name)};
	struct each x = {.dir = dir, .dots = true, .fn = on_find, .user = &f};
	int r = each(&x);

	if (r < 0)
		return r;
	if (r == 0)
		return -ENOENT;
	*ret = f.ino;
	return 0;
}

static int on_any(void *user, const struct dir_entry *d)
{
	(void)user;
	(void)d;
	return 1;
}

int dir_is_empty(const struct file *dir)
{
	int r = dir_each(dir, 0, on_any, NULL);

	return r > 0 ? -ENOTEMPTY : r;
}

static int type_of(const struct file *f)
{
	static const uint8_t types[16] = {[S_IFREG >> 12] = EXT2_FT_REG_FILE,
		[S_IFDIR >> 12] = EXT2_FT_DIR,
		[S_IFCHR >> 12] = EXT2_FT_CHRDEV,
		[S_IFBLK >> 12] = EXT2_FT_BLKDEV,
		[S_IFIFO >> 12] = EXT2_FT_FIFO,
		[S_IFSOCK >> 12] = EXT2_FT_SOCK,
		[S_IFLNK >> 12] = EXT2_FT_SYMLINK};

	return ext2fs_has_feature_filetype(f->v->fs->super) ? types[f->raw.i_mode >> 12] : 0;
}

/* Its size and blocks may be others. */
static int again(struct file *dir)
{
	int r = file_read(dir->v, dir->ino, dir);

	if (r < 0)
		return r;
	file_touch(dir, true);
	return file_write(dir);
}

int dir_add(struct file *dir, const char *name, const struct file *f)
{
	ext2_filsys fs = dir->v->fs;
	errcode_t code = ext2fs_link(fs, dir->ino, name, f->ino, type_of(f));

	if (code == EXT2_ET_DIR_NO_SPACE) {
		code = ext2fs_expand_dir(fs, dir->ino);
		if (!code)
			code = ext2fs_link(fs, dir->ino, name, f->ino, type_of(f));
	}
	return code ? volume_errno(code) : again(dir);
}

int dir_remove(struct file *dir, const char *name)
{
	errcode_t code = ext2fs_unlink(dir->v->fs, dir->ino, name, 0, 0);

	return code ? volume_errno(code) : again(dir);
}

struct replace {
	struct find find;
	const struct file *f;
	bool done;
};

static int on_replace(struct ext2_dir_entry *entry, int offset, int size, char *buf, void *user)
{
	struct replace *r = user;

	(void)offset;
	(void)size;
	(void)buf;
	if ((size_t)ext2fs_dirent_name_len(entry) != r->find.size ||
		memcmp(entry->name, r->find.name, r->find.size) != 0)
		return 0;
	entry->inode = r->f->ino;
	ext2fs_dirent_set_file_type(entry, type_of(r->f));
	r->done = true;
	return DIRENT_CHANGED | DIRENT_ABORT;
}

static int replace(struct file *dir, const char *name, const struct file *f)
{
	struct replace r = {.find = {.name = name, .size = strlen(name)}, .f = f};
	errcode_t code = ext2fs_dir_iterate(dir->v->fs, dir->ino, 0, dir->v->block, on_replace, &r);

	return code ? volume_errno(code) : r.done ? 0 : -ENOENT;
}

int dir_replace(struct file *dir, const char *name, const struct file *f)
{
	int r = replace(dir, name, f);

	return r == 0 ? again(dir) : r;
}

int dir_set_parent(struct file *dir, const struct file *parent)
{
	return replace(dir, "..", parent);
}
