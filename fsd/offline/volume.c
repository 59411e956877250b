#include "offline/volume.h"

#include <errno.h>
#include <et/com_err.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "image/extfs.h"
#include "offline/repair.h"

#define EXTRA_AT    128         /* bytes of an inode before i_extra_isize */
#define XATTR_MAGIC 0xea020000u /* fs/ext4/xattr.h: EXT4_XATTR_MAGIC, behind that */
#define INODE_READ  256         /* bytes of an inode that are looked at */

/* What the child reads; a write through libext2fs would leave the rest of these behind. */
static bool can_read(ext2_filsys fs)
{
	return !ext2fs_has_feature_inline_data(fs->super) && !ext2fs_has_feature_encrypt(fs->super) &&
	       !ext2fs_has_feature_casefold(fs->super) && !ext2fs_has_feature_journal_dev(fs->super);
}

static bool can_write(ext2_filsys fs)
{
	return !ext2fs_has_feature_quota(fs->super) && !ext2fs_has_feature_project(fs->super) &&
	       !ext2fs_has_feature_bigalloc(fs->super) && !ext2fs_has_feature_ea_inode(fs->super) &&
	       !ext2fs_has_feature_verity(fs->super) && !ext2fs_has_feature_mmp(fs->super) &&
	       !ext2fs_has_feature_fast_commit(fs->super);
}

int volume_errno(errcode_t code)
{
	static const struct {
		errcode_t code;
		int error;
	} known[] = {
		{EXT2_ET_NO_MEMORY, ENOMEM},
		{EXT2_ET_BLOCK_ALLOC_FAIL, ENOSPC},
		{EXT2_ET_INODE_ALLOC_FAIL, ENOSPC},
		{EXT2_ET_DIR_NO_SPACE, ENOSPC},
		{EXT2_ET_EA_NO_SPACE, ENOSPC},
		{EXT2_ET_FILE_NOT_FOUND, ENOENT},
		{EXT2_ET_FILE_TOO_BIG, EFBIG},
		{EXT2_ET_EA_KEY_NOT_FOUND, ENODATA},
		{EXT2_ET_NO_DIRECTORY, ENOTDIR},
		{EXT2_ET_RO_FILSYS, EROFS},
	};

	/* Below the library's own numbers they are errnos. */
	if (code > 0 && code < 4096)
		return -(int)code;
	for (size_t i = 0; i < ELEMENTSOF(known); i++)
		if (known[i].code == code)
			return -known[i].error;
	return code == 0 ? 0 : -EIO;
}

static int check(struct volume *v, bool write)
{
	struct stat st;

	if (repair_state(v->fs->super) != REPAIR_CLEAN)
		return -EUCLEAN;
	if (!can_read(v->fs))
		return -EOPNOTSUPP;
	if (write && !can_write(v->fs))
		return -EROFS;
	/* libext2fs takes these as they come, and its bitmaps are too small for others (fs/ext4/super.c has the same checks). */
	if (v->fs->super->s_first_data_block != (v->fs->blocksize == 1024) ||
		EXT2_BLOCKS_PER_GROUP(v->fs->super) > 8 * v->fs->blocksize ||
		EXT2_INODES_PER_GROUP(v->fs->super) > 8 * v->fs->blocksize)
		return -EIO;
	/* Its numbers of blocks are of the disk. */
	if (fstat(v->fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) &&
			       ext2fs_blocks_count(v->fs->super) > (uint64_t)st.st_size / v->fs->blocksize
		       ? -EIO
		       : 0;
}

int volume_open(int fd, uint8_t key, bool write, struct volume **ret)
{
	_cleanup_(volume_closep) struct volume *v = calloc(1, sizeof(*v));
	char name[16];
	errcode_t code;
	int own, r;

	if (!v)
		return -ENOMEM;
	initialize_ext2_error_table();
	v->fd = fd;
	v->key = key;
	v->writable = write;
	/* The library opens nothing by name, and closes what it has. */
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0)
		return -errno;
	snprintf(name, sizeof(name), "%d", own);
	code = ext2fs_open(name, EXT2_FLAG_64BITS | EXT2_FLAG_MASTER_SB_ONLY | (write ? EXT2_FLAG_RW : 0), 0,
		0, unixfd_io_manager, &v->fs);
	if (code) {
		v->fs = NULL;
		return code == EXT2_ET_RO_UNSUPP_FEATURE ? -EROFS : volume_errno(code);
	}
	/* Contents are read and written past it: it must keep nothing. */
	code = io_channel_set_options(v->fs->io, "cache=off");
	v->block = code ? NULL : malloc(2 * v->fs->blocksize);
	if (!v->block)
		return code ? volume_errno(code) : -ENOMEM;
	r = check(v, write);
	if (r == 0 && write)
		r = volume_errno(ext2fs_read_bitmaps(v->fs));
	if (r < 0)
		return r;
	*ret = TAKE_PTR(v);
	return 0;
}

