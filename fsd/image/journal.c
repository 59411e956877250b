/* A journal for a file system that was made to be read alone, and now is to be written. */
#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <fcntl.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "image/image.h"
#include "image/mkfs.h"
#include "image/source.h"

#define JOURNAL_SIZE (16u << 20) /* as a disk's (disk.c) */

static errcode_t add(ext2_filsys fs)
{
	struct ext2fs_journal_params journal = {.num_journal_blocks = JOURNAL_SIZE / fs->blocksize};
	/* What was never mounted has only zeros where nothing is. Elsewhere an old journal may lie, and be taken for this one's. */
	int flags = EXT2_MKJOURNAL_NO_MNT_CHECK | (fs->super->s_mtime ? 0 : EXT2_MKJOURNAL_LAZYINIT);
	errcode_t r = ext2fs_read_bitmaps(fs);

	return r ? r : ext2fs_add_journal_inode3(fs, &journal, ~0ULL, flags);
}

int disk_add_journal(int fd, struct op *op, struct image_result *ret, struct err *e)
{
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	ext2_filsys fs = NULL;
	errcode_t r;
	char name[16];

	if (own < 0)
		return err_sys(e, -errno, "ext4");
	*ret = (struct image_result){0};
	op_stage(op, IMAGE_STAGE_JOURNAL);
	initialize_ext2_error_table();
	/* A descriptor, for a worker opens nothing by name; the library closes it. */
	snprintf(name, sizeof(name), "%d", own);
	r = ext2fs_open(name, EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0, unixfd_io_manager, &fs);
	if (r) {
		close_fd(own);
		return mkfs_error(e, r, "opening the file system");
	}
	if (!ext2fs_has_feature_journal(fs->super))
		r = add(fs);
	if (!r)
		return (r = ext2fs_close_free(&fs)) ? mkfs_error(e, r, "writing the journal") : 0;
	ext2fs_free(fs);
	return mkfs_error(e, r, "making a journal");
}
