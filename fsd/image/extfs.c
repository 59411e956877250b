#include <errno.h>
#include <et/com_err.h>
#include <fcntl.h>

#include "banger/io.h"
#include "image/extfs.h"

#define TARGET_MAX  4095
#define FAST_TARGET 60 /* a link's target within the inode */
#define EXTENTS_MAX (16u << 20)

struct extfs {
	int fd; /* borrowed */
	ext2_filsys fs;
	ext2fs_inode_bitmap listed;
};

static int failure(struct err *e, errcode_t code, const char *what)
{
	if (code == EXT2_ET_NO_MEMORY || code == ENOMEM)
		return err_sys(e, -ENOMEM, "%s", what);
	return err_set(e, -EBADMSG, "%s: the file system is damaged: %s", what, error_message(code));
}

/* As facts on images, 4: what was written after the last flush is in the journal, or nowhere yet. */
static int check_clean(const struct ext2_super_block *s, struct err *e)
{
	if (ext2fs_has_feature_journal_needs_recovery((struct ext2_super_block *)s) || s->s_last_orphan ||
		ext2fs_has_feature_orphan_present((struct ext2_super_block *)s) ||
		!(s->s_state & EXT2_VALID_FS))
		return err_set(e, -EUCLEAN,
			"its file system was not unmounted, so its last writes are not in place");
	if (s->s_state & EXT2_ERROR_FS)
		return err_set(e, -EUCLEAN, "its file system has errors, says the kernel that mounted it");
	if (ext2fs_has_feature_inline_data((struct ext2_super_block *)s) ||
		ext2fs_has_feature_encrypt((struct ext2_super_block *)s))
		return err_set(e, -EOPNOTSUPP,
			"its file system has inline data or encryption, which are not read here");
	return 0;
}

int extfs_open(int fd, struct extfs **ret, struct err *e)
{
	_cleanup_(extfs_closep) struct extfs *x = calloc(1, sizeof(*x));
	char name[16];
	errcode_t code;
	int own;

	if (!x)
		return err_sys(e, -ENOMEM, "file system");
	initialize_ext2_error_table();
	x->fd = fd;
	/* A descriptor, for a worker opens nothing by name; the library closes it. */
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0)
		return err_sys(e, -errno, "file system");
	snprintf(name, sizeof(name), "%d", own);
	code = ext2fs_open(name, EXT2_FLAG_64BITS, 0, 0, unixfd_io_manager, &x->fs);
	if (code) {
		x->fs = NULL;
		return failure(e, code, "opening it");
	}
	code = ext2fs_allocate_inode_bitmap(x->fs, "folders", &x->listed);
	if (code)
		return failure(e, code, "opening it");
	if (check_clean(x->fs->super, e) < 0)
		return e ? e->code : -EUCLEAN;
	*ret = TAKE_PTR(x);
	return 0;
}

struct extfs *extfs_close(struct extfs *x)
{
	if (!x)
		return NULL;
	if (x->listed)
		ext2fs_free_inode_bitmap(x->listed);
	if (x->fs)
		ext2fs_free(x->fs);
	free(x);
	return NULL;
}

uint32_t extfs_block(const struct extfs *x)
{
	return x->fs->blocksize;
}

uint64_t extfs_size(const struct extfs *x)
{
	return ext2fs_blocks_count(x->fs->super) * x->fs->blocksize;
}

uint64_t extfs_used(const struct extfs *x)
{
	const struct ext2_super_block *s = x->fs->super;
	uint64_t all = ext2fs_blocks_count((struct ext2_super_block *)s),
		 left = ext2fs_free_blocks_count((struct ext2_super_block *)s);

	return (left < all ? all - left : 0) * x->fs->blocksize;
}

int extfs_read(struct extfs *x, uint64_t offset, void *to, size_t n, struct err *e)
{
	uint8_t *at = to;

	while (n > 0) {
		ssize_t k = pread(x->fd, at, n, (off_t)offset);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k < 0 ? err_sys(e, -errno, "reading the disk")
				     : err_set(e, -EBADMSG, "the disk ends before its file system");
		at += k;
		offset += (uint64_t)k;
		n -= (size_t)k;
	}
	return 0;
}

