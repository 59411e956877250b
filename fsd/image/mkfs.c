#include <errno.h>
#include <et/com_err.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/random.h>

#include "image/mkfs.h"

#define INODE_RATIO 16384

int mkfs_error(struct err *e, errcode_t code, const char *what)
{
	/* Below the library's own numbers they are errnos. */
	if (code > 0 && code < 4096)
		return err_sys(e, -(int)code, "%s", what);
	if (code == EXT2_ET_BLOCK_ALLOC_FAIL || code == EXT2_ET_INODE_ALLOC_FAIL)
		return err_set(e, -ENOSPC, "%s: the file system is full", what);
	return err_set(e, code == EXT2_ET_NO_MEMORY ? -ENOMEM : -EIO, "%s: %s", what, error_message(code));
}

/* 32 bytes that hang on SEED alone: uuid and hash seed. */
static int seed_bytes(const char *seed, unsigned char ret[32])
{
	unsigned n = 32;

	if (!seed)
		return getrandom(ret, 32, 0) == 32 ? 0 : -EIO;
	return EVP_Digest(seed, strlen(seed), ret, &n, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

static void set_super(ext2_filsys fs, const unsigned char seed[32])
{
	struct ext2_super_block *s = fs->super;

	memcpy(s->s_uuid, seed, sizeof(s->s_uuid));
	s->s_uuid[6] = (uint8_t)((s->s_uuid[6] & 0x0f) | 0x40); /* RFC 4122: version 4 */
	s->s_uuid[8] = (uint8_t)((s->s_uuid[8] & 0x3f) | 0x80);
	memcpy(s->s_hash_seed, seed + 16, sizeof(s->s_hash_seed));
	s->s_def_hash_version = EXT2_HASH_HALF_MD4;
	s->s_checksum_type = EXT2_CRC32C_CHKSUM;
	s->s_max_mnt_count = -1;
	s->s_default_mount_opts |= EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
	s->s_min_extra_isize = s->s_want_extra_isize = 32;
	s->s_flags |= EXT2_FLAGS_SIGNED_HASH;
	ext2fs_init_csum_seed(fs);
}

/* The file reads as zeros: no inode table needs zeroing, now or by the guest's kernel. */
static void mark_groups(ext2_filsys fs)
{
	for (dgrp_t g = 0; g < fs->group_desc_count; g++) {
		ext2fs_bg_flags_set(fs, g, EXT2_BG_INODE_UNINIT | EXT2_BG_INODE_ZEROED);
		ext2fs_bg_itable_unused_set(fs, g, fs->super->s_inodes_per_group);
		ext2fs_group_desc_csum_set(fs, g);
	}
}

static errcode_t reserve_inodes(ext2_filsys fs)
{
	for (ext2_ino_t i = EXT2_ROOT_INO + 1; i < EXT2_FIRST_INODE(fs->super); i++)
		ext2fs_inode_alloc_stats2(fs, i, +1, 0);
	ext2fs_inode_alloc_stats2(fs, EXT2_BAD_INO, +1, 0);
	return ext2fs_update_bb_inode(fs, NULL);
}

int mkfs_make(int fd, const struct writer_shape *shape, ext2_filsys *ret, struct err *e)
{
	struct ext2_super_block param = {
		.s_rev_level = EXT2_DYNAMIC_REV,
		.s_log_block_size = 2,
		.s_log_cluster_size = 2,
		.s_inode_size = 256,
		.s_desc_size = EXT2_MIN_DESC_SIZE_64BIT,
		.s_log_groups_per_flex = 4,
		.s_feature_compat = EXT2_FEATURE_COMPAT_EXT_ATTR | EXT2_FEATURE_COMPAT_DIR_INDEX,
		.s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |
				      EXT4_FEATURE_INCOMPAT_FLEX_BG | EXT4_FEATURE_INCOMPAT_64BIT,
		.s_feature_ro_compat = EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER |
				       EXT2_FEATURE_RO_COMPAT_LARGE_FILE | EXT4_FEATURE_RO_COMPAT_HUGE_FILE |
				       EXT4_FEATURE_RO_COMPAT_DIR_NLINK | EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE |
				       EXT4_FEATURE_RO_COMPAT_METADATA_CSUM,
	};
	uint64_t inodes = shape->inodes ? shape->inodes : shape->size / INODE_RATIO;
	unsigned char seed[32];
	char name[16];
	int own;
	ext2_filsys fs = NULL;
	errcode_t r;

	if (seed_bytes(shape->seed, seed) < 0)
		return err_set(e, -EIO, "no random bytes");
	initialize_ext2_error_table();
	ext2fs_blocks_count_set(&param, shape->size / WRITER_BLOCK);
	param.s_inodes_count = inodes < 64 ? 64 : inodes > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)inodes;
	/* A descriptor, for a worker opens nothing by name; the library closes it. */
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0)
		return err_sys(e, -errno, "making the file system");
	snprintf(name, sizeof(name), "%d", own);
	r = ext2fs_initialize(name, EXT2_FLAG_64BITS, &param, unixfd_io_manager, &fs);
	if (r)
		return mkfs_error(e, r, "making the file system");
	/* With a seed nothing hangs on the clock either. */
	if (shape->seed)
		fs->now = fs->super->s_mkfs_time = fs->super->s_lastcheck = 1;
	set_super(fs, seed);
	r = ext2fs_allocate_tables(fs);
	if (!r) {
		mark_groups(fs);
		r = ext2fs_mkdir(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, NULL);
	}
	if (!r)
		r = reserve_inodes(fs);
	if (!r)
		r = ext2fs_mkdir(fs, EXT2_ROOT_INO, 0, "lost+found");
	if (!r && shape->journal) {
		struct ext2fs_journal_params journal = {
			.num_journal_blocks = (blk_t)(shape->journal / WRITER_BLOCK)};

		r = ext2fs_add_journal_inode3(
			fs, &journal, ~0ULL, EXT2_MKJOURNAL_LAZYINIT | EXT2_MKJOURNAL_NO_MNT_CHECK);
	}
	if (r) {
		ext2fs_free(fs);
		return mkfs_error(e, r, "making the file system");
	}
	*ret = fs;
	return 0;
}
