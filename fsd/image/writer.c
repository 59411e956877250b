#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "banger/io.h"
#include "image/mkfs.h"
#include "image/meta.h"

#define RUN_MAX    32768u         /* blocks of one extent (ext4: EXT_INIT_MAX_LEN) */
#define CHUNK_SIZE (1024u * 1024) /* gathered before it is written */
#define OUT_SIZE   (1024u * 1024)

int writer_new(int fd, const struct writer_shape *shape, struct writer **ret, struct err *e)
{
	struct writer *w = calloc(1, sizeof(*w));
	int r;

	if (!w || !(w->chunk = malloc(CHUNK_SIZE)) || !(w->out = malloc(OUT_SIZE))) {
		writer_free(w);
		return err_sys(e, -ENOMEM, "image");
	}
	w->fd = fd;
	if (ftruncate(fd, (off_t)shape->size) < 0)
		r = err_sys(e, -errno, "image");
	else
		r = mkfs_make(fd, shape, &w->fs, e);
	if (r < 0) {
		writer_free(w);
		return r;
	}
	w->next_block = w->fs->super->s_first_data_block;
	*ret = w;
	return 0;
}

struct writer *writer_free(struct writer *w)
{
	if (w) {
		if (w->fs)
			ext2fs_free(w->fs);
		free(w->chunk);
		free(w->out);
		free(w);
	}
	return NULL;
}

/* A run of at most N free blocks from where the last one ended on; from the start once more before it gives up. */
int writer_alloc(struct writer *w, uint32_t n, uint64_t *ret_first, uint32_t *ret_n, struct err *e)
{
	blk64_t last = ext2fs_blocks_count(w->fs->super) - 1, first = 0, end = 0;

	for (int round = 0;; round++) {
		if (ext2fs_find_first_zero_block_bitmap2(w->fs->block_map, w->next_block, last, &first) == 0)
			break;
		if (round > 0 || w->next_block == w->fs->super->s_first_data_block)
			return err_set(e, -ENOSPC, "the image is full");
		w->next_block = w->fs->super->s_first_data_block;
	}
	if (n > RUN_MAX)
		n = RUN_MAX;
	if (first + n - 1 > last)
		n = (uint32_t)(last - first + 1);
	if (n > 1 && ext2fs_find_first_set_block_bitmap2(w->fs->block_map, first, first + n - 1, &end) == 0)
		n = (uint32_t)(end - first);
	ext2fs_block_alloc_stats_range(w->fs, first, n, +1);
	w->next_block = first + n <= last ? first + n : w->fs->super->s_first_data_block;
	*ret_first = first;
	*ret_n = n;
	return 0;
}

