/* What comes out of packed files; gzip by both inflaters. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "banger/cleanup.h"
#include "image/inflate.h"
#include "image/stream.h"

#define TEXT_SIZE 700000 /* more than two blocks of the queue */

/* What is done thousands of times takes minutes under the thread sanitizer, to which each is like the others: there it is each 17th. */
#ifdef __SANITIZE_THREAD__
#define SPARSE 17
#else
#define SPARSE 1
#endif

static uint8_t *text(void)
{
	uint8_t *p = malloc(TEXT_SIZE);
	uint32_t x = 1;

	for (size_t i = 0; i < TEXT_SIZE; i++) {
		x = x * 1103515245 + 12345;
		p[i] = (uint8_t)(x >> 28);
	}
	return p;
}

/* A gzip member of DATA at OUT; its size. */
static size_t member(const uint8_t *data, size_t n, uint8_t *out, size_t room)
{
	z_stream z = {.next_in = (uint8_t *)data,
		.avail_in = (unsigned)n,
		.next_out = out,
		.avail_out = (unsigned)room};

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

static int file_of(const void *data, size_t n)
{
	int fd = memfd_create("packed", MFD_CLOEXEC);

	assert_int_equal(write(fd, data, n), n);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

/* Reads all: its size, or the error. CHECK: the plain bytes that are expected first. */
static int64_t read_all(const void *packed, size_t n, const uint8_t *check, unsigned char ret_sum[32])
{
	_cleanup_close_ int fd = file_of(packed, n);
	_cleanup_(stream_freep) struct stream *s = NULL;
	_cleanup_err_ struct err e = {0};
	const void *data;
	int64_t total = 0;
	ssize_t k;

	assert_int_equal(stream_open(STREAM_WHOLE(fd), NULL, STREAM_HASH_BOTH, &s, &e), 0);
	while ((k = stream_next(s, &data, &e)) > 0) {
		if (check)
			assert_memory_equal(data, check + total, (size_t)k);
		total += k;
	}
	if (k == 0 && ret_sum)
		stream_digest(s, ret_sum);
	return k < 0 ? k : total;
}

static void members_and_what_follows(void **state)
{
	_cleanup_free_ uint8_t *plain = text(), *packed = calloc(1, 2 * TEXT_SIZE);
	size_t half = TEXT_SIZE / 2, n = member(plain, half, packed, 2 * TEXT_SIZE);
	unsigned char sum[32], wanted[32];

	(void)state;
	n += member(plain + half, TEXT_SIZE - half, packed + n, 2 * TEXT_SIZE - n);
	assert_int_equal(read_all(packed, n, plain, sum), TEXT_SIZE);
	EVP_Digest(packed, n, wanted, NULL, EVP_sha256(), NULL);
	assert_memory_equal(sum, wanted, 32);
	/* Zeros behind it, as some writers leave them, belong to the file's digest and not to its contents. */
	assert_int_equal(read_all(packed, n + 1000, plain, sum), TEXT_SIZE);
	EVP_Digest(packed, n + 1000, wanted, NULL, EVP_sha256(), NULL);
	assert_memory_equal(sum, wanted, 32);
	memcpy(packed + n, "\x1fgarbage", 8);
	assert_int_equal(read_all(packed, n + 8, plain, NULL), TEXT_SIZE);
}

static void cut_anywhere(void **state)
{
	_cleanup_free_ uint8_t *plain = text(), *packed = malloc(20000);
	size_t n = member(plain, 3000, packed, 20000);

	(void)state;
	for (size_t i = 3; i < n; i += SPARSE)
		assert_int_equal(read_all(packed, i, plain, NULL), -EBADMSG);
	assert_int_equal(read_all(packed, n, plain, NULL), 3000);
	/* Nothing at all is an empty file. */
	assert_int_equal(read_all(packed, 0, plain, NULL), 0);
}

static void wrong_checksum(void **state)
{
	_cleanup_free_ uint8_t *plain = text(), *packed = malloc(20000);
	size_t n = member(plain, 3000, packed, 20000);

	(void)state;
	packed[n - 6] ^= 1;
	assert_int_equal(read_all(packed, n, plain, NULL), -EBADMSG);
	packed[n - 6] ^= 1;
	packed[n - 2] ^= 1; /* its length */
	assert_int_equal(read_all(packed, n, plain, NULL), -EBADMSG);
}

static void other_packings(void **state)
{
	static int (*const filters[])(struct archive *) = {archive_write_add_filter_none,
		archive_write_add_filter_bzip2, archive_write_add_filter_xz, archive_write_add_filter_zstd,
		archive_write_add_filter_lz4};
	_cleanup_free_ uint8_t *plain = text(), *packed = malloc(2 * TEXT_SIZE);

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(filters); i++) {
		struct archive *a = archive_write_new();
		struct archive_entry *entry = archive_entry_new();
		size_t n = 0;

		archive_write_set_format_raw(a);
		archive_write_set_bytes_in_last_block(a, 1);
		filters[i](a);
		archive_write_open_memory(a, packed, 2 * TEXT_SIZE, &n);
		archive_entry_set_filetype(entry, AE_IFREG);
		assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
		assert_int_equal(archive_write_data(a, plain, TEXT_SIZE), TEXT_SIZE);
		assert_int_equal(archive_write_close(a), ARCHIVE_OK);
		archive_entry_free(entry);
		archive_write_free(a);
		assert_int_equal(read_all(packed, n, plain, NULL), TEXT_SIZE);
		if (i > 0)
			assert_int_equal(read_all(packed, n / 2, plain, NULL), -EBADMSG);
	}
}

/* 2 GiB of zeros in members of 1 MiB: a ratio as high as deflate packs is legal, and is all read. */
static void much_of_little(void **state)
{
	_cleanup_free_ uint8_t *zeros = calloc(1, 1 << 20), *once = malloc(1 << 16), *inner = malloc(4 << 20);
	size_t n = member(zeros, 1 << 20, once, 1 << 16), total = 0;

	(void)state;
	for (int i = 0; i < 2048 / SPARSE; i++, total += n)
		memcpy(inner + total, once, n);
	assert_int_equal(read_all(inner, total, NULL, NULL), (int64_t)2048 / SPARSE << 20);
}

static int64_t inflate_by(
	enum inflate_by by, const uint8_t *packed, size_t n, size_t piece, uint8_t *out, size_t room)
{
	_cleanup_(inflate_freep) struct inflate *f = NULL;
	_cleanup_err_ struct err e = {0};
	uint8_t *at = out;
	int r = inflate_new(by, &f, &e);

	assert_int_equal(r, 0);
	while (r == 0) {
		size_t give = n < piece ? n : piece, left = give, before = room;

		r = inflate_step(f, &packed, &left, &at, &room, &e);
		n -= give - left;
		if (r == 0 && left == give && room == before)
			return -ENODATA;
	}
	return r < 0 ? r : at - out;
}

static void both_agree(void **state)
{
	static const size_t pieces[] = {1, 7, 4096, SIZE_MAX};
	_cleanup_free_ uint8_t *plain = text(), *packed = malloc(2 * TEXT_SIZE), *out = malloc(TEXT_SIZE + 1);
	size_t n = member(plain, TEXT_SIZE, packed, 2 * TEXT_SIZE);

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(pieces); i++)
		for (enum inflate_by by = INFLATE_FASTEST; by <= INFLATE_ZLIB; by++) {
			assert_int_equal(inflate_by(by, packed, n, pieces[i], out, TEXT_SIZE + 1), TEXT_SIZE);
			assert_memory_equal(out, plain, TEXT_SIZE);
		}
	for (enum inflate_by by = INFLATE_FASTEST; by <= INFLATE_ZLIB; by++) {
		assert_int_equal(
			inflate_by(by, (const uint8_t *)"\x1f\x8cnot gzip....", 14, 14, out, 100), -EILSEQ);
		packed[n / 2] ^= 0x55;
		assert_true(inflate_by(by, packed, n, n, out, TEXT_SIZE + 1) < 0);
		packed[n / 2] ^= 0x55;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_and_what_follows),
		cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(wrong_checksum),
		cmocka_unit_test(other_packings),
		cmocka_unit_test(much_of_little),
		cmocka_unit_test(both_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
