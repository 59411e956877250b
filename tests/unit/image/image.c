/* A tar as an image, attribute by attribute, read back with libext2fs; disks. e2fsck has nothing to say of any. */
#include <archive.h>
#include <archive_entry.h>
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
#include "image/image.h"

#define LATE 4102444800 /* 2100 */

struct bench {
	char path[40];
	int out, tar;
	struct archive *a;
	ext2_filsys fs;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memcpy(b->path, "/tmp/banger-image-XXXXXX", sizeof("/tmp/banger-image-XXXXXX"));
	b->out = mkostemp(b->path, O_CLOEXEC);
	b->tar = memfd_create("tar", MFD_CLOEXEC);
	b->a = archive_write_new();
	assert_true(b->out >= 0 && b->tar >= 0 && b->a);
	archive_write_set_format_pax(b->a);
	assert_int_equal(archive_write_open_fd(b->a, b->tar), ARCHIVE_OK);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	if (b->fs)
		ext2fs_close_free(&b->fs);
	archive_write_free(b->a);
	close_fd(b->out);
	close_fd(b->tar);
	unlink(b->path);
	free(b);
	return 0;
}

static struct archive_entry *entry_new(const char *path, uint32_t mode)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, path);
	archive_entry_set_mode(e, mode);
	archive_entry_set_mtime(e, LATE, 123456789);
	return e;
}

static void add(struct bench *b, struct archive_entry *e, const void *data, size_t n)
{
	if (n)
		archive_entry_set_size(e, (int64_t)n);
	/* A warning: a name that isn't of the C locale. */
	assert_true(archive_write_header(b->a, e) >= ARCHIVE_WARN);
	assert_int_equal(archive_write_data(b->a, data, n), n);
	archive_entry_free(e);
}

static void add_file(struct bench *b, const char *path, const void *data, size_t n)
{
	add(b, entry_new(path, S_IFREG | 0644), data, n);
}

static int import(struct bench *b, struct err *e)
{
	struct image_result result;

	assert_int_equal(archive_write_close(b->a), ARCHIVE_OK);
	lseek(b->tar, 0, SEEK_SET);
	return image_from_tar(b->tar, b->out, "seed", NULL, &result, e);
}

static void check_and_open(struct bench *b)
{
	const char *const argv[] = {"e2fsck", "-fn", b->path, NULL};
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_free_ char *text = NULL;
	_cleanup_err_ struct err e = {0};

	spec.argv = argv;
	if (proc_run(&spec, &text, NULL, NULL, &e) < 0)
		fail_msg("e2fsck: %s\n%s", err_text(&e), text ? text : "");
	assert_int_equal(ext2fs_open(b->path, EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &b->fs), 0);
}

static void import_well(struct bench *b)
{
	_cleanup_err_ struct err e = {0};

	if (import(b, &e) < 0)
		fail_msg("%s", err_text(&e));
	check_and_open(b);
}

static ext2_ino_t find(struct bench *b, const char *path)
{
	ext2_ino_t ino;

	return ext2fs_namei(b->fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path, &ino) == 0 ? ino : 0;
}

static struct ext2_inode_large inode_at(struct bench *b, const char *path)
{
	struct ext2_inode_large inode;
	ext2_ino_t ino = find(b, path);

	if (!ino)
		fail_msg("%s isn't there", path);
	assert_int_equal(ext2fs_read_inode_full(b->fs, ino, (struct ext2_inode *)&inode, sizeof(inode)), 0);
	return inode;
}

static void expect_bytes(struct bench *b, const char *path, uint64_t at, const void *wanted, size_t n)
{
	_cleanup_free_ uint8_t *buf = malloc(n + 1);
	ext2_file_t f;
	unsigned got;

	assert_int_equal(ext2fs_file_open(b->fs, find(b, path), 0, &f), 0);
	assert_int_equal(ext2fs_file_llseek(f, at, EXT2_SEEK_SET, NULL), 0);
	assert_int_equal(ext2fs_file_read(f, buf, (unsigned)n, &got), 0);
	ext2fs_file_close(f);
	assert_int_equal(got, n);
	assert_memory_equal(buf, wanted, n);
}

static int64_t seconds(uint32_t low, uint32_t extra)
{
	return (int64_t)(int32_t)low + ((int64_t)(extra & 3) << 32);
}

