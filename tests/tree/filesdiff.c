/*
 * filesdiff SEED COUNT DIR DIR: does the same random operations on two empty folders, one on the host's ext4, and compares all that can be seen:
 * results, errors, attributes, contents, names. The seed is printed; ends at the first difference with 1.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "banger/cleanup.h"

#define NAMES     12
#define FILES     10
#define SIZE_MAX_ 300000
#define TEXT_MAX  600

struct side {
	int dir;
	int fds[FILES];
	char text[TEXT_MAX]; /* what the operation came to */
	char buf[SIZE_MAX_];
};

static struct side sides[2];
static uint64_t state;
static char data[SIZE_MAX_];

static uint32_t rnd(uint32_t below)
{
	/* xorshift64* (Vigna, An experimental exploration of Marsaglia's xorshift generators). */
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * 0x2545f4914f6cdd1d) >> 33) % below;
}

/* What an operation is done with; the same on both sides. */
struct args {
	char a[64], b[64];
	int fd, flags;
	uint32_t mode;
	off_t offset;
	size_t size;
	unsigned seed;
	struct timespec times[2];
};

static void say(struct side *s, int64_t r)
{
	snprintf(s->text, sizeof(s->text), "%" PRId64 " %s", r, r < 0 ? strerror(errno) : "");
}

