/* What a stream's second thread does: from packed blocks to plain ones. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdatomic.h>

#include "image/inflate.h"
#include "image/stream_state.h"

#define RATIO_MAX  1200 /* more than deflate can pack: a bomb of another kind */
#define RATIO_FREE (1ull << 30)

/* N more bytes of what came out. false: nobody wants them any more, or there is an error. */
static bool put_plain(struct stream *s, uint64_t *total, size_t n)
{
	*total += n;
	if (*total > RATIO_FREE && *total / RATIO_MAX > s->read) {
		err_set(&s->unpack_err, -EBADMSG, "unpacks to more than %d times its size", RATIO_MAX);
		return false;
	}
	if (n > 0)
		queue_put(s->plain, n);
	return true;
}

/*
 * gzip and zstd not by libarchive: it never looks at gzip's checksums, and looks for what is packed within what is packed, without an end where the
 * inner one unpacks to nothing. Members follow each other; what follows the last of gzip and is none (zeros, often) is passed over, as gzip
 * does; behind zstd's it is an error, as with zstd.
 */
static void inflate_all(struct stream *s, enum inflate_by by, const uint8_t *data, size_t n)
{
	_cleanup_(inflate_freep) struct inflate *f = NULL;
	uint8_t *block = NULL, *out = NULL;
	size_t room = 0, before;
	uint64_t total = 0;
	bool between = false, first = true, ended = false;
	int r = inflate_new(by, &f, &s->unpack_err);

	if (r == 0 && s->in.summed)
		inflate_unverified(f);
	while (r >= 0) {
		if (room == 0) {
			if (block && !put_plain(s, &total, QUEUE_BLOCK))
				return;
			if (!(block = out = queue_room(s->plain)))
				return;
			room = QUEUE_BLOCK;
		}
		if (n == 0 && !ended) {
			data = queue_take(s->packed, &n);
			ended = !data;
		}
		if (between && n == 0)
			break;
		/* As far as it can be seen here: ISA-L doesn't look at a header before it has ten bytes. */
		if (between && by != INFLATE_ZSTD && (data[0] != 0x1f || (n > 1 && data[1] != 0x8b)))
			break;
		before = room;
		r = inflate_step(f, &data, &n, &out, &room, &s->unpack_err);
		/* Only what it holds inside may still come when there is no more to read. */
		if (r == 0 && ended && room == before)
			r = err_set(&s->unpack_err, -EBADMSG, "the archive is cut off");
		first &= r != 1;
		between = r == 1;
	}
	if (r == -EILSEQ && by == INFLATE_ZSTD)
		err_set(&s->unpack_err, -EBADMSG,
			"the archive is damaged: what follows its end is no frame of zstd");
	else if (r == -EILSEQ && !first)
		err_clear(&s->unpack_err);
	if (block)
		put_plain(s, &total, QUEUE_BLOCK - room);
}

/* The first block was taken already, to see what it is. */
struct source_block {
	struct stream *s;
	const uint8_t *data;
	size_t n;
};

static ssize_t archive_source(struct archive *a, void *user, const void **ret)
{
	struct source_block *b = user;
	size_t n = b->n;

	(void)a;
	*ret = b->data;
	if (n == 0 && !(*ret = queue_take(b->s->packed, &n)))
		return 0;
	b->n = 0;
	return (ssize_t)n;
}

static struct archive *archive_open(struct source_block *b)
{
	/* All that libarchive knows but those for which it would run a program. */
	static int (*const filters[])(struct archive *) = {archive_read_support_filter_bzip2,
		archive_read_support_filter_compress, archive_read_support_filter_lzma,
		archive_read_support_filter_xz, archive_read_support_filter_lz4};
	struct archive *a = archive_read_new();

	if (!a)
		return NULL;
	for (size_t i = 0; i < ELEMENTSOF(filters) && !b->s->in.layer; i++)
		filters[i](a);
	archive_read_support_format_raw(a);
	archive_read_support_format_empty(a);
	archive_read_open(a, b, NULL, archive_source, NULL);
	return a;
}

static void unpack_all(struct stream *s, const uint8_t *data, size_t n)
{
	struct source_block b = {.s = s, .data = data, .n = n};
	struct archive *a = archive_open(&b);
	struct archive_entry *entry;
	uint64_t total = 0;
	const char *text;
	uint8_t *out;
	ssize_t k;

	if (!a) {
		err_sys(&s->unpack_err, -ENOMEM, "unpacking");
		return;
	}
	/* Of what can't be opened there is no header either. */
	k = archive_read_next_header(a, &entry);
	if (k == ARCHIVE_OK)
		while ((out = queue_room(s->plain)) && (k = archive_read_data(a, out, QUEUE_BLOCK)) > 0)
			if (!put_plain(s, &total, (size_t)k))
				break;
	if (k < 0) {
		text = archive_error_string(a);
		err_set(&s->unpack_err, archive_errno(a) == ENOMEM ? -ENOMEM : -EBADMSG,
			"the archive is cut off or damaged%s%s", text ? ": " : "", text ? text : "");
	}
	archive_read_free(a);
}

/* A frame, or one to be passed over (RFC 8878, 3.1.2). */
static bool is_zstd(const uint8_t *data, size_t n)
{
	return n >= 4 && (memcmp(data, "\x28\xb5\x2f\xfd", 4) == 0 ||
				 (data[0] >> 4 == 5 && memcmp(data + 1, "\x2a\x4d\x18", 3) == 0));
}

void *stream_unpack_thread(void *arg)
{
	struct stream *s = arg;
	size_t n = 0;
	const uint8_t *data = queue_take(s->packed, &n);

	if (data && n > 2 && data[0] == 0x1f && data[1] == 0x8b)
		inflate_all(s, INFLATE_FASTEST, data, n);
	else if (data && is_zstd(data, n))
		inflate_all(s, INFLATE_ZSTD, data, n);
	else if (data)
		unpack_all(s, data, n);
	/* Bytes behind the archive's end belong to the digest; garbage there is none of ours. After an error they don't matter. */
	if (s->unpack_err.code)
		stream_leave_packed(s);
	while (queue_take(s->packed, &n))
		continue;
	queue_end(s->plain);
	return NULL;
}