struct volume *volume_close(struct volume *v)
{
	if (!v)
		return NULL;
	/* What is to be kept was written by volume_settle(). */
	if (v->fs)
		ext2fs_free(v->fs);
	free(v->block);
	free(v);
	return NULL;
}

static int write_super(struct volume *v)
{
	ext2fs_mark_super_dirty(v->fs);
	return volume_errno(ext2fs_flush2(v->fs, EXT2_FLAG_FLUSH_NO_SYNC));
}

int volume_change(struct volume *v)
{
	int r;

	if (!v->writable)
		return -EROFS;
	if (v->changed)
		return 0;
	v->fs->super->s_state &= (uint16_t)~EXT2_VALID_FS;
	r = write_super(v);
	/* Before anything else is on the disk. */
	if (r == 0 && fdatasync(v->fd) < 0)
		r = -errno;
	v->changed = r == 0;
	return r;
}

int volume_sync(struct volume *v)
{
	int r = v->changed ? write_super(v) : 0;

	return r == 0 && fsync(v->fd) < 0 ? -errno : r;
}

int volume_settle(struct volume *v)
{
	int r = v->changed ? volume_sync(v) : 0;

	if (r < 0 || !v->changed)
		return r;
	v->fs->super->s_state |= EXT2_VALID_FS;
	r = write_super(v);
	if (r == 0 && fdatasync(v->fd) < 0)
		r = -errno;
	v->changed = r < 0;
	return r;
}

static bool is_plain(const struct ext2_inode_large *raw, const uint8_t *whole, size_t size)
{
	size_t at = EXTRA_AT + (size_t)raw->i_extra_isize;
	uint32_t magic = 0;

	if (raw->i_file_acl || raw->osd2.linux2.l_i_file_acl_high)
		return false;
	if (size <= EXTRA_AT || at + sizeof(magic) > size)
		return size <= EXTRA_AT;
	memcpy(&magic, whole + at, sizeof(magic));
	return magic != XATTR_MAGIC;
}

int file_read(struct volume *v, ext2_ino_t ino, struct file *ret)
{
	_Alignas(8) uint8_t whole[INODE_READ] = {0};
	size_t size = EXT2_INODE_SIZE(v->fs->super);
	struct file f = {.v = v, .ino = ino};
	int r;

	if (ino == 0 || ino > v->fs->super->s_inodes_count)
		return -ESTALE;
	r = volume_errno(ext2fs_read_inode_full(v->fs, ino, (struct ext2_inode *)whole, sizeof(whole)));
	if (r < 0)
		return r;
	memcpy(&f.raw, whole, sizeof(f.raw));
	f.plain = is_plain(&f.raw, whole, size < sizeof(whole) ? size : sizeof(whole));
	*ret = f;
	return 0;
}

int file_load(struct volume *v, ext2_ino_t ino, struct file *ret)
{
	/* The others below are the file system's own. */
	if (ino < EXT2_FIRST_INODE(v->fs->super) && ino != EXT2_ROOT_INO)
		return -ESTALE;
	return file_read(v, ino, ret);
}

