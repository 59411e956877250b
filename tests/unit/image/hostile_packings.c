/* What comes packed, cut off or with more behind it; and names that ext4 has for itself. */
#include "tests/unit/image/hostile.h"

#include <zlib.h>
#include <zstd.h>

/* ---- packings ---- */

static size_t gzipped(const void *data, size_t n, char *out, size_t room)
{
	z_stream z = {.next_in = (void *)data,
		.avail_in = (unsigned)n,
		.next_out = (void *)out,
		.avail_out = (unsigned)room};

	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

static size_t zstded(const void *data, size_t n, char *out, size_t room)
{
	size_t k = ZSTD_compress(out, room, data, n, 3);

	assert_false(ZSTD_isError(k));
	return k;
}

static const struct entry small[] = {
	{.path = "a", .type = '0', .value = "one"}, {.path = "b", .type = '0', .value = "two"}, {0}};

/* Cut off anywhere, packed or not; only where an entry ends and nothing else says so does it look whole (its diff_id tells). */
static void cut_anywhere(void **state)
{
	size_t n;
	_cleanup_free_ char *tar = tar_of(small, &n), *packed = malloc(65536);

	for (int packing = 0; packing < 3; packing++) {
		size_t size = packing == 0   ? n
			      : packing == 1 ? gzipped(tar, n, packed, 65536)
					     : zstded(tar, n, packed, 65536);
		const char *data = packing == 0 ? tar : packed;

		for (size_t at = packing == 0 ? 1 : 4; at < size; at += packing == 0 ? 61 : 1) {
			_cleanup_err_ struct err e = {0};
			int fd = file_of(data, at), r = merge(*state, &fd, 1, &e);

			if (packing == 0 && (at % (2 * BLOCK) == 0 || at >= 4 * BLOCK))
				continue;
			if (r != -EBADMSG || !strstr(err_text(&e), "layer 1 "))
				fail_msg("packing %d, %zu of %zu bytes: %d: %s", packing, at, size, r,
					err_text(&e));
		}
	}
}

/* What follows the end: of the tar nobody reads it, of gzip it is passed over as gzip does, of zstd it is an error; digests have it all. */
static void trailing(void **state)
{
	size_t n;
	_cleanup_free_ char *tar = tar_of(small, &n), *packed = calloc(1, 65536),
			    *longer = calloc(1, n + 1000);
	size_t size = gzipped(tar, n, packed, 60000);
	struct bench *b = *state;
	int fd;

	memcpy(longer, tar, n);
	memset(longer + n, 'x', 1000);
	fd = file_of(longer, n + 1000);
	take(b, &fd, 1);
	memcpy(packed + size, "garbage", 7);
	fd = file_of(packed, size + 7);
	take(b, &fd, 1);
	size = zstded(tar, n, packed, 60000);
	memcpy(packed + size, "garbage", 7);
	refuse_bytes(b, packed, size + 7, -EBADMSG, "zstd");
	/* A second tar within the first stream is behind its end, too. */
	fd = file_of(tar, n);
	take(b, &fd, 1);
	expect(b, "/b", "two");
}

static void reserved_gzip_flags(void **state)
{
	size_t n;
	_cleanup_free_ char *tar = tar_of(small, &n), *packed = calloc(1, 65536);
	size_t size = gzipped(tar, n, packed, 65536);

	for (int bit = 5; bit < 8; bit++) {
		packed[3] = (char)(1 << bit);
		refuse_bytes(*state, packed, size, -EBADMSG, "gzip");
	}
}

static void packed_twice(void **state)
{
	size_t n, one, two;
	_cleanup_free_ char *tar = tar_of(small, &n), *once = malloc(65536), *again = malloc(65536);

	for (int outer = 0; outer < 2; outer++)
		for (int inner = 0; inner < 2; inner++) {
			one = inner ? zstded(tar, n, once, 65536) : gzipped(tar, n, once, 65536);
			two = outer ? zstded(once, one, again, 65536) : gzipped(once, one, again, 65536);
			refuse_bytes(*state, again, two, -EBADMSG, "layer 1 ");
		}
	/* What no layer is packed with. */
	refuse_bytes(*state,
		"\xfd"
		"7zXZ\0\0\4\xe6\xd6\xb4\x46\0\0\0\0\x1c\xdf\x44\x21\x1f\xb6\xf3\x7d\1\0\0\0\0\4YZ",
		32, -EBADMSG, "layer 1 ");
}

/* 7 GiB of zeros in a few KiB of zstd, and in 8 MiB of gzip: the former is a bomb, of the latter each file stays below what an image may have. */
static void ratio_bombs(void **state)
{
	const size_t piece = 16 << 20;
	size_t n, packed_n, head_n;
	_cleanup_free_ char *zeros = calloc(1, piece), *packed = malloc(1 << 20), *head = NULL, *all = NULL;
	FILE *f;
	char entry[BLOCK];

	for (int zstd = 0; zstd < 2; zstd++) {
		set_head(entry, "bomb", '0', "", 7ull << 30, 0);
		free(head);
		head = malloc(4096);
		head_n = zstd ? zstded(entry, BLOCK, head, 4096) : gzipped(entry, BLOCK, head, 4096);
		packed_n =
			zstd ? zstded(zeros, piece, packed, 1 << 20) : gzipped(zeros, piece, packed, 1 << 20);
		free(all);
		all = NULL;
		f = open_memstream(&all, &n);
		fwrite(head, 1, head_n, f);
		for (int i = 0; i < 64 + 8; i++)
			fwrite(packed, 1, packed_n, f);
		fclose(f);
		/* gzip's is cut off behind 1.1 GiB: no bomb, but not whole. */
		refuse_bytes(*state, all, n, -EBADMSG,
			zstd ? "bomb: unpacks to more than 1200 times its size" : "bomb: ");
	}
}

/* Frames of nothing, and frames to pass over, for ever. */
static void frames_of_nothing(void **state)
{
	const size_t many = 1 << 20;
	_cleanup_free_ char *frames = malloc(many * 9);
	struct bench *b = *state;
	int fd;

	for (size_t i = 0; i < many; i++)
		memcpy(frames + 9 * i, i % 2 ? "\x50\x2a\x4d\x18\1\0\0\0x" : "\x28\xb5\x2f\xfd\x20\0\1\0\0",
			9);
	fd = file_of(frames, many * 9);
	take(b, &fd, 1);
}

static void wrong_digests(void **state)
{
	static const char wrong[] = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
	size_t n;
	_cleanup_free_ char *tar = tar_of(small, &n);
	struct bench *b = *state;

	for (int which = 0; which < 2; which++) {
		_cleanup_err_ struct err e = {0};
		struct image_layer l[2] = {
			{.fd = file_of(tar, n), .grow = -1}, {.fd = file_of(tar, n), .grow = -1}};
		struct image_result result;

		*(which ? &l[1].diff_id : &l[1].digest) = wrong;
		assert_int_equal(ftruncate(b->out, 0), 0);
		assert_int_equal(image_from_layers(l, 2, b->out, "seed", NULL, &result, &e), -EBADMSG);
		if (!strstr(err_text(&e), "layer 2 ") ||
			!strstr(err_text(&e), which ? "diff_id" : "its digest is sha256:") ||
			!strstr(err_text(&e), wrong))
			fail_msg("%s", err_text(&e));
		close(l[0].fd);
		close(l[1].fd);
	}
}

/* ---- what ext4 has of its own ---- */

static void lost_and_found(void **state)
{
	const struct entry folder[] = {{.path = "lost+found", .type = '5', .mode = 0751},
		{.path = "lost+found/x", .type = '0', .value = "x"}, {0}};
	const struct entry none[] = {{.path = "a", .type = '0'}, {0}},
			   gone[] = {{.path = ".wh.lost+found", .type = '0'}, {0}};
	struct bench *b = *state;

	take_layers(b, folder, NULL);
	assert_int_equal(mode_of(b, "/lost+found"), S_IFDIR | 0751);
	expect(b, "/lost+found/x", "x");
	take_layers(b, none, NULL);
	assert_int_equal(mode_of(b, "/lost+found"), S_IFDIR | 0700);
	take_layers(b, folder, gone);
	expect(b, "/lost+found/x", NULL);
	assert_int_equal(mode_of(b, "/lost+found"), S_IFDIR | 0700);
	for (int i = 0; i < 2; i++) {
		const struct entry other[] = {
			{.path = "lost+found", .type = i ? '2' : '0', .value = i ? "a" : "mine"},
			{.path = "a", .type = '5'}, {0}};

		take_layers(b, other, NULL);
		if (i == 0)
			expect(b, "/lost+found", "mine");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(cut_anywhere),
		TEST(trailing),
		TEST(reserved_gzip_flags),
		TEST(packed_twice),
		TEST(ratio_bombs),
		TEST(frames_of_nothing),
		TEST(wrong_digests),
		TEST(lost_and_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
