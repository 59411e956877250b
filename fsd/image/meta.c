/* Inodes and folders: written when all names and contents are known. */
#include <errno.h>
#include <linux/kdev_t.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "image/folder.h"
#include "image/mkfs.h"
#include "image/meta.h"

#define FAST_LINK_MAX 60    /* a shorter target lives in the inode (ext4: EXT4_N_BLOCKS * 4) */
#define DIR_LINKS_MAX 65000 /* more subfolders, and the count is 1: not kept (dir_nlink) */
#define TIME_MIN      (-2147483648ll)
#define TIME_MAX      15032385535ll /* year 2446: 34 bits from -2^31 on */

static uint32_t clamp_time(const struct timespec *t, uint32_t *ret_extra)
{
	int64_t sec = t->tv_sec < TIME_MIN ? TIME_MIN : t->tv_sec > TIME_MAX ? TIME_MAX : t->tv_sec;

	/* Two more bits of the seconds beside 30 of nanoseconds (kernel: fs/ext4/ext4.h, ext4_encode_extra_time). */
	*ret_extra = (uint32_t)(((sec - (int32_t)sec) >> 32) & 3) | (uint32_t)t->tv_nsec << 2;
	return (uint32_t)(int32_t)sec;
}

static void fill_inode(const struct inode *from, uint32_t links, struct ext2_inode_large *to)
{
	memset(to, 0, sizeof(*to));
	to->i_mode = (uint16_t)from->mode;
	to->i_uid = (uint16_t)from->uid;
	to->i_gid = (uint16_t)from->gid;
	to->osd2.linux2.l_i_uid_high = (uint16_t)(from->uid >> 16);
	to->osd2.linux2.l_i_gid_high = (uint16_t)(from->gid >> 16);
	to->i_links_count = (uint16_t)links;
	to->i_extra_isize = 32;
	to->i_atime = clamp_time(&from->atime, &to->i_atime_extra);
	to->i_mtime = clamp_time(&from->mtime, &to->i_mtime_extra);
	to->i_ctime = clamp_time(&from->ctime, &to->i_ctime_extra);
	to->i_crtime = to->i_mtime;
	to->i_crtime_extra = to->i_mtime_extra;
}

/* Up to four extents fit into the inode. */
static void fill_extents(const struct inode *from, struct ext2_inode_large *to)
{
	struct ext3_extent_header *head = (struct ext3_extent_header *)to->i_block;
	struct ext3_extent *x = (struct ext3_extent *)(head + 1);

	to->i_flags |= EXT4_EXTENTS_FL;
	head->eh_magic = EXT3_EXT_MAGIC;
	head->eh_max = 4;
	for (size_t i = 0; from->extent_count <= 4 && i < from->extent_count; i++) {
		x[i].ee_block = from->extents[i].logical;
		x[i].ee_len = (uint16_t)from->extents[i].blocks;
		x[i].ee_start = (uint32_t)from->extents[i].physical;
		x[i].ee_start_hi = (uint16_t)(from->extents[i].physical >> 32);
		head->eh_entries++;
	}
}

/* More than four: the library makes the tree. */
static errcode_t insert_extents(struct writer *w, const struct inode *from)
{
	ext2_extent_handle_t handle;
	errcode_t r = ext2fs_extent_open(w->fs, from->number, &handle);

	for (size_t i = 0; !r && i < from->extent_count; i++) {
		struct ext2fs_extent x = {.e_pblk = from->extents[i].physical,
			.e_lblk = from->extents[i].logical,
			.e_len = from->extents[i].blocks};

		r = ext2fs_extent_insert(handle, i ? EXT2_EXTENT_INSERT_AFTER : 0, &x);
	}
	if (!r)
		r = ext2fs_extent_fix_parents(handle);
	ext2fs_extent_free(handle);
	return r;
}

static errcode_t write_xattrs(struct writer *w, const struct inode *from)
{
	struct ext2_xattr_handle *handle;
	errcode_t r = ext2fs_xattrs_open(w->fs, from->number, &handle);

	if (r)
		return r;
	for (const struct xattr *x = from->xattrs; x && !r; x = x->next)
		r = ext2fs_xattr_set(handle, x->name, x->value, x->size);
	ext2fs_xattrs_close(&handle);
	return r;
}

static int write_inode(struct writer *w, struct inode *from, uint32_t links, struct err *e)
{
	struct ext2_inode_large to;
	uint64_t blocks = 0;
	errcode_t r;

	fill_inode(from, links, &to);
	for (size_t i = 0; i < from->extent_count; i++)
		blocks += from->extents[i].blocks;
	if (S_ISCHR(from->mode) || S_ISBLK(from->mode)) {
		/* Old form where it fits, else the new one (fs/ext4/inode.c: ext4_iget). */
		if (from->major < 256 && from->minor < 256)
			to.i_block[0] = from->major << 8 | from->minor;
		else
			to.i_block[1] =
				(from->minor & 0xff) | from->major << 8 | (from->minor & ~0xffu) << 12;
	} else if (S_ISLNK(from->mode) && from->size < FAST_LINK_MAX) {
		memcpy(to.i_block, from->target, from->size);
	} else if (S_ISREG(from->mode) || S_ISDIR(from->mode) || S_ISLNK(from->mode)) {
		fill_extents(from, &to);
	}
	if (from->indexed)
		to.i_flags |= EXT2_INDEX_FL;
	ext2fs_inode_size_set(w->fs, (struct ext2_inode *)&to, from->size);
	ext2fs_iblk_set(w->fs, (struct ext2_inode *)&to, blocks);
	r = ext2fs_write_inode_full(w->fs, from->number, (struct ext2_inode *)&to, sizeof(to));
	if (!r && from->extent_count > 4)
		r = insert_extents(w, from);
	if (!r && from->xattrs)
		r = write_xattrs(w, from);
	return r ? mkfs_error(e, r, "writing an inode") : 0;
}

