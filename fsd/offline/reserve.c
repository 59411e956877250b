/* Blocks for a file with a tree of extents, in runs as long as there are: not by way of ext2fs_fallocate(), which joins neighbours that have to stay apart. */
#include <errno.h>

#include "offline/serving.h"

/* ext4_extents.h: EXT_INIT_MAX_LEN, EXT_UNWRITTEN_MAX_LEN */
#define WRITTEN_MAX   32768u
#define UNWRITTEN_MAX 32767u

/* Where HANDLE stands: the extent before BLOCK, or else what there is, if anything. 0: *RET is before it. */
static int left_of(ext2_extent_handle_t handle, uint64_t block, struct ext2fs_extent *ret)
{
	errcode_t code = ext2fs_extent_goto(handle, block);

	if (code && code != EXT2_ET_EXTENT_NOT_FOUND && code != EXT2_ET_NO_CURRENT_NODE)
		return volume_errno(code);
	code = ext2fs_extent_get(handle, EXT2_EXTENT_CURRENT, ret);
	if (code == EXT2_ET_NO_CURRENT_NODE || code == EXT2_ET_EXTENT_NO_NEXT)
		return -ENOENT;
	if (code)
		return volume_errno(code);
	return ret->e_lblk < block ? 0 : -ENOENT;
}

/* N blocks from PHYSICAL on, which nobody else has, are F's from BLOCK on, where it had none. */
static int add(ext2_extent_handle_t handle, uint64_t block, uint64_t physical, uint64_t n, bool written)
{
	uint64_t most = written ? WRITTEN_MAX : UNWRITTEN_MAX;
	struct ext2fs_extent left, x = {.e_lblk = block,
					   .e_pblk = physical,
					   .e_len = (uint32_t)n,
					   .e_flags = written ? 0 : EXT2_EXTENT_FLAGS_UNINIT};
	int r = left_of(handle, block, &left);
	errcode_t code;

	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0 && left.e_lblk + left.e_len == block && left.e_pblk + left.e_len == physical &&
		left.e_len + n <= most && !(left.e_flags & EXT2_EXTENT_FLAGS_UNINIT) == written) {
		left.e_len += (uint32_t)n;
		return volume_errno(ext2fs_extent_replace(handle, 0, &left));
	}
	code = ext2fs_extent_insert(handle, r == 0 ? EXT2_EXTENT_INSERT_AFTER : 0, &x);
	if (!code)
		code = ext2fs_extent_fix_parents(handle);
	return volume_errno(code);
}

/* Of COUNT, as many free blocks as there are in a row, near where F goes on at BLOCK. */
static int find(struct file *f, ext2_extent_handle_t handle, uint64_t block, uint64_t count, blk64_t *ret,
	blk64_t *ret_n)
{
	ext2_filsys fs = f->v->fs;
	struct ext2fs_extent left;
	uint64_t goal, rest;
	errcode_t code;
	int r = left_of(handle, block, &left);

	if (r < 0 && r != -ENOENT)
		return r;
	goal = r == 0 ? left.e_pblk + (block - left.e_lblk)
		      : ext2fs_find_inode_goal(fs, f->ino, file_inode(f), block);
	code = ext2fs_new_range(fs, 0, goal, count, NULL, ret, ret_n);
	if (code)
		return volume_errno(code);
	/* In one group: the library readies that of its first block alone. */
	rest = ext2fs_group_last_block2(fs, ext2fs_group_of_blk2(fs, *ret)) - *ret + 1;
	if (*ret_n > rest)
		*ret_n = rest;
	return 0;
}

static int reserve_some(struct file *f, ext2_extent_handle_t handle, uint64_t block, uint64_t count,
	bool written, uint64_t *ret)
{
	uint64_t most = written ? WRITTEN_MAX : UNWRITTEN_MAX;
	blk64_t physical, n;
	int r = find(f, handle, block, count < most ? count : most, &physical, &n);

	if (r < 0)
		return r;
	/* First, so that a block for the tree is none of them. */
	ext2fs_block_alloc_stats_range(f->v->fs, physical, (blk_t)n, +1);
	r = add(handle, block, physical, n, written);
	if (r < 0) {
		ext2fs_block_alloc_stats_range(f->v->fs, physical, (blk_t)n, -1);
		return r;
	}
	*ret = n;
	return volume_errno(ext2fs_iblk_add_blocks(f->v->fs, file_inode(f), n));
}

int contents_reserve(struct file *f, const struct run *hole, uint64_t count, bool written)
{
	ext2_extent_handle_t handle;
	errcode_t code;
	uint64_t done = 0, n = 0;
	int r = 0;

	if (count > ext2fs_free_blocks_count(f->v->fs->super))
		return -ENOSPC;
	code = ext2fs_extent_open2(f->v->fs, f->ino, file_inode(f), &handle);
	if (code)
		return volume_errno(code);
	for (; r == 0 && done < count; done += n) {
		r = reserve_some(f, handle, hole->block + done, count - done, written, &n);
		if (r < 0)
			break;
	}
	ext2fs_extent_free(handle);
	if (r < 0 && done > 0)
		ext2fs_punch(
			f->v->fs, f->ino, file_inode(f), f->v->block, hole->block, hole->block + done - 1);
	return r < 0 ? r : file_write(f);
}
