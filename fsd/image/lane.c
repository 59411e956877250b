#include "image/lane.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "banger/io.h"
#include "image/meta.h"

#define CHUNK_SIZE (1024u * 1024) /* gathered before it is written */
#define OUT_SIZE   (1024u * 1024)
#define DIRECT_MIN (64u * 1024) /* not gathered first */

struct lane {
	struct writer *w;
	size_t number;
	uint8_t *
		chunk; /* contents being gathered, from byte CHUNK_AT of the file at work, which begins a block */
	uint64_t chunk_at;
	size_t chunk_size;
	uint8_t *out; /* blocks that follow each other on the disk, of many small files: written together */
	uint64_t out_at;
	size_t out_size;
	uint64_t content;
};

int lane_new(struct writer *w, size_t number, struct lane **ret, struct err *e)
{
	struct lane *l = calloc(1, sizeof(*l));

	if (!l || !(l->chunk = malloc(CHUNK_SIZE)) || !(l->out = malloc(OUT_SIZE))) {
		lane_free(l);
		return err_sys(e, -ENOMEM, "image");
	}
	l->w = w;
	l->number = number;
	*ret = l;
	return 0;
}

struct lane *lane_free(struct lane *l)
{
	if (l) {
		free(l->chunk);
		free(l->out);
		free(l);
	}
	return NULL;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* Bytes go to the disk beside the unpacking, not all at the end when the image is synced. */
static int put(const struct lane *l, const void *data, size_t n, uint64_t at)
{
	int r = io_pwrite_full(l->w->fd, data, n, (off_t)at);

	if (r == 0)
		(void)!sync_file_range(l->w->fd, (off_t)at, (off_t)n, SYNC_FILE_RANGE_WRITE);
	return r;
}

static int write_out(struct lane *l, struct err *e)
{
	int r = l->out_size ? put(l, l->out, l->out_size, l->out_at) : 0;

	l->out_size = 0;
	return r < 0 ? err_sys(e, r, "writing the image") : 0;
}

/* A run's bytes: gathered with those before it when it follows them. Files begin at blocks, so the last one is filled up with zeros. */
static int put_blocks(struct lane *l, uint64_t at, const uint8_t *data, size_t n, struct err *e)
{
	size_t room = (n + WRITER_BLOCK - 1) / WRITER_BLOCK * WRITER_BLOCK;
	int r;

	if (l->out_size > 0 && (at != l->out_at + l->out_size || l->out_size + room > OUT_SIZE)) {
		r = write_out(l, e);
		if (r < 0)
			return r;
	}
	if (room > OUT_SIZE / 8) {
		r = l->out_size ? write_out(l, e) : 0;
		if (r == 0 && (r = put(l, data, n, at)) < 0)
			err_sys(e, r, "writing the image");
		return r;
	}
	if (l->out_size == 0)
		l->out_at = at;
	memcpy(l->out + l->out_size, data, n);
	memset(l->out + l->out_size + n, 0, room - n);
	l->out_size += room;
	return 0;
}

/* N bytes, whole blocks but at the end of a file, that are not zeros. */
static int write_run(
	struct lane *l, struct inode *inode, uint64_t offset, const uint8_t *data, size_t n, struct err *e)
{
	while (n > 0) {
		uint32_t want = (uint32_t)((n + WRITER_BLOCK - 1) / WRITER_BLOCK), got;
		uint64_t first;
		size_t bytes;
		int r = space_take(l->w->space, l->number, want, &first, &got, e);

		if (r < 0)
			return r;
		bytes = (size_t)got * WRITER_BLOCK < n ? (size_t)got * WRITER_BLOCK : n;
		r = put_blocks(l, first * WRITER_BLOCK, data, bytes, e);
		if (r == 0)
			r = writer_extent(inode, (uint32_t)(offset / WRITER_BLOCK), first, got, e);
		if (r < 0)
			return r;
		offset += bytes;
		data += bytes;
		n -= bytes;
		l->content += bytes;
	}
	return 0;
}

/* N bytes of the file from AT on, less their blocks of zeros. */
static int write_contents(
	struct lane *l, struct inode *inode, uint64_t at, const uint8_t *data, size_t n, struct err *e)
{
	size_t begin = 0, end, block;
	int r;