static void attributes(void **state)
{
	static const int64_t times[] = {
		0, 1, -2, -2147483648ll, 2147483647ll, 2147483648ll, LATE, 15032385535ll};
	struct bench *b = *state;
	struct archive_entry *e = entry_new("own", S_IFREG | 06751);
	struct ext2_inode_large inode;
	char name[16];

	archive_entry_set_uid(e, 100000);
	archive_entry_set_gid(e, 4294967295);
	add(b, e, NULL, 0);
	for (size_t i = 0; i < ELEMENTSOF(times); i++) {
		snprintf(name, sizeof(name), "time%zu", i);
		e = entry_new(name, S_IFREG | 0600);
		/* libarchive writes a negative time's fraction as it stands; in a pax header it counts downwards. */
		archive_entry_set_mtime(
			e, times[i] < 0 ? times[i] + 1 : times[i], times[i] < 0 ? 1 : 999999999);
		add(b, e, NULL, 0);
	}
	add(b, entry_new("sticky", S_IFDIR | 01777), NULL, 0);
	add(b, entry_new("fifo", S_IFIFO | 0600), NULL, 0);
	for (size_t i = 0; i < 2; i++) {
		e = entry_new(i ? "chr" : "blk", (i ? S_IFCHR : S_IFBLK) | 0660);
		archive_entry_set_rdevmajor(e, i ? 5 : 259);
		archive_entry_set_rdevminor(e, i ? 1 : 300);
		add(b, e, NULL, 0);
	}
	import_well(b);
	inode = inode_at(b, "own");
	assert_int_equal(inode.i_mode, S_IFREG | 06751);
	assert_int_equal(inode_uid(inode), 100000);
	assert_int_equal(inode_gid(inode), 4294967295);
	assert_int_equal(inode.i_mtime_extra >> 2, 123456789);
	for (size_t i = 0; i < ELEMENTSOF(times); i++) {
		snprintf(name, sizeof(name), "time%zu", i);
		inode = inode_at(b, name);
		assert_true(seconds(inode.i_mtime, inode.i_mtime_extra) == times[i]);
		assert_int_equal(inode.i_mtime_extra >> 2, 999999999);
	}
	assert_int_equal(inode_at(b, "sticky").i_mode, S_IFDIR | 01777);
	assert_int_equal(inode_at(b, "fifo").i_mode, S_IFIFO | 0600);
	inode = inode_at(b, "chr");
	assert_int_equal(inode.i_mode, S_IFCHR | 0660);
	assert_int_equal(inode.i_block[0], 5 << 8 | 1);
	inode = inode_at(b, "blk");
	assert_int_equal(inode.i_block[0], 0);
	assert_int_equal(inode.i_block[1], (300 & 0xff) | 259 << 8 | (300 & ~0xff) << 12);
}

static void contents(void **state)
{
	static const uint64_t offsets[] = {0, 5000000, 9ull << 30};
	_cleanup_free_ uint8_t *data = malloc(3 << 20);
	struct bench *b = *state;
	struct archive_entry *e = entry_new("sparse", S_IFREG | 0644);
	struct ext2_inode_large inode;
	char many[32];

	for (size_t i = 0; i < 3 << 20; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13 | 1);
	add_file(b, "empty", NULL, 0);
	add_file(b, "one", data, 4096);
	add_file(b, "less", data, 4095);
	add_file(b, "more", data, 4097);
	add_file(b, "large", data, 3 << 20);
	archive_entry_set_size(e, 10ll << 30);
	for (size_t i = 0; i < ELEMENTSOF(offsets); i++)
		archive_entry_sparse_add_entry(e, (int64_t)offsets[i], 10000);
	assert_int_equal(archive_write_header(b->a, e), ARCHIVE_OK);
	for (size_t i = 0; i < ELEMENTSOF(offsets); i++) {
		uint64_t next = i ? offsets[i - 1] + 10000 : 0;
		_cleanup_free_ uint8_t *hole = calloc(1, 1 << 20);

		for (uint64_t left = offsets[i] - next; left > 0;) {
			size_t n = left < 1 << 20 ? (size_t)left : 1 << 20;

			assert_true(archive_write_data(b->a, hole, n) > 0);
			left -= n;
		}
		assert_int_equal(archive_write_data(b->a, data, 10000), 10000);
	}
	archive_entry_free(e);
	/* Replaced and with their blocks given back, between others that stay. */
	for (int i = 0; i < 200; i++) {
		snprintf(many, sizeof(many), "f%d", i % 70);
		add_file(b, many, data + i, (size_t)(i % 7) * 5000 + 1);
	}
	import_well(b);
	inode = inode_at(b, "empty");
	assert_int_equal(EXT2_I_SIZE(&inode), 0);
	assert_int_equal(inode.i_blocks, 0);
	inode = inode_at(b, "one");
	assert_int_equal(EXT2_I_SIZE(&inode), 4096);
	assert_int_equal(inode.i_blocks, 8);
	expect_bytes(b, "one", 0, data, 4096);
	expect_bytes(b, "less", 0, data, 4095);
	expect_bytes(b, "more", 0, data, 4097);
	expect_bytes(b, "large", 0, data, 3 << 20);
	inode = inode_at(b, "sparse");
	assert_true(EXT2_I_SIZE(&inode) == 10ull << 30);
	assert_true(inode.i_blocks <= 16 * 8);
	for (size_t i = 0; i < ELEMENTSOF(offsets); i++)
		expect_bytes(b, "sparse", offsets[i], data, 10000);
	for (int i = 130; i < 200; i++) {
		snprintf(many, sizeof(many), "f%d", i % 70);
		expect_bytes(b, many, 0, data + i, (size_t)(i % 7) * 5000 + 1);
	}
}

