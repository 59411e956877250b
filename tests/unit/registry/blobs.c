/* The cache of blobs: downloads and those who wait for them, what is kept of them, who reads along, and what prune takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "banger/io.h"
#include "job/op.h"
#include "registry/blobs.h"
#include "registry/digest.h"

#define MIB  (1024 * 1024)
#define SIZE (3 * MIB)
#define LATE (256 * 1024) /* as much may be on its way yet */

struct bench {
	char root[40];
	int state;
	struct blobs *blobs;
	struct ops *ops;
	struct op *op;
	char data[SIZE];
	char digest[DIGEST_TEXT_MAX];
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memcpy(b->root, "/tmp/banger-blobs-XXXXXX", sizeof("/tmp/banger-blobs-XXXXXX"));
	assert_non_null(mkdtemp(b->root));
	b->state = open(b->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(blobs_new(b->state, &b->blobs, NULL), 0);
	assert_int_equal(ops_new(1, &b->ops, NULL), 0);
	assert_int_equal(op_begin(b->ops, "pull", "images/x", &b->op, NULL), 0);
	for (size_t i = 0; i < SIZE; i++)
		b->data[i] = (char)(i * 2654435761u >> 13);
	digest_of(b->data, SIZE, b->digest);
	*state = b;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct bench *b = *state;

	op_end(b->op);
	op_unref(b->op);
	ops_free(b->ops);
	blobs_free(b->blobs);
	close_fd(b->state);
	assert_int_equal(nftw(b->root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(b);
	return 0;
}

/* The file of DIGEST in the cache. */
static char *path_of(const char *digest, const char *suffix)
{
	char *path;

	assert_true(asprintf(&path, "blobs/%s%s", digest, suffix) > 0);
	path[strlen("blobs/sha256")] = '-';
	return path;
}

static bool has_part(const struct bench *b)
{
	_cleanup_free_ char *path = path_of(b->digest, ".part");

	return faccessat(b->state, path, F_OK, 0) == 0;
}

static size_t count_files(const struct bench *b)
{
	int fd = openat(b->state, "blobs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	size_t n = 0;

	while (dir && (d = readdir(dir)))
		n += strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
	return n;
}

static void assert_cached(struct bench *b)
{
	_cleanup_close_ int fd = -EBADF;
	_cleanup_free_ char *data = malloc(SIZE);
	uint64_t size = 0;

	assert_int_equal(blobs_open(b->blobs, b->digest, &fd, &size, NULL), 0);
	assert_int_equal(size, SIZE);
	assert_int_equal(io_read_full(fd, data, SIZE), 0);
	assert_memory_equal(data, b->data, SIZE);
	assert_false(has_part(b));
}

static struct blob *begin(struct bench *b)
{
	struct blob *blob = NULL;

	assert_int_equal(blob_begin(b->blobs, b->digest, SIZE, NULL, &blob, NULL), 0);
	assert_non_null(blob);
	return blob;
}

static void write_some(const struct bench *b, struct blob *blob, size_t from, size_t to)
{
	assert_int_equal(blob_write(blob, b->data + from, to - from, NULL), 0);
}

static uint64_t resume(struct blob *blob)
{
	uint64_t at = 1;

	assert_int_equal(blob_resume(blob, &at, NULL), 0);
	return at;
}

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

struct pruning {
	const char *used;
	size_t count;
	uint64_t bytes;
	char names[8][DIGEST_TEXT_MAX];
};

static bool is_used(void *user, const char *digest)
{
	struct pruning *p = user;

	return p->used && strcmp(p->used, digest) == 0;
}

static void freed(void *user, const char *name, uint64_t size)
{
	struct pruning *p = user;

	assert_true(p->count < ELEMENTSOF(p->names));
	snprintf(p->names[p->count++], DIGEST_TEXT_MAX, "%s", name);
	p->bytes += size;
}

static void prune(struct bench *b, struct pruning *p, bool dry, uint64_t quota)
{
	struct blobs_prune how = {.dry = dry, .quota = quota, .used = is_used, .freed = freed, .user = p};
	uint64_t bytes = 1;

	p->count = 0;
	p->bytes = 0;
	assert_int_equal(blobs_prune(b->blobs, &how, &bytes, NULL), 0);
	assert_int_equal(bytes, p->bytes);
}

/* A blob of SIZE bytes of C, last used AGO seconds ago. */
static void put_old(struct bench *b, char c, const char *suffix, time_t ago, char digest[DIGEST_TEXT_MAX])
{
	_cleanup_free_ char *data = malloc(SIZE), *path = NULL;
	struct timespec times[2];

	memset(data, c, SIZE);
	digest_of(data, SIZE, digest);
	if (*suffix) {
		struct blob *blob;

		assert_int_equal(blob_begin(b->blobs, digest, SIZE + 1, NULL, &blob, NULL), 0);
		assert_int_equal(blob_write(blob, data, SIZE, NULL), 0);
		blob_end(blob, false);
	} else {
		assert_int_equal(blobs_put(b->blobs, digest, data, SIZE, NULL), 0);
	}
	clock_gettime(CLOCK_REALTIME, &times[0]);
	times[0].tv_sec -= ago;
	times[1] = times[0];
	path = path_of(digest, suffix);
	assert_int_equal(utimensat(b->state, path, times, 0), 0);
}

static void test_prune(void **state)
{
	enum { DAY = 24 * 3600 };
	char used[DIGEST_TEXT_MAX], unused[DIGEST_TEXT_MAX], fresh[DIGEST_TEXT_MAX], active[DIGEST_TEXT_MAX];
	struct bench *b = *state;
	struct pruning p = {.used = used};
	_cleanup_close_ int fd = -EBADF;
	struct blob *blob;
	uint64_t size;

	prune(b, &p, false, 0);
	assert_int_equal(p.count, 0);
	put_old(b, 'u', "", DAY * 3, used);
	put_old(b, 'n', "", 0, unused);
	put_old(b, 'f', ".part", 0, fresh);
	put_old(b, 'a', ".part", DAY * 2, active);
	assert_int_equal(blob_begin(b->blobs, active, SIZE + 1, NULL, &blob, NULL), 0);
	/* What is none of the cache's stays. */
	fd = openat(b->state, "blobs/README", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close_fd(TAKE_FD(fd));
	assert_int_equal(count_files(b), 5);

	prune(b, &p, true, 0);
	assert_int_equal(p.count, 2);
	assert_int_equal(count_files(b), 5);
	assert_int_equal(blobs_open(b->blobs, unused, &fd, &size, NULL), 0);
	prune(b, &p, false, 0);
	assert_int_equal(p.count, 2);
	assert_true(p.bytes >= 2 * SIZE);
	assert_int_equal(count_files(b), 3);
	assert_false(blobs_has(b->blobs, unused));
	assert_true(blobs_has(b->blobs, used));
	/* Who had it open reads on. */
	assert_int_equal(io_read_full(fd, b->data, SIZE), 0);
	assert_int_equal(b->data[SIZE - 1], 'n');
	assert_int_equal(resume(blob), SIZE);
	blob_end(blob, false);
	prune(b, &p, false, 0);
	assert_int_equal(p.count, 1);
	assert_string_equal(p.names[0], active);
}

static void test_prune_killed(void **state)
{
	char digest[DIGEST_TEXT_MAX];
	struct bench *b = *state;
	struct pruning p = {0};
	_cleanup_free_ char *path = NULL, *whole = NULL;

	put_old(b, 'k', "", 0, digest);
	whole = path_of(digest, "");
	assert_true(asprintf(&path, "blobs/.%s.tmp", whole + strlen("blobs/")) > 0);
	assert_int_equal(renameat(b->state, whole, b->state, path), 0);
	prune(b, &p, false, 0);
	assert_int_equal(p.count, 1);
	assert_int_equal(count_files(b), 0);
}

/* What a killed daemon leaves that can't be resumed goes with the next one's start; a download's part stays. */
static void test_sweep(void **state)
{
	static const char *const left[] = {
		"blobs/sha256-0000000000000000000000000000000000000000000000000123456789abcdef.part",
		"blobs/.sha256-a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447.tmp"};
	char digest[DIGEST_TEXT_MAX];
	struct bench *b = *state;

	put_old(b, 'p', ".part", 0, digest);
	for (size_t i = 0; i < 2; i++)
		close_fd(openat(b->state, left[i], O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	assert_int_equal(count_files(b), 3);
	blobs_free(b->blobs);
	assert_int_equal(blobs_new(b->state, &b->blobs, NULL), 0);
	assert_int_equal(count_files(b), 1);
}

static void test_prune_quota(void **state)
{
	char digests[4][DIGEST_TEXT_MAX];
	struct bench *b = *state;
	struct pruning p = {.used = digests[0]};

	put_old(b, '0', "", 400, digests[0]);
	put_old(b, '1', "", 100, digests[1]);
	put_old(b, '2', "", 300, digests[2]);
	put_old(b, '3', "", 200, digests[3]);
	prune(b, &p, false, 100ull * SIZE);
	assert_int_equal(p.count, 0);
	/* Room for two: the two longest unused go, but for the one that is named. */
	prune(b, &p, true, 2 * SIZE + 65536);
	assert_int_equal(p.count, 2);
	assert_int_equal(count_files(b), 4);
	prune(b, &p, false, 2 * SIZE + 65536);
	assert_int_equal(p.count, 2);
	assert_string_equal(p.names[0], digests[2]);
	assert_string_equal(p.names[1], digests[3]);
	assert_true(blobs_has(b->blobs, digests[0]));
	/* Being opened is being used. */
	put_old(b, '2', "", 50, digests[2]);
	assert_true(blobs_has(b->blobs, digests[1]));
	p.used = NULL;
	prune(b, &p, false, 2 * SIZE + 65536);
	assert_int_equal(p.count, 1);
	assert_string_equal(p.names[0], digests[2]);
}

/* Nobody asked for it: what a pull may go on with stays for a day. */
static void test_prune_quota_parts(void **state)
{
	enum { DAY = 24 * 3600 };
	char old[DIGEST_TEXT_MAX], fresh[DIGEST_TEXT_MAX];
	struct bench *b = *state;
	struct pruning p = {0};

	put_old(b, 'o', ".part", DAY + 60, old);
	put_old(b, 'f', ".part", DAY - 600, fresh);
	prune(b, &p, false, 1);
	assert_int_equal(p.count, 1);
	assert_string_equal(p.names[0], old);
}

/* Somebody is at work: what was used since he began stays. */
static void test_prune_since(void **state)
{
	char before[DIGEST_TEXT_MAX], since[DIGEST_TEXT_MAX];
	struct bench *b = *state;
	struct pruning p = {0};
	struct timespec now;
	struct blobs_prune how = {.used = is_used, .freed = freed, .user = &p};
	uint64_t bytes;

	put_old(b, 'b', ".part", 600, before);
	put_old(b, 's', ".part", 0, since);
	clock_gettime(CLOCK_REALTIME, &now);
	how.since = (uint64_t)(now.tv_sec - 60) * 1000000;
	assert_int_equal(blobs_prune(b->blobs, &how, &bytes, NULL), 0);
	assert_int_equal(p.count, 1);
	assert_string_equal(p.names[0], before);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
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
		TEST(test_follow),
		TEST(test_follow_failure),
		TEST(test_follow_resume),
		TEST(test_follow_deaf),
		TEST(test_prune),
		TEST(test_prune_killed),
		TEST(test_sweep),
		TEST(test_prune_quota),
		TEST(test_prune_quota_parts),
		TEST(test_prune_since),
	};

	signal(SIGPIPE, SIG_IGN);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
