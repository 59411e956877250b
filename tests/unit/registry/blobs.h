/* A cache of blobs in a folder of its own, and a blob for it. */
#ifndef BANGER_TESTS_BLOBS_H
#define BANGER_TESTS_BLOBS_H

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

static inline int setup(void **state)
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

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static inline int teardown(void **state)
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
static inline char *path_of(const char *digest, const char *suffix)
{
	char *path;

	assert_true(asprintf(&path, "blobs/%s%s", digest, suffix) > 0);
	path[strlen("blobs/sha256")] = '-';
	return path;
}

static inline bool has_part(const struct bench *b)
{
	_cleanup_free_ char *path = path_of(b->digest, ".part");

	return faccessat(b->state, path, F_OK, 0) == 0;
}

static inline size_t count_files(const struct bench *b)
{
	int fd = openat(b->state, "blobs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	size_t n = 0;

	while (dir && (d = readdir(dir)))
		n += strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
	return n;
}

static inline void assert_cached(struct bench *b)
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

static inline struct blob *begin(struct bench *b)
{
	struct blob *blob = NULL;

	assert_int_equal(blob_begin(b->blobs, b->digest, SIZE, NULL, &blob, NULL), 0);
	assert_non_null(blob);
	return blob;
}

static inline void write_some(const struct bench *b, struct blob *blob, size_t from, size_t to)
{
	assert_int_equal(blob_write(blob, b->data + from, to - from, NULL), 0);
}

static inline uint64_t resume(struct blob *blob)
{
	uint64_t at = 1;

	assert_int_equal(blob_resume(blob, &at, NULL), 0);
	return at;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