static void links_and_names(void **state)
{
	static const size_t lengths[] = {1, 59, 60, 61, 4000, 4095};
	struct bench *b = *state;
	struct archive_entry *e;
	struct ext2_inode_large inode;
	char target[4096], name[256];

	memset(target, 't', sizeof(target));
	for (size_t i = 0; i < ELEMENTSOF(lengths); i++) {
		snprintf(name, sizeof(name), "link%zu", lengths[i]);
		e = entry_new(name, S_IFLNK | 0777);
		target[lengths[i]] = '\0';
		archive_entry_set_symlink(e, target);
		target[lengths[i]] = 't';
		add(b, e, NULL, 0);
	}
	add_file(b, "first", "x", 1);
	e = entry_new("second", S_IFREG | 0644);
	archive_entry_set_hardlink(e, "first");
	add(b, e, NULL, 0);
	memset(name, 'n', 255);
	name[255] = '\0';
	add_file(b, name, "y", 1);
	add_file(b, "two\nlines", "z", 1);
	import_well(b);
	for (size_t i = 0; i < ELEMENTSOF(lengths); i++) {
		char link[16];

		snprintf(link, sizeof(link), "link%zu", lengths[i]);
		inode = inode_at(b, link);
		assert_int_equal(EXT2_I_SIZE(&inode), lengths[i]);
		if (lengths[i] < 60)
			assert_memory_equal(inode.i_block, target, lengths[i]);
		else
			assert_int_equal(inode.i_blocks, 8);
	}
	assert_int_equal(find(b, "first"), find(b, "second"));
	assert_int_equal(inode_at(b, "first").i_links_count, 2);
	expect_bytes(b, name, 0, "y", 1);
	expect_bytes(b, "two\nlines", 0, "z", 1);
}

static void expect_xattr(struct bench *b, const char *path, const char *name, const void *wanted, size_t n)
{
	struct ext2_xattr_handle *h;
	void *value = NULL;
	size_t got;

	assert_int_equal(ext2fs_xattrs_open(b->fs, find(b, path), &h), 0);
	assert_int_equal(ext2fs_xattrs_read(h), 0);
	assert_int_equal(ext2fs_xattr_get(h, name, &value, &got), 0);
	assert_int_equal(got, n);
	assert_memory_equal(value, wanted, n);
	ext2fs_free_mem(&value);
	ext2fs_xattrs_close(&h);
}

