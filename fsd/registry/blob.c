/* A download into the cache. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "banger/io.h"
#include "banger/wait.h"
#include "registry/blobs_state.h"

/* So many times at most a follower is told that there is more: all of it fits into the smallest pipe that Linux makes (4 KiB, pipe(7)), so nobody ever waits for a follower. */
#define TOLD_MAX      500
#define TOLD_STEP_MIN (64 * 1024)
#define GATHER                                                                                               \
	(256 * 1024) /* written at once: libcurl gives 16 KiB at a time, and small writes cost half as much again */
#define WAIT_SLICE_MSEC 200 /* how late a waiter notices that it was cancelled */

struct follower {
	int pipe;
	SLIST_ENTRY(follower) link;
};

struct blob {
	struct blobs *blobs;
	char *digest, *name, *part;
	int dir, fd;
	uint64_t size, at;
	uint8_t *gathered; /* the last bytes before AT, not in the file and not hashed yet */
	size_t gathered_size;
	uint64_t told; /* what the followers know; under the lock, as they are */
	bool whole;    /* committed; under the lock */
	struct hash *hash;
	SLIST_HEAD(, follower) followers;
	LIST_ENTRY(blob) link;
};

bool blobs_active(const struct blobs *b, const char *digest)
{
	const struct blob *one;

	LIST_FOREACH (one, &b->active, link)
		if (strcmp(one->digest, digest) == 0)
			return true;
	return false;
}

static void blob_free(struct blob *blob)
{
	if (!blob)
		return;
	while (!SLIST_EMPTY(&blob->followers)) {
		struct follower *f = SLIST_FIRST(&blob->followers);

		SLIST_REMOVE_HEAD(&blob->followers, link);
		close_fd(f->pipe);
		free(f);
	}
	close_fd(blob->fd);
	close_fd(blob->dir);
	hash_free(blob->hash);
	free(blob->digest);
	free(blob->name);
	free(blob->part);
	free(blob->gathered);
	free(blob);
}
DEFINE_CLEANUP(struct blob *, blob_free)