	for (size_t i = 0; i < n; i = end) {
		block = n - i < WRITER_BLOCK ? n - i : WRITER_BLOCK;
		end = i + block;
		if (!all_zero(data + i, block))
			continue;
		r = begin < i ? write_run(l, inode, at + begin, data + begin, i - begin, e) : 0;
		if (r < 0)
			return r;
		begin = end;
	}
	return begin < n ? write_run(l, inode, at + begin, data + begin, n - begin, e) : 0;
}

/* What was gathered. */
static int flush(struct lane *l, struct inode *inode, struct err *e)
{
	int r = write_contents(l, inode, l->chunk_at, l->chunk, l->chunk_size, e);

	l->chunk_at += l->chunk_size;
	l->chunk_size = 0;
	return r;
}

/* Up to OFFSET there is nothing: as far as the chunk goes it is zeros; beyond, the chunk begins anew at the block of OFFSET. */
static int skip(struct lane *l, struct inode *inode, uint64_t offset, struct err *e)
{
	size_t gap;

	if (offset - l->chunk_at >= CHUNK_SIZE) {
		int r = flush(l, inode, e);

		if (r < 0)
			return r;
		l->chunk_at = offset - offset % WRITER_BLOCK;
	}
	gap = (size_t)(offset - l->chunk_at) - l->chunk_size;
	memset(l->chunk + l->chunk_size, 0, gap);
	l->chunk_size += gap;
	return 0;
}

/* Whole blocks at the end of what was gathered: *N bytes of DATA are taken, or as many as bring the chunk to the end of a block. */
static int take_blocks(struct lane *l, struct inode *inode, const uint8_t *data, size_t *n, struct err *e)
{
	size_t rest = l->chunk_size % WRITER_BLOCK;
	int r;

	if (rest > 0) {
		*n = WRITER_BLOCK - rest;
		memcpy(l->chunk + l->chunk_size, data, *n);
		l->chunk_size += *n;
		return 0;
	}
	*n -= *n % WRITER_BLOCK;
	r = flush(l, inode, e);
	if (r == 0)
		r = write_contents(l, inode, l->chunk_at, data, *n, e);
	l->chunk_at += *n;
	return r;
}

int lane_data(struct lane *l, struct inode *inode, uint64_t offset, const void *data, size_t n, struct err *e)
{
	const uint8_t *p = data;
	int r = 0;

	if (offset < l->chunk_at + l->chunk_size)
		return err_set(e, -EBADMSG, "contents that go backwards");
	if (offset > (uint64_t)UINT32_MAX * WRITER_BLOCK - n)
		return err_set(e, -EFBIG, "a file larger than ext4 takes");
	if (n > 0 && offset > l->chunk_at + l->chunk_size)
		r = skip(l, inode, offset, e);
	while (r == 0 && n > 0) {
		size_t room = CHUNK_SIZE - l->chunk_size, take = n < room ? n : room;

		if (n >= DIRECT_MIN) {
			take = n;
			r = take_blocks(l, inode, p, &take, e);
		} else {
			memcpy(l->chunk + l->chunk_size, p, take);
			l->chunk_size += take;
		}
		p += take;
		n -= take;
		if (r == 0 && l->chunk_size == CHUNK_SIZE)
			r = flush(l, inode, e);
	}
	return r;
}

int lane_end(struct lane *l, struct inode *inode, uint64_t size, struct err *e)
{
	int r = flush(l, inode, e);

	l->chunk_at = l->chunk_size = 0;
	inode->size = size;
	return r;
}

int lane_finish(struct lane *l, struct err *e)
{
	int r = write_out(l, e);

	atomic_fetch_add(&l->w->content, l->content);
	l->content = 0;
	return r;
}
