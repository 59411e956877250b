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

int serve_open(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file f;
	int r = serving_file(s, q->file, &f);

	if (r < 0)
		return r;
	return open_and_pin(s, &f, q->how, ret_n);
}

int serve_create(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file dir, f;
	uint32_t how = q->how;
	ext2_ino_t ino;
	int r = serving_file(s, q->file, &dir);

	if (r < 0)
		return r;
	if (dir.v->key)
		return -EROFS;
	if (dir.raw.i_links_count == 0)
		return -ENOENT;
	r = dir_find(&dir, q->name, &ino);
	if (r == 0 && (how & O_EXCL))
		return -EEXIST;
	if (r == 0) {
		r = file_load(dir.v, ino, &f);
	} else if (r == -ENOENT) {
		r = volume_change(dir.v);
		if (r == 0)
			r = inode_make(&dir, S_IFREG | (q->mode & 07777), q->uid, q->gid, &f);
		if (r == 0 && (r = dir_add(&dir, q->name, &f)) < 0)
			inode_unused(s, &f);
		how &= ~(uint32_t)O_TRUNC;
	}
	if (r == 0)
		r = open_and_pin(s, &f, how, ret_n);
	if (r == 0)
		serving_answer_folder(s, &dir, ret_n);
	return r == -ESTALE ? -EIO : r;
}

int serve_read(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file f;
	int r = serving_file(s, q->file, &f);
	uint64_t size = q->size < sizeof(s->answer) ? q->size : sizeof(s->answer), end;

	if (r < 0)
		return r;
	if (!S_ISREG(f.raw.i_mode))
		return S_ISDIR(f.raw.i_mode) ? -EISDIR : -EINVAL;
	end = EXT2_I_SIZE(&f.raw);
	if (q->offset >= end)
		return 0;
	if (size > end - q->offset)
		size = end - q->offset;
	r = contents_read(&f, q->offset, s->answer, size);
	if (r == 0)
		*ret_n = size;
	return r;
}

int serve_write(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file f;
	int r = serving_file(s, q->file, &f);
	uint32_t done = (uint32_t)q->data_size;

	if (r < 0)
		return r;
	if (!S_ISREG(f.raw.i_mode))
		return -EINVAL;
	r = volume_change(f.v);
	if (r < 0)
		return r;
	file_touch(&f, true);
	r = file_write(&f);
	if (r == 0)
		r = contents_write(&f, q->how & AGENT_WRITE_APPEND ? EXT2_I_SIZE(&f.raw) : q->offset, q->data,
			q->data_size);
	if (r == 0)
		serving_answer(s, &done, sizeof(done), ret_n);
	return r;
}

int serve_fsync(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file f;
	int r = serving_file(s, q->file, &f);

	(void)ret_n;
	if (r < 0)
		return r;
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

int serve_fallocate(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file f;
	int r = serving_file(s, q->file, &f);
	uint32_t kind = q->mode & ~(uint32_t)FALLOC_FL_KEEP_SIZE;
	uint64_t end = q->offset + q->size;

	(void)ret_n;
	if (r < 0 || q->size == 0 || q->size > INT64_MAX - q->offset)
		return r < 0 ? r : -EINVAL;
	if (kind != 0 && kind != FALLOC_FL_PUNCH_HOLE && kind != FALLOC_FL_ZERO_RANGE)
		return -EOPNOTSUPP;
	if (kind == FALLOC_FL_PUNCH_HOLE && !(q->mode & FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	if (!S_ISREG(f.raw.i_mode))
		return -EINVAL;
	r = volume_change(f.v);
	if (r == 0) {
		file_touch(&f, true);
		r = file_write(&f);
	}
	if (r == 0 && kind != 0)
		r = punch(&f, q->offset, end);
	if (r == 0 && kind != FALLOC_FL_PUNCH_HOLE)
		r = reserve(&f, q->offset, end);
	if (r == 0 && !(q->mode & FALLOC_FL_KEEP_SIZE) && end > EXT2_I_SIZE(&f.raw))
		r = contents_cut(&f, end);
	return r;
}

int serve_lseek(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file f;
	int r = serving_file(s, q->file, &f);
	uint64_t size, block, at;

	if (r < 0 || (q->how != SEEK_DATA && q->how != SEEK_HOLE))
		return r < 0 ? r : -EINVAL;
	size = EXT2_I_SIZE(&f.raw);
	block = f.v->fs->blocksize;
	if (q->offset >= size)
		return -ENXIO;
	for (at = q->offset; at < size;) {
		struct run run;

		r = run_at(&f, at / block, &run);
		if (r < 0)
			return r;
		if ((run.physical && !run.unwritten) == (q->how == SEEK_DATA))
			break;
		if (run.count > size / block)
			at = size;
		else
			at = (run.block + run.count) * block;
	}
	if (at >= size && q->how == SEEK_DATA)
		return -ENXIO;
	if (at > size)
		at = size;
	serving_answer(s, &at, sizeof(at), ret_n);
	return 0;
}

int serve_copy(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file from, to;
	uint64_t end;
	uint32_t done = 0;
	int r = serving_file(s, q->file, &from);

	if (r == 0)
		r = serving_file(s, q->to, &to);
	if (r < 0)
		return r;
	if (!S_ISREG(from.raw.i_mode) || !S_ISREG(to.raw.i_mode))
		return -EINVAL;
	if (from.v == to.v && from.ino == to.ino && q->offset < q->to_offset + q->size &&
		q->to_offset < q->offset + q->size)
		return -EINVAL;
	r = volume_change(to.v);
	file_touch(&to, true);
	if (r == 0)
		r = file_write(&to);
	end = EXT2_I_SIZE(&from.raw);
	while (r == 0 && done < q->size && q->offset + done < end) {
		uint64_t n = q->size - done < COPY_PIECE ? q->size - done : COPY_PIECE;

		if (n > end - q->offset - done)
			n = end - q->offset - done;
		r = contents_read(&from, q->offset + done, s->answer, n);
		if (r == 0)
			r = contents_write(&to, q->to_offset + done, s->answer, n);
		/* It may be the one that has grown. */
		if (r == 0 && from.v == to.v && from.ino == to.ino)
			r = file_read(from.v, from.ino, &from);
		if (r == 0)
			done += (uint32_t)n;
	}
	if (r < 0 && done == 0)
		return r;
	serving_answer(s, &done, sizeof(done), ret_n);
	return 0;
}