int writer_extent(struct inode *inode, uint32_t logical, uint64_t physical, uint32_t blocks, struct err *e)
{
	struct extent *last = inode->extent_count ? &inode->extents[inode->extent_count - 1] : NULL;

	if (last && last->logical + last->blocks == logical && last->physical + last->blocks == physical &&
		last->blocks + blocks <= RUN_MAX) {
		last->blocks += blocks;
		return 0;
	}
	if (inode->extent_count == inode->extent_room) {
		size_t room = inode->extent_room ? inode->extent_room * 2 : 1;
		struct extent *bigger = realloc(inode->extents, room * sizeof(*bigger));

		if (!bigger)
			return err_sys(e, -ENOMEM, "image");
		inode->extents = bigger;
		inode->extent_room = room;
	}
	inode->extents[inode->extent_count++] = (struct extent){physical, logical, blocks};
	return 0;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* Bytes go to the disk beside the unpacking, not all at the end when the image is synced. */
static int put(struct writer *w, const void *data, size_t n, uint64_t at)
{
	int r = io_pwrite_full(w->fd, data, n, (off_t)at);

	if (r == 0)
		(void)!sync_file_range(w->fd, (off_t)at, (off_t)n, SYNC_FILE_RANGE_WRITE);
	return r;
}

int writer_flush(struct writer *w, struct err *e)
{
	int r = w->out_size ? put(w, w->out, w->out_size, w->out_at) : 0;

	w->out_size = 0;
	return r < 0 ? err_sys(e, r, "writing the image") : 0;
}

/* A run's bytes: gathered with those before it when it follows them. Files begin at blocks, so the last one is filled up with zeros. */
static int put_blocks(struct writer *w, uint64_t at, const uint8_t *data, size_t n, struct err *e)
{
	size_t room = (n + WRITER_BLOCK - 1) / WRITER_BLOCK * WRITER_BLOCK;
	int r;

	if (w->out_size > 0 && (at != w->out_at + w->out_size || w->out_size + room > OUT_SIZE)) {
		r = writer_flush(w, e);
		if (r < 0)
			return r;
	}
	if (room > OUT_SIZE / 2) {
		r = w->out_size ? writer_flush(w, e) : 0;
		if (r == 0 && (r = put(w, data, n, at)) < 0)
			err_sys(e, r, "writing the image");
		return r;
	}
	if (w->out_size == 0)
		w->out_at = at;
	memcpy(w->out + w->out_size, data, n);
	memset(w->out + w->out_size + n, 0, room - n);
	w->out_size += room;
	return 0;
}

/* N bytes, whole blocks but at the end of a file, that are not zeros. */
static int write_run(
	struct writer *w, struct inode *inode, uint64_t offset, const uint8_t *data, size_t n, struct err *e)
{
	while (n > 0) {
		uint32_t want = (uint32_t)((n + WRITER_BLOCK - 1) / WRITER_BLOCK), got;
		uint64_t first;
		size_t bytes;
		int r = writer_alloc(w, want, &first, &got, e);

		if (r < 0)
			return r;
		bytes = (size_t)got * WRITER_BLOCK < n ? (size_t)got * WRITER_BLOCK : n;
		r = put_blocks(w, first * WRITER_BLOCK, data, bytes, e);
		if (r == 0)
			r = writer_extent(inode, (uint32_t)(offset / WRITER_BLOCK), first, got, e);
		if (r < 0)
			return r;
		offset += bytes;
		data += bytes;
		n -= bytes;
		w->content += bytes;
	}
	return 0;
}

/* What was gathered, less its blocks of zeros. */
static int flush(struct writer *w, struct inode *inode, struct err *e)
{
	size_t at = 0;

	while (at < w->chunk_size) {
		size_t end = at, block;
		int r;

		while (end < w->chunk_size) {
			block = w->chunk_size - end < WRITER_BLOCK ? w->chunk_size - end : WRITER_BLOCK;
			if (all_zero(w->chunk + end, block))
				break;
			end += block;
		}
		if (end > at) {
			r = write_run(w, inode, w->chunk_at + at, w->chunk + at, end - at, e);
			if (r < 0)
				return r;
			at = end;
		}
		while (at < w->chunk_size) {
			block = w->chunk_size - at < WRITER_BLOCK ? w->chunk_size - at : WRITER_BLOCK;
			if (!all_zero(w->chunk + at, block))
				break;
			at += block;
		}
	}
	w->chunk_at += w->chunk_size;
	w->chunk_size = 0;
	return 0;
}

int writer_data(
	struct writer *w, struct inode *inode, uint64_t offset, const void *data, size_t n, struct err *e)
{
	const uint8_t *p = data;

	if (offset < w->chunk_at + w->chunk_size)
		return err_set(e, -EBADMSG, "contents that go backwards");
	if (offset > (uint64_t)UINT32_MAX * WRITER_BLOCK - n)
		return err_set(e, -EFBIG, "a file larger than ext4 takes");
	while (n > 0) {
		uint64_t have = w->chunk_at + w->chunk_size;
		size_t room, take;
		int r;

		/* A hole: as far as the chunk goes it is zeros; beyond, the chunk begins anew at the block of OFFSET. */
		if (offset > have && offset - w->chunk_at >= CHUNK_SIZE) {
			r = flush(w, inode, e);
			if (r < 0)
				return r;
			w->chunk_at = offset - offset % WRITER_BLOCK;
			have = w->chunk_at;
		}
		if (offset > have) {
			memset(w->chunk + w->chunk_size, 0, (size_t)(offset - have));
			w->chunk_size += (size_t)(offset - have);
		}
		room = CHUNK_SIZE - w->chunk_size;
		take = n < room ? n : room;
		memcpy(w->chunk + w->chunk_size, p, take);
		w->chunk_size += take;
		offset += take;
		p += take;
		n -= take;
		if (w->chunk_size == CHUNK_SIZE && (r = flush(w, inode, e)) < 0)
			return r;
	}
	return 0;
}

int writer_end(struct writer *w, struct inode *inode, uint64_t size, struct err *e)
{
	int r = flush(w, inode, e);

	w->chunk_at = w->chunk_size = 0;
	inode->size = size;
	return r;
}

void writer_drop(void *writer, struct inode *inode)
{
	struct writer *w = writer;

	/* What is gathered may be its own; an error comes again at the end. */
	if (inode->extent_count > 0 && writer_flush(w, NULL) < 0)
		w->failed = true;
	for (size_t i = 0; i < inode->extent_count; i++) {
		struct extent *x = &inode->extents[i];

		ext2fs_block_alloc_stats_range(w->fs, x->physical, x->blocks, -1);
		/* Blocks that another file gets later must read as zeros where that one writes nothing. */
		fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			(off_t)(x->physical * WRITER_BLOCK), (off_t)x->blocks * WRITER_BLOCK);
	}
	inode->extent_count = 0;
}
