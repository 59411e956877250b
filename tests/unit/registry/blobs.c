/* The cache of blobs: downloads, and those who wait for them. */
#include "tests/unit/registry/blobs.h"

static void test_put_open(void **state)
{
	struct bench *b = *state;
	_cleanup_close_ int fd = -EBADF;
	_cleanup_err_ struct err e = {0};
	uint64_t size;

	assert_int_equal(blobs_open(b->blobs, b->digest, &fd, &size, &e), -ENOENT);
	assert_false(blobs_has(b->blobs, b->digest));
	assert_int_equal(blobs_put(b->blobs, b->digest, b->data, SIZE, NULL), 0);
	assert_cached(b);
	assert_int_equal(blobs_put(b->blobs, b->digest, b->data, SIZE, NULL), 0);
	assert_int_equal(count_files(b), 1);
	assert_int_equal(blobs_put(b->blobs, b->digest, b->data, SIZE - 1, &e), -EBADMSG);
	assert_cached(b);
}

static void *put_often(void *data)
{
	struct bench *b = data;

	for (int i = 0; i < 20; i++)
		if (blobs_put(b->blobs, b->digest, b->data, 5000, NULL) < 0)
			return data;
	return NULL;
}

/* Two pulls of one image end at once. */
static void test_put_at_once(void **state)
{
	enum { THREADS = 4 };
	struct bench *b = *state;
	pthread_t threads[THREADS];
	void *failed;

	digest_of(b->data, 5000, b->digest);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, put_often, b), 0);
	for (size_t i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	assert_true(blobs_has(b->blobs, b->digest));
	assert_int_equal(count_files(b), 1);
}

static void test_names(void **state)
{
	static const char *const bad[] = {"", "sha256:", "sha256:../../x", "../x", "md5:00",
		"sha256:0000000000000000000000000000000000000000000000000000000000000000/../x",
		"sha256:ABCDEF0000000000000000000000000000000000000000000000000000000000"};
	struct bench *b = *state;
	struct blob *blob = NULL;
	uint64_t size;
	int fd;

	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		assert_int_equal(blobs_open(b->blobs, bad[i], &fd, &size, NULL), -EINVAL);
		assert_int_equal(blobs_put(b->blobs, bad[i], "", 0, NULL), -EINVAL);
		assert_int_equal(blob_begin(b->blobs, bad[i], 1, NULL, &blob, NULL), -EINVAL);
		assert_false(blobs_has(b->blobs, bad[i]));
	}
	assert_int_equal(count_files(b), 0);
}

static void test_symlink(void **state)
{
	struct bench *b = *state;
	_cleanup_free_ char *part = path_of(b->digest, ".part");
	struct blob *blob = NULL;

	assert_int_equal(mkdirat(b->state, "blobs", 0700), 0);
	assert_int_equal(symlinkat("../victim", b->state, part), 0);
	assert_int_equal(blob_begin(b->blobs, b->digest, SIZE, NULL, &blob, NULL), -ELOOP);
	assert_int_equal(faccessat(b->state, "victim", F_OK, 0), -1);
}

static void test_resume(void **state)
{
	struct bench *b = *state;
	struct blob *blob = begin(b);

	assert_int_equal(resume(blob), 0);
	write_some(b, blob, 0, 100000);
	assert_null(blob_end(blob, false));
	assert_true(has_part(b));
	assert_false(blobs_has(b->blobs, b->digest));

	blob = begin(b);
	assert_int_equal(resume(blob), 100000);
	/* Asked again it is the same, and nothing is counted twice. */
	assert_int_equal(resume(blob), 100000);
	write_some(b, blob, 100000, SIZE);
	assert_int_equal(blob_commit(blob, NULL), 0);
	blob_end(blob, false);
	assert_cached(b);

	assert_int_equal(blob_begin(b->blobs, b->digest, SIZE, NULL, &blob, NULL), 0);
	assert_null(blob);
}

static void test_rewind(void **state)
{
	struct bench *b = *state;
	struct blob *blob = begin(b);

	assert_int_equal(blob_write(blob, "rubbish that was never of it", 28, NULL), 0);
	blob_end(blob, false);
	blob = begin(b);
	assert_int_equal(resume(blob), 28);
	blob_rewind(blob);
	write_some(b, blob, 0, SIZE);
	assert_int_equal(blob_commit(blob, NULL), 0);
	blob_end(blob, false);
	assert_cached(b);
}

static void test_dropped(void **state)
{
	struct bench *b = *state;
	struct blob *blob = begin(b);

	write_some(b, blob, 0, 10);
	blob_end(blob, true);
	assert_int_equal(count_files(b), 0);
	/* Of no bytes there is nothing to keep. */
	blob_end(begin(b), false);
	assert_int_equal(count_files(b), 0);
}

static void test_wrong_digest(void **state)
{
	struct bench *b = *state;
	struct blob *blob = begin(b);
	_cleanup_err_ struct err e = {0};

	write_some(b, blob, 0, SIZE - 1);
	assert_int_equal(blob_write(blob, "\xff", 1, NULL), 0);
	assert_int_equal(blob_commit(blob, &e), -EBADMSG);
	assert_non_null(strstr(err_text(&e), b->digest));
	blob_end(blob, false);
	assert_int_equal(count_files(b), 0);
}

