/*
 * A disk of a stopped VM as libext2fs has it, in the child that serves its files. Nothing is kept back: what libext2fs writes is in the host's page cache at
 * once, but for the bitmaps, the groups' descriptors and the superblock, which volume_settle() and volume_sync() write. From the first change on
 * the superblock says that the file system is not valid, so that whoever finds it after a kill has it checked first (repair.h).
 *
 * Every number on the disk is hostile. The child's memory and time are bounded (child.c), and here every one that leads somewhere is checked. Functions
 * return 0 or -errno.
 */
#ifndef BANGER_OFFLINE_VOLUME_H
#define BANGER_OFFLINE_VOLUME_H

#include <ext2fs/ext2fs.h>
#include <stdbool.h>
#include <stdint.h>

#include "banger/agent_proto.h"
#include "banger/cleanup.h"

struct volume {
	int fd; /* of the disk, for contents */
	ext2_filsys fs;
	bool writable;
	bool changed; /* and the disk says so */
	uint8_t key;  /* the high 8 bits of its files' keys; 0: they are known by inode and generation */
	char *block;  /* room for two blocks, for calls that want it */
};

/*
 * FD: the disk, borrowed for as long as the volume is. KEY as above. WRITE: it may be changed. -EUCLEAN: it was not unmounted, so what it says is not
 * what was written to it; -EOPNOTSUPP: it has what isn't read here; -EROFS: WRITE, and it has what isn't written here.
 */
int volume_open(int fd, uint8_t key, bool write, struct volume **ret);
struct volume *volume_close(struct volume *v);
DEFINE_CLEANUP(struct volume *, volume_close)

/* Before each change: -EROFS. */
int volume_change(struct volume *v);
/* All that was changed is on the disk. */
int volume_sync(struct volume *v);
/* Likewise, and the disk says that it is clean. */
int volume_settle(struct volume *v);

/* The errno of what libext2fs says. */
int volume_errno(errcode_t code);

/* An inode, at work on. */
struct file {
	struct volume *v;
	ext2_ino_t ino;
	struct ext2_inode_large raw;
	bool plain; /* it has no extended attributes */
};

/* Inode INO, in use or not. -ESTALE: there is no such number. */
int file_read(struct volume *v, ext2_ino_t ino, struct file *ret);
/* The same, in use by a name: -ESTALE. */
int file_load(struct volume *v, ext2_ino_t ino, struct file *ret);
int file_write(struct file *f);
/* What libext2fs takes. */
static inline struct ext2_inode *file_inode(struct file *f)
{
	return (struct ext2_inode *)&f->raw;
}

enum file_time {
	FILE_ATIME,
	FILE_MTIME,
	FILE_CTIME,
};
struct timespec file_time(const struct file *f, enum file_time which);
void file_set_time(struct file *f, enum file_time which, struct timespec t);
/* CLOCK_REALTIME as the time of its last change, of contents too (MTIME) or not; not written yet. */
void file_touch(struct file *f, bool mtime);
uint32_t file_device(const struct file *f);
void file_set_device(struct file *f, uint32_t rdev);
void file_attr(const struct file *f, struct agent_attr *ret);

#endif
