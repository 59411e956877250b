/* Where a file's contents are on the disk; read and written there without libext2fs, a run at a time. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "banger/io.h"
#include "offline/serving.h"

/* Blocks are counted in 32 bits, the last of which the kernel doesn't use. */
#define BLOCKS_MAX UINT32_MAX
/* Extents that are stepped over in a row: they are sorted, on a disk that doesn't lie. */
#define STEPS_MAX (1u << 20)

/* What is at BLOCK, or the hole before what comes next. */
static int run_in(ext2_extent_handle_t handle, uint64_t block, struct run *ret)
{
	errcode_t code = ext2fs_extent_goto(handle, block);
	struct ext2fs_extent x;
	unsigned steps = 0;

	if (code && code != EXT2_ET_EXTENT_NOT_FOUND && code != EXT2_ET_NO_CURRENT_NODE)
		return volume_errno(code);
	for (code = ext2fs_extent_get(handle, EXT2_EXTENT_CURRENT, &x);;
		code = ext2fs_extent_get(handle, EXT2_EXTENT_NEXT_LEAF, &x)) {
		if (code == EXT2_ET_EXTENT_NO_NEXT || code == EXT2_ET_NO_CURRENT_NODE) {
			*ret = (struct run){.block = block, .count = UINT64_MAX};
			return 0;
		}
		if (code || ++steps > STEPS_MAX)
			return code ? volume_errno(code) : -EIO;
		if ((x.e_flags & EXT2_EXTENT_FLAGS_LEAF) && x.e_lblk + x.e_len > block)
			break;
	}
	if (x.e_lblk > block)
		*ret = (struct run){.block = block, .count = x.e_lblk - block};
	else
		*ret = (struct run){.block = block,
			.count = x.e_lblk + x.e_len - block,
			.physical = x.e_pblk + (block - x.e_lblk),
			.unwritten = x.e_flags & EXT2_EXTENT_FLAGS_UNINIT};
	return 0;
}

int run_at(struct file *f, uint64_t block, struct run *ret)
{
	ext2_filsys fs = f->v->fs;
	ext2_extent_handle_t handle;
	blk64_t physical;
	errcode_t code;
	int r;

	if (block >= BLOCKS_MAX) {
		*ret = (struct run){.block = block, .count = UINT64_MAX};
		return 0;
	}
	if (f->raw.i_flags & EXT4_EXTENTS_FL) {
		code = ext2fs_extent_open2(fs, f->ino, file_inode(f), &handle);
		if (code)
			return volume_errno(code);
		r = run_in(handle, block, ret);
		ext2fs_extent_free(handle);
		if (r < 0)
			return r;
	} else {
		code = ext2fs_bmap2(fs, f->ino, file_inode(f), f->v->block, 0, block, NULL, &physical);
		if (code == EXT2_ET_FILE_TOO_BIG)
			physical = 0;
		else if (code)
			return volume_errno(code);
		*ret = (struct run){.block = block, .count = 1, .physical = physical};
	}
	if (ret->physical && (ret->physical >= ext2fs_blocks_count(fs->super) ||
				     ret->count > ext2fs_blocks_count(fs->super) - ret->physical))
		return -EIO;
	return 0;
}

static int disk_read(const struct volume *v, uint64_t at, void *to, size_t n)
{
	while (n > 0) {
		ssize_t k = pread(v->fd, to, n, (off_t)at);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k < 0 ? -errno : -EIO;
		to = (uint8_t *)to + k;
		at += (uint64_t)k;
		n -= (size_t)k;
	}
	return 0;
}

int contents_put(struct file *f, const struct run *run, uint64_t at, const void *from, size_t n)
{
	return io_pwrite_full(f->v->fd, from, n, (off_t)(run->physical * f->v->fs->blocksize + at));
}

int contents_read(struct file *f, uint64_t offset, void *to, size_t n)
{
	uint64_t size = f->v->fs->blocksize;

	while (n > 0) {
		uint64_t in = offset % size, piece;
		struct run run;
		int r = run_at(f, offset / size, &run);

		if (r < 0)
			return r;
		piece = run.count > (n + in) / size ? n : run.count * size - in;
		if (piece > n)
			piece = n;
		if (run.physical && !run.unwritten)
			r = disk_read(f->v, run.physical * size + in, to, piece);
		else
			memset(to, 0, piece);
		if (r < 0)
			return r;
		to = (uint8_t *)to + piece;
		offset += piece;
		n -= piece;
	}
	return 0;
}