int file_write(struct file *f)
{
	return volume_errno(ext2fs_write_inode_full(f->v->fs, f->ino, file_inode(f),
		EXT2_INODE_SIZE(f->v->fs->super) < sizeof(f->raw) ? EXT2_INODE_SIZE(f->v->fs->super)
								  : (int)sizeof(f->raw)));
}

static bool has_extra(const struct file *f)
{
	return EXT2_INODE_SIZE(f->v->fs->super) >= sizeof(f->raw) &&
	       f->raw.i_extra_isize + (size_t)EXTRA_AT >= offsetof(struct ext2_inode_large, i_crtime);
}

static void time_fields(
	struct ext2_inode_large *raw, enum file_time which, uint32_t **ret, uint32_t **ret_extra)
{
	*ret = which == FILE_ATIME ? &raw->i_atime : which == FILE_MTIME ? &raw->i_mtime : &raw->i_ctime;
	*ret_extra = which == FILE_ATIME   ? &raw->i_atime_extra
		     : which == FILE_MTIME ? &raw->i_mtime_extra
					   : &raw->i_ctime_extra;
}

struct timespec file_time(const struct file *f, enum file_time which)
{
	struct ext2_inode_large raw = f->raw;
	uint32_t *seconds, *extra;

	time_fields(&raw, which, &seconds, &extra);
	return extfs_time(*seconds, has_extra(f) ? *extra : 0);
}

void file_set_time(struct file *f, enum file_time which, struct timespec t)
{
	uint32_t *seconds, *extra;

	time_fields(&f->raw, which, &seconds, &extra);
	*seconds = (uint32_t)t.tv_sec;
	/* As extfs_time() takes it apart. */
	if (has_extra(f))
		*extra = (uint32_t)((t.tv_sec - (int32_t)t.tv_sec) >> 32 & 3) | (uint32_t)t.tv_nsec << 2;
}

void file_touch(struct file *f, bool mtime)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	file_set_time(f, FILE_CTIME, now);
	if (mtime)
		file_set_time(f, FILE_MTIME, now);
}

/* The kernel's two forms of a device number (include/linux/kdev_t.h): 8 bits each, or 12 and 20, the latter as it goes over the wire too. */
uint32_t file_device(const struct file *f)
{
	return f->raw.i_block[0] ? f->raw.i_block[0] & 0xffff : f->raw.i_block[1];
}

void file_set_device(struct file *f, uint32_t rdev)
{
	f->raw.i_block[rdev > 0xffff] = rdev;
}

void file_attr(const struct file *f, struct agent_attr *ret)
{
	const struct ext2_inode_large *raw = &f->raw;
	struct timespec a = file_time(f, FILE_ATIME), m = file_time(f, FILE_MTIME),
			c = file_time(f, FILE_CTIME);
	bool device = S_ISCHR(raw->i_mode) || S_ISBLK(raw->i_mode);
	struct file copy = *f;

	*ret = (struct agent_attr){
		.ino = f->ino,
		.generation = f->v->key ? f->v->key : raw->i_generation,
		.mode = raw->i_mode,
		.nlink = raw->i_links_count,
		.uid = inode_uid(*raw),
		.gid = inode_gid(*raw),
		.rdev = device ? file_device(f) : 0,
		.flags = f->plain ? AGENT_ATTR_PLAIN : 0,
		.size = EXT2_I_SIZE(raw),
		.blocks = ext2fs_get_stat_i_blocks(f->v->fs, file_inode(&copy)),
		.atime = a.tv_sec,
		.mtime = m.tv_sec,
		.ctime = c.tv_sec,
		.atime_nsec = (uint32_t)a.tv_nsec,
		.mtime_nsec = (uint32_t)m.tv_nsec,
		.ctime_nsec = (uint32_t)c.tv_nsec,
		.space = f->v->key ? AGENT_SPACE_TREE : AGENT_SPACE_WORK,
	};
}