/* Adds to what S says, as far as there is room. */
static void more(struct side *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void more(struct side *s, const char *fmt, ...)
{
	size_t n = strlen(s->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->text + n, sizeof(s->text) - n, fmt, ap);
	va_end(ap);
}

static void add_stat(struct side *s, const struct stat *st, bool with_times)
{
	more(s, " mode %o nlink %ju uid %u gid %u size %jd", st->st_mode,
		S_ISDIR(st->st_mode) ? 0 : (uintmax_t)st->st_nlink, st->st_uid, st->st_gid,
		S_ISDIR(st->st_mode) ? 0 : (intmax_t)st->st_size);
	if (with_times)
		more(s, " atime %jd.%09ld mtime %jd.%09ld", (intmax_t)st->st_atim.tv_sec, st->st_atim.tv_nsec,
			(intmax_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

static uint64_t sum(const char *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325; /* FNV-1a */

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)p[i]) * 0x100000001b3;
	return h;
}

static bool is_fifo(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

static void do_open(struct side *s, const struct args *a)
{
	int fd = openat(s->dir, a->a, a->flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, a->mode);

	say(s, fd < 0 ? -1 : 0);
	/* A pipe's end is the kernel's alone: no file system hears of it. */
	if (fd >= 0 && is_fifo(fd))
		fd = close_fd(fd);
	if (fd < 0)
		return;
	close_fd(s->fds[a->fd]);
	s->fds[a->fd] = fd;
}

static void do_close(struct side *s, const struct args *a)
{
	int r = s->fds[a->fd] >= 0 ? close(s->fds[a->fd]) : 0;

	say(s, r);
	s->fds[a->fd] = -EBADF;
}

static void do_write(struct side *s, const struct args *a)
{
	say(s, pwrite(s->fds[a->fd], data + a->seed % 1000, a->size, a->offset));
}

static void do_append(struct side *s, const struct args *a)
{
	_cleanup_close_ int fd =
		openat(s->dir, a->a, O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	say(s, write(fd, data + a->seed % 1000, a->size / 16));
}

static void do_read(struct side *s, const struct args *a)
{
	ssize_t n = pread(s->fds[a->fd], s->buf, a->size, a->offset);

	say(s, n);
	if (n > 0)
		more(s, "%" PRIx64, sum(s->buf, (size_t)n));
}

static void do_stat(struct side *s, const struct args *a)
{
	struct stat st;
	int r = fstatat(s->dir, a->a, &st, AT_SYMLINK_NOFOLLOW);

	say(s, r);
	if (r == 0)
		add_stat(s, &st, false);
}

static void do_fstat(struct side *s, const struct args *a)
{
	struct stat st;
	int r = fstat(s->fds[a->fd], &st);

	say(s, r);
	if (r == 0)
		add_stat(s, &st, false);
}

static void do_ftruncate(struct side *s, const struct args *a)
{
	say(s, ftruncate(s->fds[a->fd], a->offset));
}

static void do_truncate(struct side *s, const struct args *a)
{
	_cleanup_close_ int fd =
		openat(s->dir, a->a, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_TRUNC);

	say(s, fd < 0 ? -1 : 0);
}

static void do_rename(struct side *s, const struct args *a)
{
	static const unsigned how[] = {0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};

	say(s, syscall(SYS_renameat2, s->dir, a->a, s->dir, a->b, how[a->seed % 4]));
}

static void do_link(struct side *s, const struct args *a)
{
	say(s, linkat(s->dir, a->a, s->dir, a->b, 0));
}

static void do_symlink(struct side *s, const struct args *a)
{
	say(s, symlinkat(a->b, s->dir, a->a));
}

static void do_readlink(struct side *s, const struct args *a)
{
	char link[256] = "";
	ssize_t n = readlinkat(s->dir, a->a, link, sizeof(link) - 1);

	say(s, n);
	if (n > 0)
		more(s, "%s", link);
}

static void do_unlink(struct side *s, const struct args *a)
{
	say(s, unlinkat(s->dir, a->a, 0));
}

static void do_mkdir(struct side *s, const struct args *a)
{
	say(s, mkdirat(s->dir, a->a, a->mode));
}

static void do_rmdir(struct side *s, const struct args *a)
{
	say(s, unlinkat(s->dir, a->a, AT_REMOVEDIR));
}

static void do_fchmod(struct side *s, const struct args *a)
{
	say(s, fchmod(s->fds[a->fd], a->mode));
}

/* Set-ID and sticky bits too: what a folder hands down, what a write takes away. */
static void do_chmod(struct side *s, const struct args *a)
{
	struct stat st;
	int r = fstatat(s->dir, a->a, &st, AT_SYMLINK_NOFOLLOW);

	if (r == 0 && !S_ISLNK(st.st_mode))
		r = fchmodat(s->dir, a->a, (a->mode & 0777) | (a->seed % 8) << 9 | 0100, 0);
	say(s, r);
}

static void do_fifo(struct side *s, const struct args *a)
{
	say(s, mknodat(s->dir, a->a, S_IFIFO | a->mode, 0));
}

/* What is at a name; of symbolic links that they are not followed. */
static void do_follow(struct side *s, const struct args *a)
{
	_cleanup_close_ int fd = openat(s->dir, a->a, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	say(s, fd < 0 ? -1 : fstat(fd, &st));
	if (fd >= 0)
		add_stat(s, &st, false);
}

/* Which operation moves whose times of change: of the file A, of its folder, of B's. */
static void do_touch(struct side *s, const struct args *a)
{
	static const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	const char *at[] = {strchr(a->a, '/') ? "n0" : ".", strchr(a->b, '/') ? "n1" : "."};
	char from[80], to[80], leaf[64];
	struct stat st;
	int r = 0, fd;

	/* In folders that are there: n0 and n1, perhaps. */
	snprintf(leaf, sizeof(leaf), "%s", strrchr(a->a, '/') ? strrchr(a->a, '/') + 1 : a->a);
	snprintf(from, sizeof(from), "%s/%s", at[0], leaf);
	snprintf(to, sizeof(to), "%s/%.60s", at[1], strrchr(a->b, '/') ? strrchr(a->b, '/') + 1 : a->b);
	for (int i = 0; i < 2; i++)
		utimensat(s->dir, at[i], old, 0);
	utimensat(s->dir, from, old, AT_SYMLINK_NOFOLLOW);
	switch (a->seed % 7) {
	case 0:
		fd = openat(s->dir, from, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		r = fd < 0 ? -1 : (int)write(fd, "x", 1);
		close_fd(fd);
		break;
	case 1:
		fd = openat(s->dir, from, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		r = fd < 0 ? -1 : ftruncate(fd, 7);
		close_fd(fd);
		break;
	case 2:
		fd = openat(s->dir, from, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		r = fd < 0 ? -1 : 0;
		close_fd(fd);
		break;
	case 3:
		r = unlinkat(s->dir, from, 0);
		break;
	case 4:
		r = linkat(s->dir, from, s->dir, to, 0);
		break;
	case 5:
		r = renameat(s->dir, from, s->dir, to);
		break;
	default:
		r = fstatat(s->dir, from, &st, AT_SYMLINK_NOFOLLOW);
		if (r == 0 && S_ISREG(st.st_mode))
			r = fchmodat(s->dir, from, 0600, 0);
		break;
	}
	say(s, r);
	for (int i = 0; i < 2; i++)
		if (fstatat(s->dir, at[i], &st, 0) == 0)
			more(s, " %s %s", at[i], st.st_mtim.tv_sec == 1000 ? "as it was" : "moved");
	if (fstatat(s->dir, from, &st, AT_SYMLINK_NOFOLLOW) == 0)
		more(s, " %s %s", from, st.st_mtim.tv_sec == 1000 ? "as it was" : "moved");
	if (fstatat(s->dir, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
		more(s, " %s %s", to, st.st_mtim.tv_sec == 1000 ? "as it was" : "moved");
}

static void do_utimes(struct side *s, const struct args *a)
{
	struct stat st;
	int r = utimensat(s->dir, a->a, a->times, AT_SYMLINK_NOFOLLOW);

	say(s, r);
	if (r == 0 && fstatat(s->dir, a->a, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		a->times[0].tv_nsec != UTIME_OMIT && a->times[1].tv_nsec != UTIME_OMIT)
		add_stat(s, &st, true);
}

static void do_setxattr(struct side *s, const struct args *a)
{
	char name[32];

	snprintf(name, sizeof(name), "user.k%u", a->seed % 3);
	say(s, fsetxattr(s->fds[a->fd], name, data, a->size % 300, (int)(a->seed / 3 % 3)));
}

static void do_getxattr(struct side *s, const struct args *a)
{
	char name[32], value[400];
	ssize_t n;

	snprintf(name, sizeof(name), "user.k%u", a->seed % 3);
	n = fgetxattr(s->fds[a->fd], name, value, a->seed % 2 ? sizeof(value) : 10);
	say(s, n);
	if (n > 0)
		more(s, "%" PRIx64, sum(value, (size_t)n));
}

static void do_removexattr(struct side *s, const struct args *a)
{
	char name[32];

	snprintf(name, sizeof(name), "user.k%u", a->seed % 3);
	say(s, fremovexattr(s->fds[a->fd], name));
}

static void do_listxattr(struct side *s, const struct args *a)
{
	char names[400];
	uint64_t all = 0;
	ssize_t n = flistxattr(s->fds[a->fd], names, sizeof(names));

	say(s, n);
	/* In whatever order. */
	for (char *p = names; n > 0 && p < names + n; p += strlen(p) + 1)
		all += sum(p, strlen(p));
	more(s, "%" PRIx64, all);
}

static void do_fallocate(struct side *s, const struct args *a)
{
	static const int modes[] = {
		0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE};

	static const struct timespec now[2] = {{.tv_sec = 2000}, {.tv_sec = 2000}};
	int mode = modes[a->seed % 4];
	struct stat st;

	say(s, fallocate(s->fds[a->fd], mode, a->offset, (off_t)a->size));
	/* ext4 of some kernels moves the times for a hole where nothing is, others' do not. */
	if (mode & FALLOC_FL_PUNCH_HOLE && fstat(s->fds[a->fd], &st) == 0 && a->offset >= st.st_size)
		futimens(s->fds[a->fd], now);
}

static void do_seek(struct side *s, const struct args *a)
{
	off_t r = lseek(s->fds[a->fd], a->offset, a->seed % 2 ? SEEK_DATA : SEEK_HOLE);

	/* Where data is allocated but not written yet is a matter of what is in memory (ext4): that it is said without another error is what counts. */
	say(s, r < 0 && errno != ENXIO ? -1 : 0);
}

static void do_copy(struct side *s, const struct args *a)
{
	off_t from = a->offset, to = (off_t)a->seed % SIZE_MAX_;

	say(s, copy_file_range(s->fds[a->fd], &from, s->fds[a->flags % FILES], &to, a->size, 0));
}

static void do_fsync(struct side *s, const struct args *a)
{
	say(s, a->seed % 2 ? fsync(s->fds[a->fd]) : fdatasync(s->fds[a->fd]));
}

/* Shared and writable: what is stored is in the file once it is synchronised. */
static void do_mmap(struct side *s, const struct args *a)
{
	struct stat st;
	char *p;

	if (fstat(s->fds[a->fd], &st) < 0 || st.st_size == 0) {
		say(s, 0);
		return;
	}
	p = mmap(NULL, (size_t)st.st_size, PROT_READ | (a->seed % 2 ? PROT_WRITE : 0), MAP_SHARED,
		s->fds[a->fd], 0);
	if (p == MAP_FAILED) {
		say(s, -1);
		return;
	}
	if (a->seed % 2) {
		p[a->offset % st.st_size] ^= 0x55;
		msync(p, (size_t)st.st_size, MS_SYNC);
	}
	snprintf(s->text, sizeof(s->text), "%" PRIx64, sum(p, (size_t)st.st_size));
	munmap(p, (size_t)st.st_size);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A folder's names, in order. */
static void list(struct side *s, const char *name)
{
	int fd = openat(s->dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char *names[1000];
	struct dirent *d;
	size_t n = 0;
	DIR *dir;

	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		say(s, -1);
		return;
	}
	while ((d = readdir(dir)) && n < ELEMENTSOF(names))
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 &&
			asprintf(&names[n], "%s:%d", d->d_name, d->d_type) >= 0)
			n++;
	closedir(dir);
	qsort(names, n, sizeof(names[0]), by_name);
	for (size_t i = 0; i < n; i++) {
		more(s, "%s ", names[i]);
		free(names[i]);
	}
}

static void do_list(struct side *s, const struct args *a)
{
	list(s, a->seed % 2 ? "." : a->a);
}

#define OP(name, weight)                                                                                     \
	{                                                                                                    \
#name, do_##name, weight                                                                     \
	}
static const struct {
	const char *name;
	void (*run)(struct side *s, const struct args *a);
	unsigned weight;
} ops[] = {OP(open, 12), OP(close, 4), OP(write, 14), OP(append, 4), OP(read, 12), OP(stat, 8), OP(fstat, 6),
	OP(ftruncate, 6), OP(truncate, 2), OP(rename, 8), OP(link, 4), OP(symlink, 3), OP(readlink, 2),
	OP(unlink, 5), OP(mkdir, 5), OP(rmdir, 3), OP(fchmod, 3), OP(utimes, 4), OP(setxattr, 4),
	OP(getxattr, 3), OP(removexattr, 2), OP(listxattr, 2), OP(fallocate, 4), OP(seek, 3), OP(copy, 4),
	OP(fsync, 2), OP(mmap, 4), OP(list, 4), OP(chmod, 3), OP(fifo, 1), OP(follow, 3), OP(touch, 8)};

static void path(char *ret, size_t size)
{
	/* Folders have the first names, so that there is something in them. */
	if (rnd(3) == 0)
		snprintf(ret, size, "n%u/n%u", rnd(3), rnd(NAMES));
	else
		snprintf(ret, size, "n%u", rnd(NAMES));
}

static void choose(struct args *a)
{
	static const int kinds[] = {O_RDWR, O_RDWR | O_CREAT, O_RDWR | O_CREAT | O_EXCL,
		O_RDWR | O_CREAT | O_TRUNC, O_RDONLY, O_RDWR | O_TRUNC};

	path(a->a, sizeof(a->a));
	path(a->b, sizeof(a->b));
	a->fd = (int)rnd(FILES);
	a->flags = kinds[rnd(ELEMENTSOF(kinds))];
	a->mode = 0600 | rnd(0200);
	a->offset = (off_t)(rnd(4) ? rnd(20000) : rnd(SIZE_MAX_));
	a->size = 1 + (rnd(4) ? rnd(9000) : rnd(SIZE_MAX_ - 2000));
	a->seed = rnd(1 << 30);
	for (int i = 0; i < 2; i++) {
		a->times[i].tv_sec = rnd(2000000000);
		a->times[i].tv_nsec = rnd(5) ? rnd(1000000000) : UTIME_OMIT;
	}
}

static int compare(uint32_t i, const char *what, const struct args *a)
{
	if (strcmp(sides[0].text, sides[1].text) == 0)
		return 0;
	printf("%u: %s %s %s fd %d flags %o mode %o offset %jd size %zu seed %u\n  %s\n  %s\n", i, what, a->a,
		a->b, a->fd, (unsigned)a->flags, a->mode, (intmax_t)a->offset, a->size, a->seed,
		sides[0].text, sides[1].text);
	return 1;
}

/* Every file by name, from its first byte to its last, its times where they were set. */
static int compare_all(void)
{
	struct args a = {.size = SIZE_MAX_};
	int r = 0;

	for (int n = 0; n < NAMES + 3 * NAMES && r == 0; n++) {
		if (n < NAMES)
			snprintf(a.a, sizeof(a.a), "n%d", n);
		else
			snprintf(a.a, sizeof(a.a), "n%d/n%d", n / NAMES - 1, n % NAMES);
		for (int i = 0; i < 2; i++)
			do_stat(&sides[i], &a);
		r = compare(0, "at the end, stat", &a);
		for (int i = 0; i < 2 && r == 0; i++) {
			close_fd(sides[i].fds[0]);
			sides[i].fds[0] =
				openat(sides[i].dir, a.a, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
			do_read(&sides[i], &a);
		}
		r = r ? r : compare(0, "at the end, read", &a);
	}
	return r;
}

int main(int argc, char **argv)
{
	unsigned total = 0;
	uint64_t seed;
	uint32_t count;

	if (argc != 5)
		return 2;
	seed = strtoull(argv[1], NULL, 0);
	count = (uint32_t)strtoul(argv[2], NULL, 0);
	state = seed * 0x9e3779b97f4a7c15 + 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("seed %" PRIu64 "\n", seed);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)rnd(256);
	for (int i = 0; i < 2; i++) {
		sides[i].dir = open(argv[3 + i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (sides[i].dir < 0) {
			perror(argv[3 + i]);
			return 2;
		}
		for (int j = 0; j < FILES; j++)
			sides[i].fds[j] = -EBADF;
	}
	umask(022);
	for (size_t i = 0; i < ELEMENTSOF(ops); i++)
		total += ops[i].weight;
	for (uint32_t i = 0; i < count; i++) {
		unsigned which = rnd(total);
		struct args a;
		size_t op = 0;

		while (which >= ops[op].weight)
			which -= ops[op++].weight;
		choose(&a);
		for (int k = 0; k < 2; k++) {
			sides[k].text[0] = '\0';
			ops[op].run(&sides[k], &a);
		}
		if (compare(i, ops[op].name, &a))
			return 1;
	}
	return compare_all();
}