/* What is new of it reads as zeros where FROM will not be. */
static int zero_edges(struct file *f, uint64_t first, uint64_t count, uint64_t begin, uint64_t end)
{
	uint64_t size = f->v->fs->blocksize;
	uint64_t edges[2] = {first, first + count - 1};

	memset(f->v->block, 0, size);
	for (int i = 0; i < 2; i++) {
		struct run run;
		int r;

		if (edges[i] * size >= begin && (edges[i] + 1) * size <= end)
			continue;
		r = run_at(f, edges[i], &run);
		if (r == 0 && run.physical)
			r = contents_put(f, &run, 0, f->v->block, size);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The hole RUN is filled, as far as what is written from BEGIN to END needs it. */
static int fill_hole(struct file *f, const struct run *run, uint64_t begin, uint64_t end)
{
	uint64_t size = f->v->fs->blocksize, count = (end + size - 1) / size - run->block;
	blk64_t physical;
	int r;

	if (count > run->count)
		count = run->count;
	if (f->raw.i_flags & EXT4_EXTENTS_FL) {
		r = contents_reserve(f, run, count, true);
	} else {
		count = 1;
		r = volume_errno(ext2fs_bmap2(f->v->fs, f->ino, file_inode(f), f->v->block, BMAP_ALLOC,
			run->block, NULL, &physical));
		if (r == 0)
			r = file_read(f->v, f->ino, f);
	}
	return r < 0 ? r : zero_edges(f, run->block, count, begin, end);
}

/* It was allocated and never written: now it is. */
static int make_written(struct file *f, const struct run *run, uint64_t begin, uint64_t end)
{
	uint64_t size = f->v->fs->blocksize, count = (end + size - 1) / size - run->block;
	int r;

	if (count > run->count)
		count = run->count;
	r = zero_edges(f, run->block, count, begin, end);
	for (uint64_t i = 0; r == 0 && i < count; i++) {
		blk64_t physical = run->physical + i;

		r = volume_errno(ext2fs_bmap2(f->v->fs, f->ino, file_inode(f), f->v->block, BMAP_SET,
			run->block + i, NULL, &physical));
	}
	return r < 0 ? r : file_read(f->v, f->ino, f);
}

static int write_some(struct file *f, uint64_t offset, const void *from, size_t n, size_t *ret)
{
	uint64_t size = f->v->fs->blocksize, in = offset % size, piece;
	struct run run;
	int r = run_at(f, offset / size, &run);

	if (r == 0 && !run.physical)
		r = fill_hole(f, &run, offset, offset + n);
	else if (r == 0 && run.unwritten)
		r = make_written(f, &run, offset, offset + n);
	if (r == 0)
		r = run_at(f, offset / size, &run);
	if (r < 0)
		return r;
	if (!run.physical || run.unwritten)
		return -EIO;
	piece = run.count > (n + in) / size ? n : run.count * size - in;
	if (piece > n)
		piece = n;
	r = contents_put(f, &run, in, from, piece);
	*ret = piece;
	return r;
}

int contents_write(struct file *f, uint64_t offset, const void *from, size_t n)
{
	if (offset + n > BLOCKS_MAX * (uint64_t)f->v->fs->blocksize)
		return -EFBIG;
	while (n > 0) {
		size_t done = 0;
		int r = write_some(f, offset, from, n, &done);

		if (r < 0)
			return r;
		from = (const uint8_t *)from + done;
		offset += done;
		n -= done;
		if (offset > EXT2_I_SIZE(&f->raw)) {
			r = volume_errno(ext2fs_inode_size_set(f->v->fs, file_inode(f), offset));
			if (r == 0)
				r = file_write(f);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

int contents_cut(struct file *f, uint64_t size)
{
	uint64_t block = f->v->fs->blocksize, old = EXT2_I_SIZE(&f->raw), in = size % block;
	errcode_t code;
	struct run run;
	int r = 0;

	if (size > BLOCKS_MAX * block)
		return -EFBIG;
	code = ext2fs_inode_size_set(f->v->fs, file_inode(f), size);
	if (!code && size < old)
		code = ext2fs_punch(
			f->v->fs, f->ino, file_inode(f), f->v->block, (size + block - 1) / block, ~0ull);
	if (code)
		return volume_errno(code);
	r = file_write(f);
	/* What is cut off in the last block must not come back when it grows. */
	if (r == 0 && in && size < old)
		r = run_at(f, size / block, &run);
	if (r == 0 && in && size < old && run.physical && !run.unwritten) {
		memset(f->v->block, 0, block);
		r = contents_put(f, &run, in, f->v->block, block - in);
	}
	return r;
}
