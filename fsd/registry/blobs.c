#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "banger/io.h"
#include "banger/wait.h"
#include "registry/blobs_state.h"

#define PART_AGE_MAX_SEC (24 * 3600)

static bool ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), k = strlen(end);

	return n > k && strcmp(name + n - k, end) == 0;
}

/* What a crash left that nobody can go on with: blobs that were made or written here. Downloads are resumed. */
static void sweep(struct blobs *b)
{
	_cleanup_close_ int dir_fd = -EBADF;
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *d;
	int fd;

	if (blobs_dir(b, false, &dir_fd, NULL) < 0)
		return;
	fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	while (dir && (d = readdir(dir)))
		if ((strncmp(d->d_name, MADE_PREFIX, strlen(MADE_PREFIX)) == 0 &&
			    ends_in(d->d_name, PART_SUFFIX)) ||
			(strncmp(d->d_name, ".sha", 4) == 0 && ends_in(d->d_name, ".tmp")))
			unlinkat(dir_fd, d->d_name, 0);
}

int blobs_new(int state_fd, struct blobs **ret, struct err *e)
{
	struct blobs *b = calloc(1, sizeof(*b));

	if (!b)
		return err_sys(e, -ENOMEM, "blobs");
	b->state_fd = state_fd;
	LIST_INIT(&b->active);
	pthread_mutex_init(&b->lock, NULL);
	wait_init(&b->ended);
	sweep(b);
	*ret = b;
	return 0;
}

struct blobs *blobs_free(struct blobs *b)
{
	if (!b)
		return NULL;
	pthread_cond_destroy(&b->ended);
	pthread_mutex_destroy(&b->lock);
	free(b);
	return NULL;
}

