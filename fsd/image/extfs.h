/*
 * An ext4 that somebody else wrote, read by libext2fs: hostile (a guest's root controls each byte of its disks), so every number is checked before it
 * is used, and nothing is ever written.
 *
 * A struct extfs is one thread's at a time. Errors are -EBADMSG (it is damaged, or made to deceive) unless said.
 */
#ifndef BANGER_IMAGE_EXTFS_H
#define BANGER_IMAGE_EXTFS_H

#include <ext2fs/ext2fs.h>

#include "image/tree.h"

struct extfs;

/*
 * FD: the disk, borrowed; nobody may write to it meanwhile. -EUCLEAN: it was not unmounted, so what it says is not what was written to it; -EOPNOTSUPP: it has what
 * isn't read here (inline data, encryption).
 */
int extfs_open(int fd, struct extfs **ret, struct err *e);
struct extfs *extfs_close(struct extfs *x);
DEFINE_CLEANUP(struct extfs *, extfs_close)

/* Bytes of the whole file system; of what is in use, metadata too, as it says itself: good for showing progress. */
uint64_t extfs_size(const struct extfs *x);
uint64_t extfs_used(const struct extfs *x);

/* Attributes, xattrs and target of inode INO into a fresh inode, the caller's (inode_free()); where its contents are, its extents say, in blocks of extfs_block() bytes. */
int extfs_inode(struct extfs *x, ext2_ino_t ino, struct inode **ret, struct err *e);

struct extfs_name {
	ext2_ino_t ino;
	char name[]; /* none of "", ".", ".."; no '/' */
};
/* What the folder INO holds, in the order of names; *RET is the caller's, by extfs_names_free(). A folder is listed once: a second time it is a loop. */
int extfs_list(struct extfs *x, ext2_ino_t ino, struct extfs_name ***ret, size_t *ret_n, struct err *e);
void extfs_names_free(struct extfs_name **list, size_t n);

/* A time as inodes have it: the low two bits of EXTRA are the seconds' 33rd and 34th, the rest nanoseconds (ext4.h: EXT4_EPOCH_MASK). */
struct timespec extfs_time(uint32_t seconds, uint32_t extra);

/* N bytes of contents at byte OFFSET of the disk. */
int extfs_read(struct extfs *x, uint64_t offset, void *to, size_t n, struct err *e);
/* Bytes of a block: what extents count in. */
uint32_t extfs_block(const struct extfs *x);

#endif
