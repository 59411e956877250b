/* Names: looked up, made, changed, removed; and what is known of a file without opening it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "offline/serving.h"

#define LINKS_MAX 65000 /* ext4.h: EXT4_LINK_MAX */
#define FAST_MAX  sizeof(((struct ext2_inode *)NULL)->i_block)
#define DEEP_MAX  4096 /* folders below each other, on a disk that may lie */

/* NAME in DIR. */
static int find(struct serving *s, struct file *dir, const char *name, struct file *ret)
{
	ext2_ino_t ino;
	int r;

	if (dir->v->key)
		return merge_find(s, dir, name, ret);
	r = dir_find(dir, name, &ino);
	if (r == 0)
		r = file_load(dir->v, ino, ret);
	return r == -ESTALE ? -EIO : r;
}

int serve_lookup(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file dir, f;
	int r = serving_file(s, q->file, &dir);

	if (r < 0)
		return r;
	r = find(s, &dir, q->name, &f);
	if (r == 0)
		serving_answer_attr(s, &f, ret_n);
	return r;
}

int serve_getattr(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file f;
	int r = serving_file(s, q->file, &f);

	if (r == 0)
		serving_answer_attr(s, &f, ret_n);
	return r;
}

static void set_owner(struct file *f, uint32_t valid, uint32_t uid, uint32_t gid)
{
	if (valid & AGENT_SET_UID) {
		f->raw.i_uid = (uint16_t)uid;
		f->raw.osd2.linux2.l_i_uid_high = (uint16_t)(uid >> 16);
	}
	if (valid & AGENT_SET_GID) {
		f->raw.i_gid = (uint16_t)gid;
		f->raw.osd2.linux2.l_i_gid_high = (uint16_t)(gid >> 16);
	}
	/* As chown(2) has it. */
	if (!S_ISDIR(f->raw.i_mode) && (valid & (AGENT_SET_UID | AGENT_SET_GID)))
		f->raw.i_mode &= (uint16_t) ~(S_ISUID | (f->raw.i_mode & S_IXGRP ? S_ISGID : 0));
}

static int set_time(struct file *f, enum file_time which, struct timespec t)
{
	if (t.tv_nsec == UTIME_OMIT)
		return 0;
	if (t.tv_nsec == UTIME_NOW)
		clock_gettime(CLOCK_REALTIME, &t);
	else if (t.tv_nsec >= 1000000000)
		return -EINVAL;
	file_set_time(f, which, t);
	return 0;
}

int serve_setattr(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file f;
	int r = serving_file(s, q->file, &f);

	if (r < 0)
		return r;
	if ((q->how & AGENT_SET_SIZE) && !S_ISREG(f.raw.i_mode))
		return S_ISDIR(f.raw.i_mode) ? -EISDIR : -EINVAL;
	r = volume_change(f.v);
	if (r < 0)
		return r;
	set_owner(&f, q->how, q->uid, q->gid);
	if (q->how & AGENT_SET_MODE)
		f.raw.i_mode = (uint16_t)((f.raw.i_mode & S_IFMT) | (q->mode & 07777));
	file_touch(&f, q->how & AGENT_SET_SIZE);
	if (q->how & AGENT_SET_ATIME)
		r = set_time(&f, FILE_ATIME, q->times[0]);
	if (r == 0 && (q->how & AGENT_SET_MTIME))
		r = set_time(&f, FILE_MTIME, q->times[1]);
	if (r == 0)
		r = file_write(&f);
	if (r == 0 && (q->how & AGENT_SET_SIZE))
		r = contents_cut(&f, q->size);
	if (r == 0)
		serving_answer_attr(s, &f, ret_n);
	return r;
}

