/* The empty file system that writer.h fills. No other file includes this. */
#ifndef BANGER_IMAGE_MKFS_H
#define BANGER_IMAGE_MKFS_H

#include <ext2fs/ext2fs.h>

#include "image/writer.h"

/* As mke2fs -t ext4 would make it, less what a sparse file makes needless. */
int mkfs_make(int fd, const struct writer_shape *shape, ext2_filsys *ret, struct err *e);
/* libext2fs's codes as errnos, with its text. */
int mkfs_error(struct err *e, errcode_t code, const char *what);

#endif
