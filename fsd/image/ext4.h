/*
 * An ext4 that somebody else wrote, read by libext2fs: hostile (a guest's root controls each byte of its disks), so every number is checked before it
 * is used, and nothing is ever written.
 *
 * A struct ext4 is one thread's at a time. Errors are -EBADMSG (it is damaged, or made to deceive) unless said.
 */
#ifndef BANGER_IMAGE_EXT4_H
#define BANGER_IMAGE_EXT4_H

#include <ext2fs/ext2fs.h>

#include "image/tree.h"

struct ext4;

/*
 * FD: the disk, borrowed; nobody may write to it meanwhile. -EUCLEAN: it was not unmounted, so what it says is not what was written to it; -EOPNOTSUPP: it has what
 * isn't read here (inline data, encryption).
 */
int ext4_open(int fd, struct ext4 **ret, struct err *e);
struct ext4 *ext4_close(struct ext4 *x);
DEFINE_CLEANUP(struct ext4 *, ext4_close)

/* Bytes of the whole file system; of what is in use, metadata too, as it says itself: good for showing progress. */
uint64_t ext4_size(const struct ext4 *x);
uint64_t ext4_used(const struct ext4 *x);

/* Attributes, xattrs and target of inode INO into a fresh inode, the caller's (inode_free()); where its contents are, its extents say, in blocks of ext4_block() bytes. */
int ext4_inode(struct ext4 *x, ext2_ino_t ino, struct inode **ret, struct err *e);

struct ext4_name {
	ext2_ino_t ino;
	char name[]; /* none of "", ".", ".."; no '/' */
};
/* What the folder INO holds, in the order of names; *RET is the caller's, by ext4_names_free(). A folder is listed once: a second time it is a loop. */
int ext4_list(struct ext4 *x, ext2_ino_t ino, struct ext4_name ***ret, size_t *ret_n, struct err *e);
void ext4_names_free(struct ext4_name **list, size_t n);

/* N bytes of contents at byte OFFSET of the disk. */
int ext4_read(struct ext4 *x, uint64_t offset, void *to, size_t n, struct err *e);
/* Bytes of a block: what extents count in. */
uint32_t ext4_block(const struct ext4 *x);

#endif
