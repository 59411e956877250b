/* What is in a file: opened, read, written, kept. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>

#include "offline/serving.h"

#define COPY_PIECE (256u * 1024)

static int open_and_pin(struct serving *s, struct file *f, uint32_t flags, size_t *ret_n)
{
	bool writable = (flags & O_ACCMODE) != O_RDONLY;
	int r = 0;

	if (S_ISDIR(f->raw.i_mode) && (writable || (flags & O_TRUNC)))
		return -EISDIR;
	if (!S_ISREG(f->raw.i_mode) && !S_ISDIR(f->raw.i_mode))
		return -EINVAL;
	if (writable && !f->v->writable)
		return -EROFS;
	if (!f->v->key && (r = pin_add(s, f->ino)) < 0)
		return r;
	if (flags & O_TRUNC) {
		r = volume_change(f->v);
		file_touch(f, true);
		if (r == 0)
			r = contents_cut(f, 0);
		if (r < 0 && !f->v->key)
			pin_drop(s, f->ino);
	}
	if (r == 0)
		serving_answer_attr(s, f, ret_n);
	return r;
}

int serve_open(struct serving *s, struct input *in, uint16_t flags, size_t *ret_n)
{
	struct file f;
	int r = serving_file(s, in, &f);
	uint32_t how = input_u32(in);

	(void)flags;
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	return open_and_pin(s, &f, how, ret_n);
}

int serve_create(struct serving *s, struct input *in, uint16_t flags, size_t *ret_n)
{
	uint32_t how, mode, uid, gid;
	char name[INPUT_NAME_SIZE];
	struct file dir, f;
	ext2_ino_t ino;
	int r = serving_file(s, in, &dir);

	(void)flags;
	how = input_u32(in);
	mode = input_u32(in);
	uid = input_u32(in);
	gid = input_u32(in);
	input_name(in, name);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	if (dir.v->key)
		return -EROFS;
	if (dir.raw.i_links_count == 0)
		return -ENOENT;
	r = dir_find(&dir, name, &ino);
	if (r == 0 && (how & O_EXCL))
		return -EEXIST;
	if (r == 0) {
		r = file_load(dir.v, ino, &f);
	} else if (r == -ENOENT) {
		r = volume_change(dir.v);
		if (r == 0)
			r = inode_make(&dir, S_IFREG | (mode & 07777), uid, gid, &f);
		if (r == 0 && (r = dir_add(&dir, name, &f)) < 0)
			inode_unused(s, &f);
		how &= ~(uint32_t)O_TRUNC;
	}
	if (r == 0)
		r = open_and_pin(s, &f, how, ret_n);
	if (r == 0)
		serving_answer_folder(s, &dir, ret_n);
	return r == -ESTALE ? -EIO : r;
}

int serve_read(struct serving *s, struct input *in, uint16_t flags, size_t *ret_n)
{
	struct file f;
	int r = serving_file(s, in, &f);
	uint64_t offset = input_u64(in), end;
	uint32_t size = input_u32(in);

	(void)flags;
	if (r < 0 || in->bad || offset > INT64_MAX)
		return r < 0 ? r : -EINVAL;
	if (!S_ISREG(f.raw.i_mode))
		return S_ISDIR(f.raw.i_mode) ? -EISDIR : -EINVAL;
	end = EXT2_I_SIZE(&f.raw);
	if (size > sizeof(s->answer))
		size = sizeof(s->answer);
	if (offset >= end)
		return 0;
	if (size > end - offset)
		size = (uint32_t)(end - offset);
	r = contents_read(&f, offset, s->answer, size);
	if (r == 0)
		*ret_n = size;
	return r;
}

int serve_write(struct serving *s, struct input *in, uint16_t flags, size_t *ret_n)
{
	struct file f;
	int r = serving_file(s, in, &f);
	uint64_t offset = input_u64(in);
	uint32_t how = input_u32(in), done = (uint32_t)in->left;

	(void)flags;
	if (r < 0 || in->bad || offset > INT64_MAX)
		return r < 0 ? r : -EINVAL;
	if (!S_ISREG(f.raw.i_mode))
		return -EINVAL;
	r = volume_change(f.v);
	if (r < 0)
		return r;
	if (how & AGENT_WRITE_APPEND)
		offset = EXT2_I_SIZE(&f.raw);
	file_touch(&f, true);
	r = file_write(&f);
	if (r == 0)
		r = contents_write(&f, offset, in->at, in->left);
	if (r == 0)
		serving_answer(s, &done, sizeof(done), ret_n);
	return r;
}

int serve_fsync(struct serving *s, struct input *in, uint16_t flags, size_t *ret_n)
{
	struct file f;
	int r = serving_file(s, in, &f);

	(void)flags;
	(void)ret_n;
	input_u32(in);
	if (r < 0 || in->bad)
		return r < 0 ? r : -EINVAL;
	return volume_sync(f.v);
}

/* From OFFSET to END it reads as zeros, and takes no room where it can. */
static int punch(struct file *f, uint64_t offset, uint64_t end)
{
	uint64_t block = f->v->fs->blocksize, first = (offset + block - 1) / block, last = end / block;
	uint64_t edges[2][2] = {{offset, first * block < end ? first * block : end},
		{last * block > offset ? last * block : offset, end}};
	int r = 0;

	/* What is of blocks that stay, once where both ends are in one. */
	for (int i = 0; r == 0 && i < (edges[0][1] == end ? 1 : 2); i++) {
		struct run run;

		if (edges[i][0] >= edges[i][1])
			continue;
		r = run_at(f, edges[i][0] / block, &run);
		if (r == 0 && run.physical && !run.unwritten) {
			memset(f->v->block, 0, block);
			r = contents_put(
				f, &run, edges[i][0] % block, f->v->block, edges[i][1] - edges[i][0]);
		}
	}
	if (r == 0 && first < last)
		r = volume_errno(ext2fs_punch(f->v->fs, f->ino, file_inode(f), f->v->block, first, last - 1));
	return r == 0 ? file_read(f->v, f->ino, f) : r;
}