int serve_readlink(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file f;
	uint64_t size;
	int r = serving_file(s, q->file, &f);

	if (r < 0 || !S_ISLNK(f.raw.i_mode))
		return r < 0 ? r : -EINVAL;
	size = EXT2_I_SIZE(&f.raw);
	if (size == 0 || size >= REQUEST_TARGET_SIZE)
		return -EIO;
	if (ext2fs_is_fast_symlink(file_inode(&f)) && size < FAST_MAX)
		memcpy(s->answer, f.raw.i_block, size);
	else
		r = contents_read(&f, 0, s->answer, size);
	if (r == 0)
		*ret_n = size;
	return r;
}

/* Whether NAME can be made in DIR. */
static int can_make(const struct file *dir, const char *name)
{
	ext2_ino_t ino;
	int r;

	if (dir->v->key)
		return -EROFS;
	if (!S_ISDIR(dir->raw.i_mode))
		return -ENOTDIR;
	/* It has no name itself any more. */
	if (dir->raw.i_links_count == 0)
		return -ENOENT;
	r = dir_find(dir, name, &ino);
	if (r == 0)
		return -EEXIST;
	return r == -ENOENT ? volume_change(dir->v) : r;
}

/* F, made and finished, is NAME in DIR from now on; else it is gone again. */
static int give_name(struct serving *s, struct file *dir, const char *name, struct file *f, size_t *ret_n)
{
	int r = dir_add(dir, name, f);

	if (r < 0) {
		inode_unused(s, f);
		return r;
	}
	if (S_ISDIR(f->raw.i_mode)) {
		dir->raw.i_links_count++;
		r = file_write(dir);
	}
	if (r == 0) {
		serving_answer_attr(s, f, ret_n);
		serving_answer_folder(s, dir, ret_n);
	}
	return r;
}

int serve_mknod(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file dir, f;
	uint32_t mode = q->mode;
	int r = serving_file(s, q->file, &dir);

	if (r < 0)
		return r;
	if ((mode & S_IFMT) == 0)
		mode |= S_IFREG;
	if (!S_ISREG(mode) && !S_ISCHR(mode) && !S_ISBLK(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode))
		return S_ISDIR(mode) ? -EPERM : -EINVAL;
	r = can_make(&dir, q->name);
	if (r == 0)
		r = inode_make(&dir, mode & (S_IFMT | 07777), q->uid, q->gid, &f);
	if (r == 0 && (S_ISCHR(mode) || S_ISBLK(mode))) {
		file_set_device(&f, q->rdev);
		r = file_write(&f);
	}
	return r == 0 ? give_name(s, &dir, q->name, &f, ret_n) : r;
}

int serve_mkdir(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file dir, f;
	int r = serving_file(s, q->file, &dir);

	if (r < 0)
		return r;
	r = can_make(&dir, q->name);
	if (r == 0 && dir.raw.i_links_count >= LINKS_MAX)
		r = -EMLINK;
	/* A folder's is inherited. */
	if (r == 0)
		r = inode_make(
			&dir, S_IFDIR | (q->mode & 07777) | (dir.raw.i_mode & S_ISGID), q->uid, q->gid, &f);
	return r == 0 ? give_name(s, &dir, q->name, &f, ret_n) : r;
}

static int write_target(struct file *f, const char *target)
{
	size_t n = strlen(target);

	if (n >= FAST_MAX)
		return contents_write(f, 0, target, n);
	f->raw.i_flags &= ~(uint32_t)EXT4_EXTENTS_FL;
	memset(f->raw.i_block, 0, sizeof(f->raw.i_block));
	memcpy(f->raw.i_block, target, n);
	f->raw.i_size = (uint32_t)n;
	return file_write(f);
}

int serve_symlink(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file dir, f;
	int r = serving_file(s, q->file, &dir);

	if (r < 0)
		return r;
	/* It is within a block. */
	if (strlen(q->target) >= dir.v->fs->blocksize)
		return -ENAMETOOLONG;
	r = can_make(&dir, q->name);
	if (r == 0)
		r = inode_make(&dir, S_IFLNK | 0777, q->uid, q->gid, &f);
	if (r == 0 && (r = write_target(&f, q->target)) < 0)
		inode_unused(s, &f);
	return r == 0 ? give_name(s, &dir, q->name, &f, ret_n) : r;
}

