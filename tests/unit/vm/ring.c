/* The end of a stream, kept in a file. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "vm/ring.h"

struct bench {
	char dir[32];
	int fd;
	struct ring ring;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memcpy(b->dir, "/tmp/banger-ring-XXXXXX", sizeof("/tmp/banger-ring-XXXXXX"));
	assert_non_null(mkdtemp(b->dir));
	b->fd = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ring_init(&b->ring, b->fd, 1, 2, 1000);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	ring_remove(&b->ring);
	close_fd(b->fd);
	assert_int_equal(rmdir(b->dir), 0);
	free(b);
	return 0;
}

static void expect(struct ring *r, uint64_t first, uint64_t size)
{
	uint8_t buf[2000];
	ssize_t n;

	assert_int_equal(r->first, first);
	assert_int_equal(r->size, size);
	n = ring_read(r, first, buf, sizeof(buf));
	assert_int_equal(n, size - first);
	for (ssize_t i = 0; i < n; i++)
		assert_int_equal(buf[i], (uint8_t)((first + (uint64_t)i) * 7));
	assert_int_equal(ring_read(r, size, buf, sizeof(buf)), 0);
}

static void append(struct ring *r, size_t n)
{
	uint8_t buf[4000];

	for (size_t i = 0; i < n; i++)
		buf[i] = (uint8_t)((r->size + i) * 7);
	assert_int_equal(ring_append(r, buf, n), 0);
}

/* In pieces of many lengths: below, across and beyond the end, read open and closed. */
static void keeps_the_last(void **state)
{
	struct bench *b = *state;
	uint64_t size = 0;
	struct stat st;

	for (size_t n = 1; n < 400; n += 3) {
		append(&b->ring, n);
		size += n;
		expect(&b->ring, size > 1000 ? size - 1000 : 0, size);
	}
	append(&b->ring, 2500);
	size += 2500;
	expect(&b->ring, size - 1000, size);
	append(&b->ring, 1000);
	size += 1000;
	expect(&b->ring, size - 1000, size);
	assert_int_equal(fstatat(b->fd, "1.2", &st, 0), 0);
	assert_int_equal(st.st_size, 1000 + 16);
	assert_int_equal(st.st_mode & 0777, 0600);
	ring_end(&b->ring);
	expect(&b->ring, size - 1000, size);
}

static void nothing_was_written(void **state)
{
	struct bench *b = *state;

	expect(&b->ring, 0, 0);
	ring_end(&b->ring);
	expect(&b->ring, 0, 0);
	assert_int_equal(faccessat(b->fd, "1.2", F_OK, 0), -1);
}

/* What can't be written counts as dropped, and later bytes are kept again. */
static void no_space(void **state)
{
	struct bench *b = *state;
	struct rlimit before, limit;

	append(&b->ring, 100);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_IGN);
	limit = before;
	limit.rlim_cur = 200;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(ring_append(&b->ring, (uint8_t[300]){0}, 300), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	expect(&b->ring, 400, 400);
	append(&b->ring, 50);
	expect(&b->ring, 400, 450);
}

/* Somebody cut the file: an error, no endless loop. */
static void cut(void **state)
{
	struct bench *b = *state;
	uint8_t buf[10];

	append(&b->ring, 500);
	assert_int_equal(ftruncate(b->ring.fd, 100 + 16), 0);
	assert_int_equal(ring_read(&b->ring, 200, buf, sizeof(buf)), -EIO);
	assert_int_equal(ring_read(&b->ring, 95, buf, sizeof(buf)), 5);
}

/* Another daemon goes on where the one before was, whether its file had gone round or not. */
static void loaded(void **state)
{
	struct bench *b = *state;
	struct ring other;

	for (int i = 0; i < 5; i++) {
		append(&b->ring, 300);
		ring_init(&other, b->fd, 1, 2, 1000);
		ring_load(&other);
		expect(&other, b->ring.first, b->ring.size);
		ring_end(&b->ring);
		b->ring = other;
	}
	ring_skip(&b->ring, 2000);
	expect(&b->ring, 2000, 2000);
	ring_init(&other, b->fd, 1, 2, 1000);
	ring_load(&other);
	assert_int_equal(other.first, 2000);
	assert_int_equal(other.size, 2000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(keeps_the_last),
		TEST(nothing_was_written),
		TEST(no_space),
		TEST(cut),
		TEST(loaded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