static int blob_new(struct blobs *b, const char *digest, uint64_t size, struct blob **ret, struct err *e)
{
	_cleanup_(blob_freep) struct blob *blob = calloc(1, sizeof(*blob));
	int r;

	if (!blob)
		return err_sys(e, -ENOMEM, "blob");
	blob->blobs = b;
	blob->size = size;
	blob->dir = blob->fd = -EBADF;
	SLIST_INIT(&blob->followers);
	blob->digest = strdup(digest);
	blob->name = blobs_name(digest, "");
	blob->part = blobs_name(digest, PART_SUFFIX);
	blob->gathered = malloc(GATHER);
	if (!blob->digest || !blob->name || !blob->part || !blob->gathered)
		return err_sys(e, -ENOMEM, "blob");
	r = hash_new(digest, &blob->hash, e);
	if (r == 0)
		r = blobs_dir(b, true, &blob->dir, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(blob);
	return 0;
}

static int open_part(struct blob *blob, struct err *e)
{
	blob->fd = openat(blob->dir, blob->part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	return blob->fd < 0 ? err_sys(e, -errno, "making a file for blob %s", blob->digest) : 0;
}

int blob_begin(
	struct blobs *b, const char *digest, uint64_t size, struct op *op, struct blob **ret, struct err *e)
{
	_cleanup_(blob_freep) struct blob *blob = NULL;
	int r = digest_check(digest, e);

	if (r == 0)
		r = blob_new(b, digest, size, &blob, e);
	if (r < 0)
		return r;
	pthread_mutex_lock(&b->lock);
	while (r == 0 && blobs_active(b, digest)) {
		r = op ? op_check(op, e) : -EBUSY;
		if (r == 0)
			wait_msec(&b->ended, &b->lock, WAIT_SLICE_MSEC);
	}
	if (r == 0 && faccessat(blob->dir, blob->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		pthread_mutex_unlock(&b->lock);
		*ret = NULL;
		return 0;
	}
	if (r == 0)
		r = open_part(blob, e);
	if (r == 0)
		LIST_INSERT_HEAD(&b->active, blob, link);
	pthread_mutex_unlock(&b->lock);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(blob);
	return 0;
}

/* The followers hear of it when that is worth it. With the lock held. */
static void tell(struct blob *blob, bool last)
{
	uint64_t step = blob->size / TOLD_MAX, there = blob->at - blob->gathered_size;
	struct follower *f;

	if (step < TOLD_STEP_MIN)
		step = TOLD_STEP_MIN;
	if (!last && (there <= blob->told || there - blob->told < step))
		return;
	blob->told = there;
	/* Who doesn't listen any more (EPIPE) is none of this side's business. */
	SLIST_FOREACH (f, &blob->followers, link)
		for (int i = 0; i < (last ? 2 : 1); i++)
			(void)!write(f->pipe, &there, sizeof(there));
}

static void grown(struct blob *blob)
{
	pthread_mutex_lock(&blob->blobs->lock);
	tell(blob, false);
	pthread_mutex_unlock(&blob->blobs->lock);
}

int blob_resume(struct blob *blob, uint64_t *ret_at, struct err *e)
{
	_cleanup_free_ char *buf = NULL;
	size_t n = 1 << 20;
	struct stat st;

	if (fstat(blob->fd, &st) < 0)
		return err_sys(e, -errno, "blob %s", blob->digest);
	if ((uint64_t)st.st_size > blob->size && ftruncate(blob->fd, 0) < 0)
		return err_sys(e, -errno, "blob %s", blob->digest);
	if ((uint64_t)st.st_size > blob->size || blob->at > 0)
		goto out;
	buf = malloc(n);
	if (!buf)
		return err_sys(e, -ENOMEM, "blob %s", blob->digest);
	for (;;) {
		ssize_t got = pread(blob->fd, buf, n, (off_t)blob->at);

		if (got < 0)
			return err_sys(e, -errno, "reading blob %s", blob->digest);
		if (got == 0)
			break;
		hash_update(blob->hash, buf, (size_t)got);
		blob->at += (uint64_t)got;
	}
	grown(blob);
out:
	*ret_at = blob->at;
	return 0;
}

void blob_rewind(struct blob *blob)
{
	struct hash *fresh = NULL;

	/* What followers have been told of stays in the file: the same bytes go there again, or the digest is wrong. */
	blob->at = blob->gathered_size = 0;
	if (hash_new(blob->digest, &fresh, NULL) == 0) {
		hash_free(blob->hash);
		blob->hash = fresh;
	}
}

static int flush(struct blob *blob, struct err *e)
{
	size_t n = blob->gathered_size;
	int r = io_pwrite_full(blob->fd, blob->gathered, n, (off_t)(blob->at - n));

	if (r < 0)
		return err_sys(e, r, "writing blob %s", blob->digest);
	hash_update(blob->hash, blob->gathered, n);
	blob->gathered_size = 0;
	grown(blob);
	return 0;
}

int blob_write(struct blob *blob, const void *data, size_t n, struct err *e)
{
	const uint8_t *p = data;

	if (n > blob->size - blob->at)
		return err_set(e, -EBADMSG, "blob %s is longer than the %llu bytes that the manifest says",
			blob->digest, (unsigned long long)blob->size);
	while (n > 0) {
		size_t room = GATHER - blob->gathered_size, take = n < room ? n : room;
		int r;

		memcpy(blob->gathered + blob->gathered_size, p, take);
		blob->gathered_size += take;
		blob->at += take;
		p += take;
		n -= take;
		r = blob->gathered_size == GATHER ? flush(blob, e) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int verify(const struct blob *blob, struct err *e)
{
	char have[DIGEST_TEXT_MAX];

	if (blob->at != blob->size)
		return err_set(e, -EBADMSG, "blob %s has %llu bytes, not the %llu that the manifest says",
			blob->digest, (unsigned long long)blob->at, (unsigned long long)blob->size);
	hash_text(blob->hash, have);
	if (strcmp(have, blob->digest) != 0)
		return err_set(
			e, -EBADMSG, "blob %s is damaged: what came has the digest %s", blob->digest, have);
	return 0;
}

int blob_commit(struct blob *blob, struct err *e)
{
	int r = flush(blob, e);

	if (r < 0)
		return r;
	r = verify(blob, e);

	if (r < 0) {
		unlinkat(blob->dir, blob->part, 0);
		return r;
	}
	if (ftruncate(blob->fd, (off_t)blob->size) < 0 || fdatasync(blob->fd) < 0)
		return err_sys(e, -errno, "writing blob %s", blob->digest);
	pthread_mutex_lock(&blob->blobs->lock);
	if (renameat(blob->dir, blob->part, blob->dir, blob->name) < 0)
		r = err_sys(e, -errno, "blob %s", blob->digest);
	if (r == 0) {
		tell(blob, true);
		blob->whole = true;
	}
	pthread_mutex_unlock(&blob->blobs->lock);
	return r;
}

struct blob *blob_end(struct blob *blob, bool drop)
{
	struct blobs *b;

	if (!blob)
		return NULL;
	b = blob->blobs;
	/* What came is something to go on with. */
	if (!blob->whole && !drop)
		(void)flush(blob, NULL);
	pthread_mutex_lock(&b->lock);
	/* An empty file is nothing to go on with. */
	if (!blob->whole && (drop || blob->at == 0))
		unlinkat(blob->dir, blob->part, 0);
	LIST_REMOVE(blob, link);
	pthread_cond_broadcast(&b->ended);
	pthread_mutex_unlock(&b->lock);
	blob_free(blob);
	return NULL;
}

int blob_follow(struct blob *blob, int *ret_fd, int *ret_grow, struct err *e)
{
	struct follower *f = calloc(1, sizeof(*f));
	_cleanup_close_ int fd = -EBADF;
	int ends[2] = {-EBADF, -EBADF};

	if (!f)
		return err_sys(e, -ENOMEM, "blob");
	pthread_mutex_lock(&blob->blobs->lock);
	fd = openat(blob->dir, blob->whole ? blob->name : blob->part, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || (!blob->whole && pipe2(ends, O_CLOEXEC) < 0)) {
		int r = err_sys(e, -errno, "blob %s", blob->digest);

		pthread_mutex_unlock(&blob->blobs->lock);
		free(f);
		return r;
	}
	if (blob->whole) {
		free(f);
	} else {
		f->pipe = ends[1];
		SLIST_INSERT_HEAD(&blob->followers, f, link);
		if (blob->told > 0)
			(void)!write(f->pipe, &blob->told, sizeof(blob->told));
	}
	pthread_mutex_unlock(&blob->blobs->lock);
	*ret_fd = TAKE_FD(fd);
	*ret_grow = ends[0] < 0 ? -1 : ends[0];
	return 0;
}