static void xattrs(void **state)
{
	struct bench *b = *state;
	struct archive_entry *e = entry_new("file", S_IFREG | 0755);
	char large[3000];

	memset(large, 'v', sizeof(large));
	archive_entry_xattr_add_entry(e, "user.note", "here", 4);
	archive_entry_xattr_add_entry(e, "user.large", large, sizeof(large));
	archive_entry_xattr_add_entry(
		e, "security.capability", "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	archive_entry_xattr_add_entry(e, "trusted.overlay.opaque", "y", 1);
	add(b, e, "x", 1);
	import_well(b);
	expect_xattr(b, "file", "user.note", "here", 4);
	expect_xattr(b, "file", "user.large", large, sizeof(large));
	expect_xattr(b, "file", "security.capability", "\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
}

static void xattrs_too_large(void **state)
{
	_cleanup_free_ char *large = calloc(1, 65536);
	_cleanup_err_ struct err err = {0};
	struct bench *b = *state;
	struct archive_entry *e = entry_new("which", S_IFREG | 0755);

	archive_entry_xattr_add_entry(e, "user.large", large, 65536);
	add(b, e, "x", 1);
	assert_int_equal(import(b, &err), -EBADMSG);
	assert_non_null(strstr(err_text(&err), "which"));
}

/* e2fsck knows each name's hash: it says when one isn't in the block that the index has for it. */
static void large_folder(struct bench *b, unsigned n, const char *tail)
{
	char *name = NULL, *line = NULL;
	uint64_t before;
	int i;

	for (i = 0; i < (int)n; i++) {
		assert_true(asprintf(&name, "many/\303\251%d%s", i, tail) > 0);
		add(b, entry_new(name, S_IFREG | 0644), NULL, 0);
		free(name);
	}
	before = io_now_usec();
	import_well(b);
	print_message(
		"# %u names: %llu ms, with e2fsck\n", n, (unsigned long long)(io_now_usec() - before) / 1000);
	assert_true(inode_at(b, "many").i_flags & EXT2_INDEX_FL);
	for (i = 0; i < (int)n; i += (int)n / 50) {
		assert_true(asprintf(&line, "many/\303\251%d%s", i, tail) > 0);
		assert_int_not_equal(find(b, line), 0);
		free(line);
	}
}

static void a_folder_of_many(void **state)
{
	large_folder(*state, 40000, "");
}

/* Two levels of index. */
static void a_folder_of_long_names(void **state)
{
	char tail[241];

	memset(tail, 'n', 240);
	tail[240] = '\0';
	large_folder(*state, 20000, tail);
}

static void around_one_block(void **state)
{
	struct bench *b = *state;
	char name[32];

	/* "." and ".." take 24 bytes of 4084, each of these 20: 203 fit. */
	for (int dir = 200; dir < 208; dir++)
		for (int i = 0; i < dir; i++) {
			snprintf(name, sizeof(name), "d%d/name-%06d", dir, i);
			add(b, entry_new(name, S_IFREG | 0644), NULL, 0);
		}
	import_well(b);
	assert_false(inode_at(b, "d203").i_flags & EXT2_INDEX_FL);
	assert_int_equal(inode_at(b, "d203").i_size, 4096);
	assert_true(inode_at(b, "d204").i_flags & EXT2_INDEX_FL);
	for (int i = 0; i < 204; i++) {
		snprintf(name, sizeof(name), "d204/name-%06d", i);
		assert_int_not_equal(find(b, name), 0);
	}
}

static void disks(void **state)
{
	struct bench *b = *state;
	_cleanup_err_ struct err e = {0};
	struct stat st;

	assert_int_equal(disk_make_work(b->out, 1 << 20, NULL), -ERANGE);
	assert_int_equal(disk_make_work(b->out, 8ull << 30, &e), 0);
	assert_int_equal(fstat(b->out, &st), 0);
	assert_true(st.st_size == 8ll << 30);
	if (st.st_blocks * 512ull >= 1 << 20)
		fail_msg("%llu KiB are allocated", (unsigned long long)st.st_blocks / 2);
	check_and_open(b);
	assert_int_equal(inode_at(b, "/").i_mode, S_IFDIR | 0700);
	assert_int_equal(inode_at(b, "workspace").i_mode, S_IFDIR | 0755);
	assert_int_equal(disk_grow(b->out, 4ull << 30, NULL), -EINVAL);
	assert_int_equal(disk_grow(b->out, 9ull << 30, NULL), 0);
	assert_int_equal(ftruncate(b->out, 0), 0);
	assert_int_equal(disk_make_overlay(b->out, 1ull << 30, &e), 0);
	ext2fs_close_free(&b->fs);
	check_and_open(b);
	assert_int_not_equal(find(b, "upper"), 0);
	assert_int_not_equal(find(b, "work"), 0);
}

/* An image has no journal until somebody is to write to it; then it costs next to nothing, and is made once. */
static void a_journal(void **state)
{
	struct bench *b = *state;
	_cleanup_err_ struct err e = {0};
	struct image_result result;
	struct stat before, after;

	add_file(b, "file", "contents", 8);
	import_well(b);
	assert_false(ext2fs_has_feature_journal(b->fs->super));
	ext2fs_close_free(&b->fs);
	assert_int_equal(fstat(b->out, &before), 0);
	if (disk_add_journal(b->out, NULL, &result, &e) < 0)
		fail_msg("%s", err_text(&e));
	check_and_open(b);
	assert_true(ext2fs_has_feature_journal(b->fs->super));
	assert_false(ext2fs_has_feature_journal_needs_recovery(b->fs->super));
	assert_int_equal(fstat(b->out, &after), 0);
	assert_int_equal(after.st_size, before.st_size);
	assert_true(after.st_blocks - before.st_blocks < 1024);
	assert_int_equal(disk_add_journal(b->out, NULL, &result, &e), 0);
	assert_int_equal(ftruncate(b->out, 0), 0);
	assert_int_equal(disk_add_journal(b->out, NULL, &result, &e), -EIO);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	static const struct CMUnitTest tests[] = {TEST(attributes), TEST(contents), TEST(links_and_names),
		TEST(xattrs), TEST(xattrs_too_large), TEST(around_one_block), TEST(a_folder_of_many),
		TEST(a_folder_of_long_names), TEST(disks), TEST(a_journal)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