static void test_wrong_size(void **state)
{
	struct bench *b = *state;
	struct blob *blob = begin(b);
	_cleanup_err_ struct err e = {0};

	write_some(b, blob, 0, SIZE);
	assert_int_equal(blob_write(blob, "x", 1, &e), -EBADMSG);
	blob_end(blob, true);
	blob = begin(b);
	write_some(b, blob, 0, SIZE - 1);
	assert_int_equal(blob_commit(blob, &e), -EBADMSG);
	blob_end(blob, false);
	assert_int_equal(count_files(b), 0);
}

/* A part that is longer than the blob is none of it. */
static void test_long_part(void **state)
{
	struct bench *b = *state;
	struct blob *blob = NULL;

	assert_int_equal(blob_begin(b->blobs, b->digest, SIZE + 5, NULL, &blob, NULL), 0);
	write_some(b, blob, 0, SIZE);
	assert_int_equal(blob_write(blob, "12345", 5, NULL), 0);
	blob_end(blob, false);
	blob = begin(b);
	assert_int_equal(resume(blob), 0);
	write_some(b, blob, 0, SIZE);
	assert_int_equal(blob_commit(blob, NULL), 0);
	blob_end(blob, false);
	assert_cached(b);
}

static void test_empty(void **state)
{
	struct bench *b = *state;
	struct blob *blob = NULL;
	int fd = -EBADF, grow = -EBADF;
	uint64_t told[2] = {1, 1};

	digest_of("", 0, b->digest);
	assert_int_equal(blob_begin(b->blobs, b->digest, 0, NULL, &blob, NULL), 0);
	assert_int_equal(resume(blob), 0);
	assert_int_equal(blob_follow(blob, &fd, &grow, NULL), 0);
	assert_int_equal(blob_commit(blob, NULL), 0);
	blob_end(blob, false);
	assert_int_equal(io_read_full(grow, told, sizeof(told)), 0);
	assert_int_equal(told[0], 0);
	assert_int_equal(told[1], 0);
	assert_true(blobs_has(b->blobs, b->digest));
	close_fd(fd);
	close_fd(grow);
}

struct waiter {
	struct bench *b;
	struct op *op;
	int code;
	struct blob *blob;
	int started[2];
};

static void *wait_for(void *data)
{
	struct waiter *w = data;

	assert_int_equal(write(w->started[1], "x", 1), 1);
	w->code = blob_begin(w->b->blobs, w->b->digest, SIZE, w->op, &w->blob, NULL);
	return NULL;
}

static void start(struct waiter *w, pthread_t *thread)
{
	char c;

	assert_int_equal(pipe2(w->started, O_CLOEXEC), 0);
	assert_int_equal(pthread_create(thread, NULL, wait_for, w), 0);
	assert_int_equal(read(w->started[0], &c, 1), 1);
}

static void finish(struct waiter *w, pthread_t thread)
{
	assert_int_equal(pthread_join(thread, NULL), 0);
	close_fd(w->started[0]);
	close_fd(w->started[1]);
}

static void test_waiters(void **state)
{
	enum { WAITERS = 8 };
	struct bench *b = *state;
	struct waiter waiters[WAITERS];
	struct blob *blob = begin(b), *other = NULL;
	pthread_t threads[WAITERS];

	assert_int_equal(blob_begin(b->blobs, b->digest, SIZE, NULL, &other, NULL), -EBUSY);
	for (size_t i = 0; i < WAITERS; i++) {
		waiters[i] = (struct waiter){.b = b, .op = b->op, .code = 1, .blob = blob};
		start(&waiters[i], &threads[i]);
	}
	write_some(b, blob, 0, SIZE);
	assert_int_equal(blob_commit(blob, NULL), 0);
	blob_end(blob, false);
	for (size_t i = 0; i < WAITERS; i++) {
		finish(&waiters[i], threads[i]);
		assert_int_equal(waiters[i].code, 0);
		assert_null(waiters[i].blob);
	}
	assert_cached(b);
}

/* Who waited goes on where the one before him was cut off. */
static void test_heir(void **state)
{
	struct bench *b = *state;
	struct waiter w = {.b = b, .op = b->op, .code = 1};
	struct blob *blob = begin(b);
	pthread_t thread;

	start(&w, &thread);
	write_some(b, blob, 0, 70000);
	blob_end(blob, false);
	finish(&w, thread);
	assert_int_equal(w.code, 0);
	assert_non_null(w.blob);
	assert_int_equal(resume(w.blob), 70000);
	write_some(b, w.blob, 70000, SIZE);
	assert_int_equal(blob_commit(w.blob, NULL), 0);
	blob_end(w.blob, false);
	assert_cached(b);
}

static void test_cancelled_waiter(void **state)
{
	struct bench *b = *state;
	struct waiter w = {.b = b, .op = b->op, .code = 1};
	struct blob *blob = begin(b);
	uint64_t began;
	pthread_t thread;

	start(&w, &thread);
	began = io_now_usec();
	op_cancel(b->op);
	finish(&w, thread);
	assert_int_equal(w.code, -EINTR);
	assert_null(w.blob);
	assert_true(io_now_usec() - began < 1000000);
	/* The download goes on. */
	write_some(b, blob, 0, SIZE);
	assert_int_equal(blob_commit(blob, NULL), 0);
	blob_end(blob, false);
	assert_cached(b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_put_open),
		TEST(test_put_at_once),
		TEST(test_names),
		TEST(test_symlink),
		TEST(test_resume),
		TEST(test_rewind),
		TEST(test_dropped),
		TEST(test_wrong_digest),
		TEST(test_wrong_size),
		TEST(test_long_part),
		TEST(test_empty),
		TEST(test_waiters),
		TEST(test_heir),
		TEST(test_cancelled_waiter),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