/* Runs in rising order, within the disk; one that goes on where the one before ended is part of it. */
static int add_run(const struct extfs *x, struct inode *inode, uint64_t logical, uint64_t physical,
	uint64_t n, struct err *e)
{
	struct extent *last = inode->extent_count ? &inode->extents[inode->extent_count - 1] : NULL;
	uint64_t end = last ? (uint64_t)last->logical + last->blocks : 0,
		 all = ext2fs_blocks_count(x->fs->super);

	if (logical < end || logical + n > UINT32_MAX || physical == 0 || physical >= all ||
		n > all - physical)
		return err_set(e, -EBADMSG, "its blocks are out of order, or beyond the disk");
	if (last && logical == end && physical == last->physical + last->blocks &&
		n <= UINT32_MAX - last->blocks) {
		last->blocks += (uint32_t)n;
		return 0;
	}
	if (inode->extent_count == inode->extent_room) {
		size_t room = inode->extent_room ? inode->extent_room * 2 : 4;
		struct extent *more;

		if (room > EXTENTS_MAX)
			return err_set(e, -EFBIG, "a file in more than %u pieces", EXTENTS_MAX);
		more = reallocarray(inode->extents, room, sizeof(*more));
		if (!more)
			return err_sys(e, -ENOMEM, "extents");
		inode->extents = more;
		inode->extent_room = room;
	}
	inode->extents[inode->extent_count++] =
		(struct extent){.physical = physical, .logical = (uint32_t)logical, .blocks = (uint32_t)n};
	return 0;
}

/* Extents that were allocated and never written read as zeros: holes. */
static int read_extents(
	struct extfs *x, ext2_ino_t ino, struct ext2_inode *raw, struct inode *inode, struct err *e)
{
	ext2_extent_handle_t handle = NULL;
	struct ext2fs_extent one;
	errcode_t code = ext2fs_extent_open2(x->fs, ino, raw, &handle);
	uint64_t end = 0, steps = 0;
	int r = 0, op = EXT2_EXTENT_ROOT;

	if (code)
		return failure(e, code, "extents");
	/* The root first, which is no leaf where the tree has inner nodes. */
	while (r == 0 && !(code = ext2fs_extent_get(handle, op, &one))) {
		op = EXT2_EXTENT_NEXT;
		/* A tree that leads to itself has no end. */
		if (++steps > 2 * EXTENTS_MAX)
			r = err_set(e, -EFBIG, "a file in more than %u pieces", EXTENTS_MAX);
		if (r < 0 || !(one.e_flags & EXT2_EXTENT_FLAGS_LEAF))
			continue;
		if (one.e_lblk < end)
			r = err_set(e, -EBADMSG, "its blocks are out of order");
		else if (!(one.e_flags & EXT2_EXTENT_FLAGS_UNINIT))
			r = add_run(x, inode, one.e_lblk, one.e_pblk, one.e_len, e);
		end = one.e_lblk + one.e_len;
	}
	ext2fs_extent_free(handle);
	if (r == 0 && code != EXT2_ET_EXTENT_NO_NEXT && code != EXT2_ET_NO_CURRENT_NODE)
		return failure(e, code, "extents");
	return r;
}

struct gather {
	const struct extfs *x;
	struct inode *inode;
	int r;
	struct err *e;
};

static int on_block(ext2_filsys fs, blk64_t *block, e2_blkcnt_t logical, blk64_t ref, int offset, void *user)
{
	struct gather *g = user;

	(void)fs;
	(void)ref;
	(void)offset;
	if (logical < 0)
		return 0;
	g->r = add_run(g->x, g->inode, (uint64_t)logical, *block, 1, g->e);
	return g->r < 0 ? BLOCK_ABORT : 0;
}

static int read_runs(
	struct extfs *x, ext2_ino_t ino, struct ext2_inode *raw, struct inode *inode, struct err *e)
{
	struct gather g = {.x = x, .inode = inode, .e = e};
	errcode_t code;

	if (raw->i_flags & EXT4_EXTENTS_FL)
		return read_extents(x, ino, raw, inode, e);
	code = ext2fs_block_iterate3(
		x->fs, ino, BLOCK_FLAG_READ_ONLY | BLOCK_FLAG_DATA_ONLY, NULL, on_block, &g);
	if (g.r < 0)
		return g.r;
	return code ? failure(e, code, "blocks") : 0;
}