static int number_child(void *user, struct node *child)
{
	struct writer *w = user;
	struct inode *inode = child->inode;

	if (inode->number == 0) {
		if (w->next_inode > w->fs->super->s_inodes_count)
			return -ENOSPC;
		inode->number = w->next_inode++;
		ext2fs_inode_alloc_stats2(w->fs, inode->number, +1, S_ISDIR(inode->mode));
	}
	return 0;
}

struct visit {
	struct writer *w;
	struct err *e;
	uint8_t *block;
};

static int write_dir(struct visit *v, struct node *dir);

static int write_link_target(struct visit *v, struct inode *inode)
{
	uint64_t first;
	uint32_t got;
	errcode_t code;
	int r;

	if (inode->size < FAST_LINK_MAX)
		return 0;
	memset(v->block, 0, WRITER_BLOCK);
	memcpy(v->block, inode->target, inode->size);
	r = writer_alloc(v->w, 1, &first, &got, v->e);
	if (r == 0)
		r = writer_extent(inode, 0, first, 1, v->e);
	if (r < 0)
		return r;
	/* By the library: it may hold what mkfs wrote to this block, and would write that later. */
	code = io_channel_write_blk64(v->w->fs->io, first, 1, v->block);
	return code ? mkfs_error(v->e, code, "writing the image") : 0;
}

static int write_child(void *user, struct node *child)
{
	struct visit *v = user;
	struct inode *inode = child->inode;
	int r = 0;

	if (S_ISDIR(inode->mode))
		return write_dir(v, child);
	if (inode->written)
		return 0;
	inode->written = true;
	if (S_ISLNK(inode->mode))
		r = write_link_target(v, inode);
	return r < 0 ? r : write_inode(v->w, inode, inode->links, v->e);
}

/* The error is of DIR. */
static void wrap_path(const struct node *dir, struct err *e)
{
	_cleanup_free_ char *path = strdup(dir->parent ? "" : "/");

	for (; path && dir->parent; dir = dir->parent) {
		char *longer;

		if (asprintf(&longer, "/%s%s", dir->name, path) < 0)
			longer = NULL;
		free(path);
		path = longer;
	}
	for (char *p = path; p && *p; p++)
		if ((unsigned char)*p < ' ' || *p == 127)
			*p = '?';
	err_wrap(e, "%s", path ? path : "a folder");
}

/* A folder's own blocks, its inode, then what is in it. */
static int write_dir(struct visit *v, struct node *dir)
{
	uint32_t links = 2 + dir->subdirs;
	int r = itree_each(dir, number_child, v->w);

	if (r < 0)
		return err_set(v->e, r, "the image has no inode left: more files than it was made for");
	r = folder_write(v->w, dir, v->e);
	if (r < 0) {
		wrap_path(dir, v->e);
		return r;
	}
	if (r == 0)
		r = write_inode(v->w, dir->inode, links > DIR_LINKS_MAX ? 1 : links, v->e);
	return r == 0 ? itree_each(dir, write_child, v) : r;
}

/* lost+found stands in the image as mkfs made it: it gets its name back, unless the source brings one. */
static int keep_lost_and_found(struct itree *t, struct err *e)
{
	struct inode *inode = NULL;
	int r;

	if (itree_has(t, "lost+found"))
		return 0;
	r = inode_new(S_IFDIR | 0700, &inode, e);
	if (r < 0)
		return r;
	inode->mtime = inode->atime = inode->ctime = (struct timespec){.tv_sec = 1};
	return itree_put(t, "lost+found", inode, e);
}

int writer_finish(struct writer *w, struct itree *t, uint64_t *ret_content, struct err *e)
{
	struct visit v = {.w = w, .e = e};
	struct ext2_inode old;
	errcode_t code;
	int r;

	r = w->failed ? err_sys(e, -ENOMEM, "image") : 0;
	if (r == 0)
		r = keep_lost_and_found(t, e);
	if (r < 0)
		return r;
	/* What was dropped since. */
	writer_turn(w);
	/* The two folders that mkfs made are made anew with everything else. */
	for (ext2_ino_t i = EXT2_ROOT_INO; i; i = i == EXT2_ROOT_INO ? EXT2_FIRST_INODE(w->fs->super) : 0) {
		blk64_t block = 0;

		if (ext2fs_read_inode(w->fs, i, &old) == 0 && old.i_links_count)
			for (blk64_t b = 0; b < EXT2_I_SIZE(&old) / WRITER_BLOCK; b++)
				if (ext2fs_bmap2(w->fs, i, &old, NULL, 0, b, NULL, &block) == 0 && block)
					ext2fs_block_alloc_stats2(w->fs, block, -1);
		ext2fs_inode_alloc_stats2(w->fs, i, -1, 1);
	}
	w->next_inode = EXT2_FIRST_INODE(w->fs->super);
	t->root->inode->number = EXT2_ROOT_INO;
	ext2fs_inode_alloc_stats2(w->fs, EXT2_ROOT_INO, +1, 1);
	v.block = malloc(WRITER_BLOCK);
	if (!v.block)
		return err_sys(e, -ENOMEM, "image");
	r = write_dir(&v, t->root);
	free(v.block);
	if (r < 0)
		return r;
	code = ext2fs_close2(w->fs, EXT2_FLAG_FLUSH_NO_SYNC);
	w->fs = NULL;
	if (code)
		return mkfs_error(e, code, "finishing the image");
	*ret_content = w->content;
	return 0;
}
