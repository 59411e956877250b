/*
 * Layers written byte by byte, as no archiver would, for those that somebody made to do harm, or that are damaged: each ends in an error that names layer
 * and entry, soon, or in what is written at the test. The real CVEs have their numbers in the tests' names.
 */
#ifndef BANGER_TESTS_HOSTILE_H
#define BANGER_TESTS_HOSTILE_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ext2fs/ext2fs.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/proc.h"
#include "image/layers.h"
#include "image/tree.h"

#define BLOCK 512u
/* What a machine with a sanitizer and other things to do needs for any of these; hangs are hours. */
#define SOON_USEC 120000000ull

struct bench {
	char path[40];
	int out;
	ext2_filsys fs;
};

/* One entry: a header and what follows it. */
struct entry {
	const char *path;
	char type; /* as in the header: '0' file, '5' folder, '2', '1' links, 'x', 'g' pax, 'L', 'K', 'S' */
	const char *value; /* contents, target, or a pax header's records as they stand */
	size_t n;          /* of the contents, where they have NULs; 0: a text */
	const char *size;  /* the header's field, where it lies; 12 bytes */
	const char *data;  /* of a link, which has none */
	uint32_t mode;
};

static inline int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memcpy(b->path, "/tmp/banger-hostile-XXXXXX", sizeof("/tmp/banger-hostile-XXXXXX"));
	b->out = mkostemp(b->path, O_CLOEXEC);
	assert_true(b->out >= 0);
	*state = b;
	return 0;
}

static inline int teardown(void **state)
{
	struct bench *b = *state;

	if (b->fs)
		ext2fs_close_free(&b->fs);
	close_fd(b->out);
	unlink(b->path);
	free(b);
	return 0;
}

static inline void set_checksum(char head[BLOCK])
{
	unsigned sum = 0;

	memset(head + 148, ' ', 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)head[i];
	snprintf(head + 148, 8, "%06o", sum & 0777777);
}

/* TEXT in a field of SIZE bytes, without a NUL where it fills it. */
static inline void set_field(char *field, size_t size, const char *text)
{
	size_t n = strlen(text);

	memcpy(field, text, n < size ? n : size);
}

static inline void set_head(
	char head[BLOCK], const char *path, char type, const char *link, uint64_t size, uint32_t mode)
{
	memset(head, 0, BLOCK);
	set_field(head, 100, path);
	snprintf(head + 100, 8, "%07o", mode ? mode & 07777 : type == '5' ? 0755 : 0644);
	snprintf(head + 108, 8, "%07o", 0);
	snprintf(head + 116, 8, "%07o", 0);
	snprintf(head + 124, 12, "%011llo", (unsigned long long)size);
	snprintf(head + 136, 12, "%011o", 1700000000);
	head[156] = type;
	set_field(head + 157, 100, link);
	memcpy(head + 257,
		"ustar\0"
		"00",
		8);
	set_checksum(head);
}

static inline void put_data(FILE *f, const char *data, size_t n)
{
	static const char zeros[BLOCK];

	assert_int_equal(fwrite(data, 1, n, f), n);
	fwrite(zeros, 1, (BLOCK - n % BLOCK) % BLOCK, f);
}

static inline void put_entry(FILE *f, const struct entry *x)
{
	bool link = x->type == '1' || x->type == '2';
	const char *data = link ? (x->data ? x->data : "") : x->value ? x->value : "";
	size_t n = x->n ? x->n : strlen(data);
	char head[BLOCK];

	set_head(head, x->path, x->type, link ? x->value : "", n, x->mode);
	if (x->size) {
		memcpy(head + 124, x->size, 12);
		set_checksum(head);
	}
	assert_int_equal(fwrite(head, 1, BLOCK, f), BLOCK);
	put_data(f, data, n);
}

/* The tar of ENTRIES, up to one without a path. The caller frees it. */
static inline char *tar_of(const struct entry *entries, size_t *ret_n)
{
	char end[2 * BLOCK] = {0}, *data = NULL;
	FILE *f = open_memstream(&data, ret_n);

	assert_non_null(f);
	for (; entries->path; entries++)
		put_entry(f, entries);
	fwrite(end, 1, sizeof(end), f);
	fclose(f);
	return data;
}