static int read_target(
	struct extfs *x, ext2_ino_t ino, struct ext2_inode *raw, struct inode *inode, struct err *e)
{
	size_t n = (size_t)inode->size;

	if (inode->size == 0 || inode->size > TARGET_MAX)
		return err_set(e, -EBADMSG, "a symbolic link to nothing, or to a path too long");
	inode->target = calloc(1, n + 1);
	if (!inode->target)
		return err_sys(e, -ENOMEM, "link");
	if (ext2fs_is_fast_symlink(raw) && n < FAST_TARGET) {
		memcpy(inode->target, raw->i_block, n);
	} else {
		int r = read_runs(x, ino, raw, inode, e);

		if (r < 0)
			return r;
		if (inode->extent_count == 0 || inode->extents[0].logical != 0 || n > x->fs->blocksize)
			return err_set(e, -EBADMSG, "a symbolic link without a target");
		r = extfs_read(x, inode->extents[0].physical * x->fs->blocksize, inode->target, n, e);
		if (r < 0)
			return r;
	}
	return strlen(inode->target) == n ? 0 : err_set(e, -EBADMSG, "a symbolic link with a NUL in it");
}

static void read_device(const struct ext2_inode *raw, struct inode *inode)
{
	uint32_t old = raw->i_block[0], fresh = raw->i_block[1];

	/* As the kernel has it (kdev_t.h): 8 bits each, or 12 and 20. */
	if (old) {
		inode->major = old >> 8 & 0xff;
		inode->minor = old & 0xff;
	} else {
		inode->major = (fresh & 0xfff00) >> 8;
		inode->minor = (fresh & 0xff) | (fresh >> 12 & 0xfff00);
	}
}

struct xattrs {
	struct inode *inode;
	int r;
	struct err *e;
};

static int on_xattr(char *name, char *value, size_t n, void *user)
{
	struct xattrs *to = user;

	to->r = inode_add_xattr(to->inode, name, value, n, to->e);
	return to->r < 0 ? XATTR_ABORT : 0;
}

static int read_xattrs(struct extfs *x, ext2_ino_t ino, struct inode *inode, struct err *e)
{
	struct ext2_xattr_handle *handle = NULL;
	struct xattrs to = {.inode = inode, .e = e};
	errcode_t code = ext2fs_xattrs_open(x->fs, ino, &handle);

	if (!code)
		code = ext2fs_xattrs_read(handle);
	if (!code)
		code = ext2fs_xattrs_iterate(handle, on_xattr, &to);
	if (handle)
		ext2fs_xattrs_close(&handle);
	if (to.r < 0)
		return to.r;
	return code ? failure(e, code, "extended attributes") : 0;
}

struct timespec extfs_time(uint32_t seconds, uint32_t extra)
{
	uint32_t nsec = extra >> 2;

	return (struct timespec){.tv_sec = (int64_t)(int32_t)seconds + ((int64_t)(extra & 3) << 32),
		.tv_nsec = nsec < 1000000000 ? nsec : 0};
}

static void read_times(const struct extfs *x, const struct ext2_inode_large *raw, struct inode *inode)
{
	bool large = EXT2_INODE_SIZE(x->fs->super) >= sizeof(*raw) &&
		     raw->i_extra_isize + 128u >= offsetof(struct ext2_inode_large, i_crtime);

	inode->mtime = extfs_time(raw->i_mtime, large ? raw->i_mtime_extra : 0);
	inode->atime = extfs_time(raw->i_atime, large ? raw->i_atime_extra : 0);
	inode->ctime = extfs_time(raw->i_ctime, large ? raw->i_ctime_extra : 0);
}

static int fill(
	struct extfs *x, ext2_ino_t ino, struct ext2_inode_large *large, struct inode *inode, struct err *e)
{
	struct ext2_inode *raw = (struct ext2_inode *)large;
	int r;

