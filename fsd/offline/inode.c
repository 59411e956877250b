/* Inodes: made, and gone. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include "offline/serving.h"

static int first_block(struct file *f, struct file *dir)
{
	ext2_filsys fs = f->v->fs;
	char *block = NULL;
	blk64_t number;
	errcode_t code =
		ext2fs_new_block2(fs, ext2fs_find_inode_goal(fs, f->ino, file_inode(f), 0), NULL, &number);

	if (!code)
		code = ext2fs_new_dir_block(fs, f->ino, dir->ino, &block);
	/* Its checksum is made with the inode's generation. */
	if (!code)
		code = ext2fs_write_dir_block4(fs, number, block, 0, f->ino);
	ext2fs_free_mem(&block);
	if (code)
		return volume_errno(code);
	ext2fs_block_alloc_stats2(fs, number, +1);
	f->raw.i_size = fs->blocksize;
	ext2fs_iblk_set(fs, file_inode(f), 1);
	code = ext2fs_bmap2(fs, f->ino, file_inode(f), f->v->block, BMAP_SET, 0, NULL, &number);
	return code ? volume_errno(code) : file_write(f);
}

static int write_fresh(struct file *f)
{
	size_t size = EXT2_INODE_SIZE(f->v->fs->super);
	_cleanup_free_ void *whole = calloc(1, size);

	/* The whole of it: what it was before may have left attributes behind. */
	if (!whole)
		return -ENOMEM;
	memcpy(whole, &f->raw, size < sizeof(f->raw) ? size : sizeof(f->raw));
	return volume_errno(ext2fs_write_inode_full(f->v->fs, f->ino, whole, (int)size));
}

int inode_make(struct file *dir, uint32_t mode, uint32_t uid, uint32_t gid, struct file *ret)
{
	ext2_filsys fs = dir->v->fs;
	bool contents = S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode);
	struct file f = {.v = dir->v, .plain = true};
	ext2_extent_handle_t handle;
	struct timespec now;
	errcode_t code = ext2fs_new_inode(fs, dir->ino, (int)mode, NULL, &f.ino);
	int r;

	if (code)
		return volume_errno(code);
	clock_gettime(CLOCK_REALTIME, &now);
	f.raw.i_mode = (uint16_t)mode;
	f.raw.i_links_count = S_ISDIR(mode) ? 2 : 1;
	f.raw.i_extra_isize = sizeof(f.raw) - EXT2_GOOD_OLD_INODE_SIZE;
	f.raw.i_uid = (uint16_t)uid;
	f.raw.osd2.linux2.l_i_uid_high = (uint16_t)(uid >> 16);
	f.raw.i_gid = (uint16_t)gid;
	f.raw.osd2.linux2.l_i_gid_high = (uint16_t)(gid >> 16);
	file_set_time(&f, FILE_ATIME, now);
	file_set_time(&f, FILE_MTIME, now);
	file_set_time(&f, FILE_CTIME, now);
	f.raw.i_crtime = f.raw.i_ctime;
	f.raw.i_crtime_extra = f.raw.i_ctime_extra;
	if (getrandom(&f.raw.i_generation, sizeof(f.raw.i_generation), GRND_NONBLOCK) < 0)
		f.raw.i_generation = (uint32_t)now.tv_nsec;
	/* An empty tree of extents. */
	if (contents && ext2fs_has_feature_extents(fs->super)) {
		f.raw.i_flags |= EXT4_EXTENTS_FL;
		code = ext2fs_extent_open2(fs, f.ino, file_inode(&f), &handle);
		if (code)
			return volume_errno(code);
		ext2fs_extent_free(handle);
	}
	r = write_fresh(&f);
	if (r < 0)
		return r;
	ext2fs_inode_alloc_stats2(fs, f.ino, +1, S_ISDIR(mode));
	if (S_ISDIR(mode) && (r = first_block(&f, dir)) < 0) {
		f.raw.i_links_count = 0;
		inode_unused(NULL, &f);
		return r;
	}
	*ret = f;
	return 0;
}

int inode_unused(struct serving *s, struct file *f)
{
	ext2_filsys fs = f->v->fs;
	errcode_t code = 0;
	int r;

	f->raw.i_links_count = 0;
	if (s && pin_has(s, f->ino)) {
		s->unnamed++;
		return file_write(f);
	}
	if (ext2fs_inode_has_valid_blocks2(fs, file_inode(f)))
		code = ext2fs_punch(fs, f->ino, file_inode(f), f->v->block, 0, ~0ull);
	if (!code && (f->raw.i_file_acl || f->raw.osd2.linux2.l_i_file_acl_high))
		code = ext2fs_free_ext_attr(fs, f->ino, &f->raw);
	if (code)
		return volume_errno(code);
	f->raw.i_size = 0;
	f->raw.i_size_high = 0;
	f->raw.i_dtime = (uint32_t)time(NULL);
	r = file_write(f);
	if (r == 0)
		ext2fs_inode_alloc_stats2(fs, f->ino, -1, S_ISDIR(f->raw.i_mode));
	return r;
}
