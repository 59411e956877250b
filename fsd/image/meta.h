/* The insides that writer.c, lane.c and meta.c share. No other file includes this. */
#ifndef BANGER_IMAGE_META_H
#define BANGER_IMAGE_META_H

#include <ext2fs/ext2fs.h>

#include "image/space.h"
#include "image/writer.h"

struct writer {
	int fd;
	ext2_filsys fs;
	struct space *space;
	size_t lanes;
	_Atomic uint64_t content; /* bytes of lanes that are finished */
	uint32_t next_inode;
	bool failed; /* of memory, and nobody could be told yet */
};

/* Blocks for what comes when all contents are written. */
int writer_alloc(struct writer *w, uint32_t n, uint64_t *ret_first, uint32_t *ret_n, struct err *e);
int writer_extent(struct inode *inode, uint32_t logical, uint64_t physical, uint32_t blocks, struct err *e);

#endif