	inode->uid = inode_uid(*raw);
	inode->gid = inode_gid(*raw);
	inode->links = raw->i_links_count;
	inode->number = ino;
	read_times(x, large, inode);
	r = read_xattrs(x, ino, inode, e);
	if (r < 0)
		return r;
	switch (inode->mode & S_IFMT) {
	case S_IFREG:
		inode->size = EXT2_I_SIZE(raw);
		/* Blocks are counted in 32 bits. */
		return inode->size > ((uint64_t)UINT32_MAX + 1) * x->fs->blocksize
			       ? err_set(e, -EBADMSG, "a size that no file has")
			       : read_runs(x, ino, raw, inode, e);
	case S_IFLNK:
		inode->size = EXT2_I_SIZE(raw);
		return read_target(x, ino, raw, inode, e);
	case S_IFCHR:
	case S_IFBLK:
		read_device(raw, inode);
		return 0;
	case S_IFDIR:
	case S_IFIFO:
	case S_IFSOCK:
		return 0;
	default:
		return err_set(e, -EBADMSG, "an inode of a kind that no file system has");
	}
}

int extfs_inode(struct extfs *x, ext2_ino_t ino, struct inode **ret, struct err *e)
{
	struct ext2_inode_large raw = {0};
	struct inode *inode = NULL;
	errcode_t code;
	int r;

	if (ino == 0 || ino > x->fs->super->s_inodes_count)
		return err_set(e, -EBADMSG, "an inode number that the file system hasn't got");
	code = ext2fs_read_inode_full(x->fs, ino, (struct ext2_inode *)&raw, sizeof(raw));
	if (code)
		return failure(e, code, "inode");
	r = inode_new(raw.i_mode, &inode, e);
	if (r == 0)
		r = fill(x, ino, &raw, inode, e);
	if (r < 0) {
		inode_free(inode);
		return r;
	}
	*ret = inode;
	return 0;
}

struct listing {
	struct extfs_name **list;
	size_t n, room;
	int r;
	struct err *e;
};

static int add_name(struct listing *l, const struct ext2_dir_entry *entry)
{
	size_t n = (size_t)ext2fs_dirent_name_len(entry);
	const char *name = entry->name;
	struct extfs_name *one;

	if ((n == 1 && name[0] == '.') || (n == 2 && name[0] == '.' && name[1] == '.'))
		return 0;
	if (n == 0 || memchr(name, '/', n) || memchr(name, '\0', n))
		return err_set(l->e, -EBADMSG, "a name that no file can have");
	if (l->n == TREE_ENTRIES_MAX)
		return err_set(l->e, -EFBIG, "more than %u entries", TREE_ENTRIES_MAX);
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 16;
		struct extfs_name **more = reallocarray(l->list, room, sizeof(*more));

		if (!more)
			return err_sys(l->e, -ENOMEM, "folder");
		l->list = more;
		l->room = room;
	}
	one = malloc(sizeof(*one) + n + 1);
	if (!one)
		return err_sys(l->e, -ENOMEM, "folder");
	one->ino = entry->inode;
	memcpy(one->name, name, n);
	one->name[n] = '\0';
	l->list[l->n++] = one;
	return 0;
}

static int on_entry(struct ext2_dir_entry *entry, int offset, int size, char *buf, void *user)
{
	struct listing *l = user;

	(void)offset;
	(void)size;
	(void)buf;
	l->r = add_name(l, entry);
	return l->r < 0 ? DIRENT_ABORT : 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct extfs_name *const *)a)->name, (*(struct extfs_name *const *)b)->name);
}

void extfs_names_free(struct extfs_name **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

int extfs_list(struct extfs *x, ext2_ino_t ino, struct extfs_name ***ret, size_t *ret_n, struct err *e)
{
	struct listing l = {.e = e};
	errcode_t code;

	if (ext2fs_mark_inode_bitmap2(x->listed, ino))
		return err_set(e, -EBADMSG, "a folder that is in two places");
	code = ext2fs_dir_iterate(x->fs, ino, 0, NULL, on_entry, &l);
	if (l.r == 0 && code)
		l.r = failure(e, code, "folder");
	if (l.r < 0) {
		extfs_names_free(l.list, l.n);
		return l.r;
	}
	if (l.n)
		qsort(l.list, l.n, sizeof(*l.list), by_name);
	for (size_t i = 1; i < l.n; i++)
		if (strcmp(l.list[i - 1]->name, l.list[i]->name) == 0) {
			extfs_names_free(l.list, l.n);
			return err_set(e, -EBADMSG, "a folder with one name twice");
		}
	*ret = l.list;
	*ret_n = l.n;
	return 0;
}
