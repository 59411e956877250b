/* The cache of blobs: what is kept, and what prune takes. */
#include "tests/unit/registry/blobs.h"

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
	static const struct CMUnitTest tests[] = {
		TEST(test_prune),
		TEST(test_prune_killed),
		TEST(test_sweep),
		TEST(test_prune_quota),
		TEST(test_prune_quota_parts),
		TEST(test_prune_since),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
