/* The insides that writer.c and meta.c share. No other file includes this. */
#ifndef BANGER_IMAGE_META_H
#define BANGER_IMAGE_META_H

#include <ext2fs/ext2fs.h>

#include "image/writer.h"

struct writer {
	int fd;
	ext2_filsys fs;
	uint64_t next_block, content;
	uint8_t *chunk; /* contents being gathered, from byte CHUNK_AT of the file at work */
	uint64_t chunk_at;
	size_t chunk_size;
	uint32_t next_inode;
	uint8_t *out; /* blocks that follow each other on the disk, of many small files: written together */
	uint64_t out_at;
	size_t out_size;
	bool failed; /* a write whose failure nobody could be told yet */
};

int writer_flush(struct writer *w, struct err *e);

int writer_alloc(struct writer *w, uint32_t n, uint64_t *ret_first, uint32_t *ret_n, struct err *e);
int writer_extent(struct inode *inode, uint32_t logical, uint64_t physical, uint32_t blocks, struct err *e);

#endif