static int reserve(struct file *f, uint64_t offset, uint64_t end)
{
	uint64_t block = f->v->fs->blocksize, at = offset / block, last = (end + block - 1) / block;

	if (!(f->raw.i_flags & EXT4_EXTENTS_FL))
		return -EOPNOTSUPP;
	if (last > UINT32_MAX)
		return -EFBIG;
	while (at < last) {
		struct run run;
		int r = run_at(f, at, &run);

		if (run.count > last - at)
			run.count = last - at;
		if (r == 0 && !run.physical)
			r = contents_reserve(f, &run, run.count, false);
		if (r < 0)
			return r;
		at += run.count;
	}
	return 0;
}

int serve_fallocate(struct serving *s, struct input *in, uint16_t flags, size_t *ret_n)
{
	struct file f;
	int r = serving_file(s, in, &f);
	uint32_t mode = input_u32(in), kind = mode & ~(uint32_t)FALLOC_FL_KEEP_SIZE;
	uint64_t offset = input_u64(in), length = input_u64(in), end = offset + length;

	(void)flags;
	(void)ret_n;
	if (r < 0 || in->bad || length == 0 || offset > INT64_MAX || length > INT64_MAX - offset)
		return r < 0 ? r : -EINVAL;
	if (kind != 0 && kind != FALLOC_FL_PUNCH_HOLE && kind != FALLOC_FL_ZERO_RANGE)
		return -EOPNOTSUPP;
	if (kind == FALLOC_FL_PUNCH_HOLE && !(mode & FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	if (!S_ISREG(f.raw.i_mode))
		return -EINVAL;
	r = volume_change(f.v);
	if (r == 0) {
		file_touch(&f, true);
		r = file_write(&f);
	}
	if (r == 0 && kind != 0)
		r = punch(&f, offset, end);
	if (r == 0 && kind != FALLOC_FL_PUNCH_HOLE)
		r = reserve(&f, offset, end);
	if (r == 0 && !(mode & FALLOC_FL_KEEP_SIZE) && end > EXT2_I_SIZE(&f.raw))
		r = contents_cut(&f, end);
	return r;
}

int serve_lseek(struct serving *s, struct input *in, uint16_t flags, size_t *ret_n)
{
	struct file f;
	int r = serving_file(s, in, &f);
	uint64_t offset = input_u64(in), size, block, at;
	uint32_t whence = input_u32(in);

	(void)flags;
	if (r < 0 || in->bad || (whence != SEEK_DATA && whence != SEEK_HOLE))
		return r < 0 ? r : -EINVAL;
	size = EXT2_I_SIZE(&f.raw);
	block = f.v->fs->blocksize;
	if (offset >= size)
		return -ENXIO;
	for (at = offset; at < size;) {
		struct run run;

		r = run_at(&f, at / block, &run);
		if (r < 0)
			return r;
		if ((run.physical && !run.unwritten) == (whence == SEEK_DATA))
			break;
		if (run.count > size / block)
			at = size;
		else
			at = (run.block + run.count) * block;
	}
	if (at >= size && whence == SEEK_DATA)
		return -ENXIO;
	if (at > size)
		at = size;
	serving_answer(s, &at, sizeof(at), ret_n);
	return 0;
}

int serve_copy(struct serving *s, struct input *in, uint16_t flags, size_t *ret_n)
{
	struct file from, to;
	uint64_t from_at, to_at, end;
	uint32_t size, done = 0;
	int r = serving_file(s, in, &from);

	(void)flags;
	if (r == 0)
		r = serving_file(s, in, &to);
	from_at = input_u64(in);
	to_at = input_u64(in);
	size = input_u32(in);
	if (r < 0 || in->bad || from_at > INT64_MAX || to_at > INT64_MAX)
		return r < 0 ? r : -EINVAL;
	if (!S_ISREG(from.raw.i_mode) || !S_ISREG(to.raw.i_mode))
		return -EINVAL;
	if (from.v == to.v && from.ino == to.ino && from_at < to_at + size && to_at < from_at + size)
		return -EINVAL;
	r = volume_change(to.v);
	file_touch(&to, true);
	if (r == 0)
		r = file_write(&to);
	end = EXT2_I_SIZE(&from.raw);
	while (r == 0 && done < size && from_at + done < end) {
		uint32_t n = size - done < COPY_PIECE ? size - done : COPY_PIECE;

		if (n > end - from_at - done)
			n = (uint32_t)(end - from_at - done);
		r = contents_read(&from, from_at + done, s->answer, n);
		if (r == 0)
			r = contents_write(&to, to_at + done, s->answer, n);
		/* It may be the one that has grown. */
		if (r == 0 && from.v == to.v && from.ino == to.ino)
			r = file_read(from.v, from.ino, &from);
		if (r == 0)
			done += n;
	}
	if (r < 0 && done == 0)
		return r;
	serving_answer(s, &done, sizeof(done), ret_n);
	return 0;
}