int serve_link(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file f, dir;
	int r = serving_file(s, q->file, &f);

	if (r == 0)
		r = serving_file(s, q->to, &dir);
	if (r < 0)
		return r;
	if (f.v != dir.v)
		return dir.v->key ? -EROFS : -EXDEV;
	if (S_ISDIR(f.raw.i_mode))
		return -EPERM;
	if (f.raw.i_links_count == 0)
		return -ENOENT;
	if (f.raw.i_links_count >= LINKS_MAX)
		return -EMLINK;
	r = can_make(&dir, q->name);
	if (r < 0)
		return r;
	f.raw.i_links_count++;
	file_touch(&f, false);
	r = file_write(&f);
	if (r == 0 && (r = dir_add(&dir, q->name, &f)) < 0) {
		f.raw.i_links_count--;
		file_write(&f);
	}
	if (r == 0)
		serving_answer_attr(s, &f, ret_n);
	return r;
}

/* F has one name less, or none where it is a folder, which DIR was above. */
static int drop_link(struct serving *s, struct file *dir, struct file *f)
{
	int r = 0;

	file_touch(f, false);
	if (S_ISDIR(f->raw.i_mode)) {
		/* 1 stands for more than there is room for (dir_nlink). */
		if (dir->raw.i_links_count > 2) {
			dir->raw.i_links_count--;
			r = file_write(dir);
		}
		pin_removed(s, f->ino);
		return r == 0 ? inode_unused(s, f) : r;
	}
	if (f->raw.i_links_count <= 1)
		return inode_unused(s, f);
	f->raw.i_links_count--;
	return file_write(f);
}

static int remove_name(struct serving *s, const struct file_request *q, bool folder)
{
	struct file dir, f;
	ext2_ino_t ino;
	int r = serving_file(s, q->file, &dir);

	if (r < 0)
		return r;
	if (dir.v->key)
		return -EROFS;
	r = dir_find(&dir, q->name, &ino);
	if (r == 0)
		r = file_load(dir.v, ino, &f);
	if (r < 0)
		return r == -ESTALE ? -EIO : r;
	if (folder != S_ISDIR(f.raw.i_mode))
		return folder ? -ENOTDIR : -EISDIR;
	if (folder && (r = dir_is_empty(&f)) < 0)
		return r;
	r = volume_change(dir.v);
	if (r == 0)
		r = dir_remove(&dir, q->name);
	/* As ext4 has it of one that is open still, and not of one that another took the place of. */
	if (folder)
		f.raw.i_size = 0;
	return r == 0 ? drop_link(s, &dir, &f) : r;
}

int serve_unlink(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	(void)ret_n;
	return remove_name(s, q, false);
}

int serve_rmdir(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	(void)ret_n;
	return remove_name(s, q, true);
}

/* -EINVAL: DIR is F, or below it. */
static int check_not_below(struct file *dir, const struct file *f)
{
	struct file at = *dir;

	for (unsigned i = 0; i < DEEP_MAX; i++) {
		ext2_ino_t ino;
		int r;

		if (at.ino == f->ino)
			return -EINVAL;
		if (at.ino == EXT2_ROOT_INO)
			return 0;
		r = dir_find(&at, "..", &ino);
		if (r == 0)
			r = file_load(at.v, ino, &at);
		if (r < 0)
			return -EIO;
	}
	return -EIO;
}

/* The folder F, which was in FROM, is in TO. */
static int moved(struct file *f, struct file *from, struct file *to)
{
	int r;

	if (!S_ISDIR(f->raw.i_mode) || from->ino == to->ino)
		return 0;
	r = dir_set_parent(f, to);
	if (r < 0)
		return r;
	if (from->raw.i_links_count > 2)
		from->raw.i_links_count--;
	to->raw.i_links_count++;
	r = file_write(from);
	return r == 0 ? file_write(to) : r;
}