static inline int file_of(const void *data, size_t n)
{
	int fd = memfd_create("layer", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(io_write_full(fd, data, n), 0);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static inline int layer_of(const struct entry *entries)
{
	size_t n;
	_cleanup_free_ char *data = tar_of(entries, &n);

	return file_of(data, n);
}

/* Takes the descriptors. */
static inline int merge(struct bench *b, const int *fds, size_t n, struct err *e)
{
	struct image_layer l[3];
	struct image_result result;
	uint64_t began = io_now_usec();
	int r;

	for (size_t i = 0; i < n; i++)
		l[i] = (struct image_layer){.fd = fds[i], .grow = -1};
	assert_int_equal(ftruncate(b->out, 0), 0);
	r = image_from_layers(l, n, b->out, "seed", NULL, &result, e);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	if (io_now_usec() - began > SOON_USEC)
		fail_msg("took %llu s", (unsigned long long)(io_now_usec() - began) / 1000000);
	return r;
}

/* The last of N layers is refused with CODE, and SAYS is in the text. */
static inline void refuse(struct bench *b, const int *fds, size_t n, int code, const char *says)
{
	_cleanup_err_ struct err e = {0};
	char layer[32];
	int r = merge(b, fds, n, &e);

	snprintf(layer, sizeof(layer), "layer %zu ", n);
	if (r != code || !strstr(err_text(&e), layer) || !strstr(err_text(&e), says))
		fail_msg("%d (wanted %d, '%s', '%s'): %s", r, code, layer, says, err_text(&e));
}

static inline void refuse_entries(struct bench *b, const struct entry *entries, int code, const char *says)
{
	int fd = layer_of(entries);

	refuse(b, &fd, 1, code, says);
}

static inline void refuse_bytes(struct bench *b, const void *data, size_t n, int code, const char *says)
{
	int fd = file_of(data, n);

	refuse(b, &fd, 1, code, says);
}

static inline void take(struct bench *b, const int *fds, size_t n)
{
	const char *const argv[] = {"e2fsck", "-fn", b->path, NULL};
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_free_ char *text = NULL;
	_cleanup_err_ struct err e = {0};

	if (b->fs)
		ext2fs_close_free(&b->fs);
	if (merge(b, fds, n, &e) < 0)
		fail_msg("%s", err_text(&e));
	spec.argv = argv;
	if (proc_run(&spec, &text, NULL, NULL, &e) < 0)
		fail_msg("e2fsck: %s\n%s", err_text(&e), text ? text : "");
	assert_int_equal(ext2fs_open(b->path, EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &b->fs), 0);
}

static inline void take_layers(struct bench *b, const struct entry *low, const struct entry *up)
{
	int fds[2] = {layer_of(low), up ? layer_of(up) : -1};

	take(b, fds, up ? 2 : 1);
}

static inline ext2_ino_t lookup(struct bench *b, const char *path)
{
	ext2_ino_t ino;

	return ext2fs_namei(b->fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path, &ino) == 0 ? ino : 0;
}

static inline uint32_t mode_of(struct bench *b, const char *path)
{
	struct ext2_inode inode;

	if (!lookup(b, path))
		fail_msg("%s isn't there", path);
	assert_int_equal(ext2fs_read_inode(b->fs, lookup(b, path), &inode), 0);
	return inode.i_mode;
}

/* WANTED: NULL: nothing is there. */
static inline void expect(struct bench *b, const char *path, const char *wanted)
{
	char buf[BLOCK];
	ext2_file_t f;
	unsigned n;

	if (!wanted) {
		if (lookup(b, path))
			fail_msg("%s is there", path);
		return;
	}
	assert_true(S_ISREG(mode_of(b, path)));
	assert_int_equal(ext2fs_file_open(b->fs, lookup(b, path), 0, &f), 0);
	assert_int_equal(ext2fs_file_read(f, buf, sizeof(buf), &n), 0);
	ext2fs_file_close(f);
	if (n != strlen(wanted) || memcmp(buf, wanted, n) != 0)
		fail_msg("%s: '%.*s', wanted '%s'", path, (int)n, buf, wanted);
}

static inline char *repeated(const char *part, size_t times)
{
	size_t n = strlen(part);
	char *s = calloc(1, n * times + 1);

	assert_non_null(s);
	for (size_t i = 0; i < times; i++)
		memcpy(s + i * n, part, n);
	return s;
}

/* "LENGTH KEY=VALUE\n"; the caller frees it. */
static inline char *record(const char *key, const char *value)
{
	size_t n = strlen(key) + strlen(value) + 3, total = n + 1;
	char *s;

	for (size_t limit = 10; total >= limit; limit *= 10)
		if (total < limit * 10 || total + 1 >= limit * 10)
			total++;
	/* Its own digits are counted too: tried until they fit. */
	for (total = n + 1;; total++) {
		if (asprintf(&s, "%zu %s=%s\n", total, key, value) < 0)
			fail_msg("out of memory");
		if (strlen(s) == total)
			return s;
		free(s);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