int blobs_dir(struct blobs *b, bool make, int *ret_fd, struct err *e)
{
	int fd;

	if (make && mkdirat(b->state_fd, "blobs", 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "making the folder of blobs");
	fd = openat(b->state_fd, "blobs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, -errno, "opening the folder of blobs");
	*ret_fd = fd;
	return 0;
}

char *blobs_name(const char *digest, const char *suffix)
{
	char *name = NULL, *colon;

	if (asprintf(&name, "%s%s", digest, suffix) < 0)
		return NULL;
	colon = strchr(name, ':');
	if (colon)
		*colon = '-';
	return name;
}

int blobs_open(struct blobs *b, const char *digest, int *ret_fd, uint64_t *ret_size, struct err *e)
{
	_cleanup_close_ int dir = -EBADF, fd = -EBADF;
	_cleanup_free_ char *name = NULL;
	struct stat st;
	int r = digest_check(digest, e);

	if (r < 0)
		return r;
	name = blobs_name(digest, "");
	if (!name)
		return err_sys(e, -ENOMEM, "blob");
	r = blobs_dir(b, false, &dir, e);
	if (r < 0)
		return r;
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, -errno, "blob %s", digest);
	futimens(fd, NULL);
	*ret_size = (uint64_t)st.st_size;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

bool blobs_has(struct blobs *b, const char *digest)
{
	_cleanup_close_ int fd = -EBADF;
	uint64_t size;

	return blobs_open(b, digest, &fd, &size, NULL) == 0;
}

int blobs_put(struct blobs *b, const char *digest, const void *data, size_t n, struct err *e)
{
	_cleanup_close_ int dir = -EBADF;
	_cleanup_free_ char *name = NULL;
	int r = digest_check(digest, e);

	if (r == 0)
		r = digest_verify(digest, data, n, "a blob", e);
	if (r == 0)
		r = blobs_dir(b, true, &dir, e);
	if (r < 0)
		return r;
	name = blobs_name(digest, "");
	return name ? io_replace_file(dir, name, data, n, 0600, e) : err_sys(e, -ENOMEM, "blob");
}

/* A file of the folder, as prune sees it. */
struct entry {
	char *name, *digest;
	uint64_t size;
	struct timespec used;
	bool part;
};

static void entries_free(struct entry *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(list[i].name);
		free(list[i].digest);
	}
	free(list);
}

/* 1: an entry; 0: nothing of the cache's. */
static int look(int dir, const char *name, struct entry *ret, struct err *e)
{
	size_t n = strlen(name), suffix = strlen(PART_SUFFIX);
	_cleanup_free_ char *digest = NULL, *copy = NULL;
	struct stat st;
	char *dash;
	bool part = ends_in(name, PART_SUFFIX);
	/* io_replace_file()'s, whose thread could not remove it */
	bool half = name[0] == '.' && ends_in(name, ".tmp");

	if (half)
		digest = strndup(name + 1, n - 1 - strlen(".tmp"));
	else
		digest = strndup(name, part ? n - suffix : n);
	copy = strdup(name);
	if (!digest || !copy)
		return err_sys(e, -ENOMEM, "blobs");
	dash = strchr(digest, '-');
	if (dash)
		*dash = ':';
	if (digest_check(digest, NULL) < 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		!S_ISREG(st.st_mode))
		return 0;
	*ret = (struct entry){.name = TAKE_PTR(copy),
		.digest = TAKE_PTR(digest),
		.size = (uint64_t)st.st_blocks * 512,
		.used = st.st_mtim,
		.part = part || half};
	return 1;
}

static int read_entries(int dir_fd, struct entry **ret, size_t *ret_n, struct err *e)
{
	_cleanup_closedir_ DIR *dir = NULL;
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	struct entry *list = NULL;
	struct dirent *d;
	size_t n = 0;

	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		close_fd(fd);
		return err_sys(e, -errno, "reading the folder of blobs");
	}
	while (r >= 0 && (d = readdir(dir))) {
		struct entry *more = reallocarray(list, n + 1, sizeof(*list));

		if (!more) {
			r = err_sys(e, -ENOMEM, "blobs");
			break;
		}
		list = more;
		r = look(dir_fd, d->d_name, &list[n], e);
		if (r > 0)
			n++;
	}
	if (r < 0) {
		entries_free(list, n);
		return r;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

static int older_first(const void *a, const void *b)
{
	const struct timespec *x = &((const struct entry *)a)->used, *y = &((const struct entry *)b)->used;

	if (x->tv_sec != y->tv_sec)
		return x->tv_sec < y->tv_sec ? -1 : 1;
	return (x->tv_nsec > y->tv_nsec) - (x->tv_nsec < y->tv_nsec);
}

static bool may_go(const struct blobs *b, const struct blobs_prune *how, const struct entry *it)
{
	struct timespec now;

	if (blobs_active(b, it->digest))
		return false;
	/* A file's time is of the last tick. */
	if (how->since && (uint64_t)it->used.tv_sec + 1 >= how->since / 1000000)
		return false;
	if (!it->part)
		return !how->used(how->user, it->digest);
	clock_gettime(CLOCK_REALTIME, &now);
	return how->quota == 0 || now.tv_sec - it->used.tv_sec > PART_AGE_MAX_SEC;
}

int blobs_prune(struct blobs *b, const struct blobs_prune *how, uint64_t *ret_bytes, struct err *e)
{
	_cleanup_close_ int dir = -EBADF;
	struct entry *list = NULL;
	uint64_t sum = 0, all = 0;
	size_t n = 0;
	int r = blobs_dir(b, false, &dir, NULL);

	if (r == -ENOENT) {
		*ret_bytes = 0;
		return 0;
	}
	if (r < 0)
		return blobs_dir(b, false, &dir, e);
	r = read_entries(dir, &list, &n, e);
	if (r < 0)
		return r;
	if (n)
		qsort(list, n, sizeof(*list), older_first);
	for (size_t i = 0; i < n; i++)
		all += list[i].size;
	for (size_t i = 0; r == 0 && i < n && (how->quota == 0 || all - sum > how->quota); i++) {
		bool goes;

		pthread_mutex_lock(&b->lock);
		goes = may_go(b, how, &list[i]);
		if (goes && !how->dry && unlinkat(dir, list[i].name, 0) < 0 && errno != ENOENT) {
			r = err_sys(e, -errno, "removing blob %s", list[i].name);
			goes = false;
		}
		pthread_mutex_unlock(&b->lock);
		if (goes) {
			sum += list[i].size;
			how->freed(how->user, list[i].digest, list[i].size);
		}
	}
	entries_free(list, n);
	if (r == 0)
		*ret_bytes = sum;
	return r;
}