struct renaming {
	struct file *from, *to;
	const char *old, *new;
	struct file f, other; /* OTHER has the new name so far */
	bool over;
};

static int check_rename(const struct renaming *n, uint32_t how)
{
	bool folder = S_ISDIR(n->f.raw.i_mode);
	int r = folder ? check_not_below(n->to, &n->f) : 0;

	if (r < 0)
		return r;
	if (folder && n->from->ino != n->to->ino && n->to->raw.i_links_count >= LINKS_MAX)
		return -EMLINK;
	if (how & RENAME_EXCHANGE) {
		if (!n->over)
			return -ENOENT;
		return S_ISDIR(n->other.raw.i_mode) ? check_not_below(n->from, &n->other) : 0;
	}
	if (!n->over)
		return 0;
	if (how & RENAME_NOREPLACE)
		return -EEXIST;
	if (S_ISDIR(n->other.raw.i_mode))
		return folder ? dir_is_empty(&n->other) : -EISDIR;
	return folder ? -ENOTDIR : 0;
}

static int exchange(struct renaming *n)
{
	int r = dir_replace(n->to, n->new, &n->f);

	/* One folder under two hats: what the one has been written with the other knows. */
	if (r == 0 && n->from->ino == n->to->ino)
		*n->from = *n->to;
	if (r == 0)
		r = dir_replace(n->from, n->old, &n->other);
	if (r == 0 && n->from->ino == n->to->ino)
		*n->to = *n->from;
	if (r == 0)
		r = moved(&n->f, n->from, n->to);
	if (r == 0)
		r = moved(&n->other, n->to, n->from);
	return r;
}

/* The new name first: at no moment it has none. */
static int replace(struct serving *s, struct renaming *n)
{
	int r = n->over ? dir_replace(n->to, n->new, &n->f) : dir_add(n->to, n->new, &n->f);

	if (r == 0 && n->from->ino == n->to->ino)
		*n->from = *n->to;
	if (r == 0)
		r = dir_remove(n->from, n->old);
	if (r == 0 && n->from->ino == n->to->ino)
		*n->to = *n->from;
	if (r == 0)
		r = moved(&n->f, n->from, n->to);
	if (r == 0 && n->over)
		r = drop_link(s, n->to, &n->other);
	return r;
}

static int do_rename(struct serving *s, struct renaming *n, uint32_t how)
{
	ext2_ino_t ino;
	int r;

	if (n->from->v->key || n->to->v->key)
		return -EROFS;
	if (how & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	if (n->to->raw.i_links_count == 0)
		return -ENOENT;
	r = dir_find(n->from, n->old, &ino);
	if (r == 0)
		r = file_load(n->from->v, ino, &n->f);
	if (r < 0)
		return r == -ESTALE ? -EIO : r;
	r = dir_find(n->to, n->new, &ino);
	n->over = r == 0;
	if (r == 0)
		r = file_load(n->to->v, ino, &n->other);
	if (r < 0 && r != -ENOENT)
		return r == -ESTALE ? -EIO : r;
	r = check_rename(n, how);
	/* Two names of one file: nothing is done (rename(2)). */
	if (r < 0 || (n->over && n->other.ino == n->f.ino))
		return r;
	r = volume_change(n->from->v);
	if (r == 0)
		r = how & RENAME_EXCHANGE ? exchange(n) : replace(s, n);
	if (r < 0)
		return r;
	/* It is another one now, in its own way. */
	r = file_read(n->f.v, n->f.ino, &n->f);
	if (r < 0)
		return r;
	file_touch(&n->f, false);
	return file_write(&n->f);
}

int serve_rename(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file from, to;
	struct renaming n = {.from = &from, .to = &to, .old = q->name, .new = q->to_name};
	int r = serving_file(s, q->file, &from);

	(void)ret_n;
	if (r == 0)
		r = serving_file(s, q->to, &to);
	if (r < 0)
		return r;
	return do_rename(s, &n, q->how);
}
