/* The cache of blobs: who reads along while one comes. */
#include "tests/unit/registry/blobs.h"

/* What GROW says next; false: it hung up. */
static bool told(int grow, uint64_t *ret)
{
	struct pollfd p = {.fd = grow, .events = POLLIN};
	ssize_t n;

	assert_int_equal(poll(&p, 1, 10000), 1);
	n = read(grow, ret, sizeof(*ret));
	assert_true(n == 0 || n == sizeof(*ret));
	return n > 0;
}

static bool silent(int grow)
{
	struct pollfd p = {.fd = grow, .events = POLLIN};

	return poll(&p, 1, 0) == 0;
}

/* The last of what GROW says now, which grows each time; at least once. */
static uint64_t told_last(int grow)
{
	uint64_t n = 0, last = 0;

	do {
		assert_true(told(grow, &n));
		assert_true(n > last);
		last = n;
	} while (!silent(grow));
	return last;
}

static void assert_near(uint64_t n, uint64_t end)
{
	assert_true(n <= end);
	assert_true(n > end - LATE);
}

static void assert_byte(const struct bench *b, int fd, uint64_t at)
{
	char byte;

	assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
	assert_int_equal(byte, b->data[at]);
}

/* What it says once all is good: the size, twice at the end; then it hangs up. */
static void assert_whole(int grow)
{
	uint64_t n, last = 0, before = 0;

	while (told(grow, &n)) {
		before = last;
		last = n;
	}
	assert_int_equal(last, SIZE);
	assert_int_equal(before, SIZE);
}

static void test_follow(void **state)
{
	struct bench *b = *state;
	struct blob *blob = begin(b);
	int fds[3], grows[3];
	uint64_t n, late;

	assert_int_equal(blob_follow(blob, &fds[0], &grows[0], NULL), 0);
	assert_true(silent(grows[0]));
	write_some(b, blob, 0, 1000);
	/* Too little to wake anybody for. */
	assert_true(silent(grows[0]));
	write_some(b, blob, 1000, MIB);
	n = told_last(grows[0]);
	assert_near(n, MIB);
	assert_byte(b, fds[0], n - 1);

	/* Who comes late hears at once what there is. */
	assert_int_equal(blob_follow(blob, &fds[1], &grows[1], NULL), 0);
	assert_true(told(grows[1], &late));
	assert_int_equal(late, n);
	/* Who goes away disturbs nobody. */
	close_fd(grows[1]);
	close_fd(fds[1]);

	write_some(b, blob, MIB, SIZE);
	/* All of it perhaps, but not twice: it isn't verified yet. */
	assert_near(told_last(grows[0]), SIZE);
	assert_int_equal(blob_commit(blob, NULL), 0);
	assert_int_equal(blob_follow(blob, &fds[2], &grows[2], NULL), 0);
	assert_int_equal(grows[2], -1);
	assert_byte(b, fds[2], SIZE - 1);
	blob_end(blob, false);
	assert_whole(grows[0]);
	assert_byte(b, fds[0], SIZE - 1);
	close_fd(fds[0]);
	close_fd(grows[0]);
	close_fd(fds[2]);
}

static void test_follow_failure(void **state)
{
	struct bench *b = *state;
	struct blob *blob = begin(b);
	uint64_t n, last = 0;
	int fd, grow;

	assert_int_equal(blob_follow(blob, &fd, &grow, NULL), 0);
	write_some(b, blob, 0, SIZE - 1);
	assert_int_equal(blob_write(blob, "\xff", 1, NULL), 0);
	assert_int_equal(blob_commit(blob, NULL), -EBADMSG);
	blob_end(blob, false);
	/* Never the same twice: that would mean it is good. */
	while (told(grow, &n)) {
		assert_true(n > last);
		last = n;
	}
	assert_true(last > 0);
	close_fd(fd);
	close_fd(grow);
}

/* What was there before is told of, and a rewind takes nothing back. */
static void test_follow_resume(void **state)
{
	struct bench *b = *state;
	struct blob *blob = begin(b);
	uint64_t n;
	int fd, grow;

	write_some(b, blob, 0, 2 * MIB);
	blob_end(blob, false);
	blob = begin(b);
	assert_int_equal(blob_follow(blob, &fd, &grow, NULL), 0);
	assert_int_equal(resume(blob), 2 * MIB);
	assert_true(told(grow, &n));
	assert_int_equal(n, 2 * MIB);
	blob_rewind(blob);
	write_some(b, blob, 0, MIB);
	assert_true(silent(grow));
	write_some(b, blob, MIB, SIZE);
	assert_int_equal(blob_commit(blob, NULL), 0);
	blob_end(blob, false);
	assert_whole(grow);
	close_fd(fd);
	close_fd(grow);
}

/* A follower that never reads holds nobody up, however large the blob and small the pipe. */
static void test_follow_deaf(void **state)
{
	enum { LARGE = 80 * 1024 * 1024, STEP = 16 * 1024 };
	struct bench *b = *state;
	_cleanup_free_ char *zero = calloc(1, STEP);
	_cleanup_(hash_freep) struct hash *hash = NULL;
	struct blob *blob = NULL;
	uint64_t n, last = 0, count = 0, twice = 0;
	int fd, grow;

	assert_int_equal(hash_new(b->digest, &hash, NULL), 0);
	for (size_t i = 0; i < LARGE / STEP; i++)
		hash_update(hash, zero, STEP);
	hash_text(hash, b->digest);
	assert_int_equal(blob_begin(b->blobs, b->digest, LARGE, NULL, &blob, NULL), 0);
	assert_int_equal(blob_follow(blob, &fd, &grow, NULL), 0);
	assert_int_equal(fcntl(grow, F_SETPIPE_SZ, 4096), 4096);
	for (size_t i = 0; i < LARGE / STEP; i++)
		assert_int_equal(blob_write(blob, zero, STEP, NULL), 0);
	assert_int_equal(blob_commit(blob, NULL), 0);
	blob_end(blob, false);
	while (told(grow, &n)) {
		twice += n == last;
		last = n;
		count++;
	}
	assert_int_equal(last, LARGE);
	assert_true(count > 100);
	assert_true(twice >= 1);
	close_fd(fd);
	close_fd(grow);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_follow),
		TEST(test_follow_failure),
		TEST(test_follow_resume),
		TEST(test_follow_deaf),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
