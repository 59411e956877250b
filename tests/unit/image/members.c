/* What an image's archive is taken apart to, by a confined child; layers out of the middle of a file; folders read by a child that can read no other; ext4 files looked at. */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ext2fs/ext2fs.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "image/members.h"
#include "image/sandbox.h"
#include "image/worker.h"

#define SPARSE (1 << 20)
#define HEX    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define OTHER  "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

struct entry {
	const char *path;
	char kind;         /* 'd', 'f', 'l' symbolic link, 'h' hard link, 's' a sparse file, 'p' a fifo */
	const char *value; /* contents or target */
};

static int tar_of(const struct entry *entries, int (*filter)(struct archive *))
{
	int fd = memfd_create("tar", MFD_CLOEXEC);
	struct archive *a = archive_write_new();

	archive_write_set_format_pax(a);
	assert_int_equal(filter(a), ARCHIVE_OK);
	assert_int_equal(archive_write_open_fd(a, fd), ARCHIVE_OK);
	for (; entries->path; entries++) {
		struct archive_entry *e = archive_entry_new();
		size_t n = entries->kind == 'f' || entries->kind == 's' ? strlen(entries->value) : 0;

		archive_entry_set_pathname(e, entries->path);
		archive_entry_set_mode(e, entries->kind == 'd'   ? S_IFDIR | 0755
					  : entries->kind == 'l' ? S_IFLNK | 0777
					  : entries->kind == 'p' ? S_IFIFO | 0644
								 : S_IFREG | 0644);
		archive_entry_set_size(e, entries->kind == 's' ? SPARSE : (int64_t)n);
		if (entries->kind == 's')
			archive_entry_sparse_add_entry(e, SPARSE - (int64_t)n, (int64_t)n);
		if (entries->kind == 'l')
			archive_entry_set_symlink(e, entries->value);
		if (entries->kind == 'h')
			archive_entry_set_hardlink(e, entries->value);
		if (archive_write_header(a, e) < ARCHIVE_WARN)
			fail_msg("%s: %s", entries->path, archive_error_string(a));
		if (entries->kind == 's') {
			_cleanup_free_ char *zeros = calloc(1, SPARSE);

			memcpy(zeros + SPARSE - n, entries->value, n);
			assert_int_equal(archive_write_data(a, zeros, SPARSE), SPARSE);
		} else if (n > 0) {
			assert_int_equal(archive_write_data(a, entries->value, n), n);
		}
		archive_entry_free(e);
	}
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

/* By a worker; *RET NULL: no image's archive. */
static int unpack(int tar, int spool, struct members **ret, struct err *e)
{
	struct worker_request q = {.task = WORKER_MEMBERS, .input = tar, .output = spool};
	struct image_result result = {.entries = 77};
	int r;

	*ret = NULL;
	lseek(tar, 0, SEEK_SET);
	assert_int_equal(ftruncate(spool, 0), 0);
	lseek(spool, 0, SEEK_SET);
	r = worker_run(&q, NULL, &result, e);
	return r == 0 && result.entries > 0 ? members_load(tar, spool, &result, ret, e) : r;
}

static void an_archive(void **state)
{
	static int (*const filters[])(struct archive *) = {
		archive_write_add_filter_none, archive_write_add_filter_gzip, archive_write_add_filter_zstd};
	static const struct entry entries[] = {{"./", 'd', NULL}, {"./blobs/", 'd', NULL},
		{"./blobs/sha256/", 'd', NULL}, {"./blobs/sha256/" HEX, 'f', "first"},
		{"README", 'f', "again"}, {"a folder", 'd', NULL}, {"index.json", 'f', "one"},
		{"oci-layout", 'f', ""}, {"index.json", 'f', "two"}, {OTHER, 'd', NULL},
		{OTHER "/layer.tar", 'l', "../" HEX ".tar"},
		{"blobs/sha256/" OTHER, 'h', "./blobs/sha256/" HEX}, {0}};
	_cleanup_close_ int spool = memfd_create("spool", MFD_CLOEXEC);

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(filters); i++) {
		_cleanup_close_ int tar = tar_of(entries, filters[i]);
		_cleanup_(members_freep) struct members *m = NULL;
		_cleanup_err_ struct err e = {0};
		const struct member *one;
		char buf[8] = "";

		if (unpack(tar, spool, &m, &e) < 0)
			fail_msg("%s", err_text(&e));
		assert_non_null(m);
		one = members_find(m, "blobs/sha256/" HEX);
		assert_non_null(one);
		assert_int_equal(one->size, 5);
		assert_int_equal(pread(one->in_place ? tar : spool, buf, 5, (off_t)one->offset), 5);
		assert_string_equal(buf, "first");
		assert_string_equal(one->digest,
			"sha256:a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e");
		assert_string_equal(one->link, "");
		assert_int_equal(one->in_place, i == 0);
		/* The last one of a name counts. */
		one = members_find(m, "index.json");
		assert_int_equal(pread(one->in_place ? tar : spool, buf, 3, (off_t)one->offset), 3);
		assert_memory_equal(buf, "two", 3);
		assert_int_equal(members_find(m, "oci-layout")->size, 0);
		assert_string_equal(members_find(m, OTHER "/layer.tar")->link, HEX ".tar");
		assert_string_equal(members_find(m, "blobs/sha256/" OTHER)->link, "blobs/sha256/" HEX);
		/* What may be there and is nothing is let be. */
		assert_non_null(members_find(m, "README"));
		assert_null(members_find(m, "a folder"));
		assert_null(members_find(m, ""));
	}
}

static void no_archive(void **state)
{
	static const struct entry lists[][4] = {
		{{"./", 'd', NULL}, {"./bin", 'l', "usr/bin"}, {"./index.json", 'f', "x"}, {0}},
		{{"manifest.json", 'f', "x"}, {"etc/", 'd', NULL}, {0}},
		{{"etc/passwd", 'f', "x"}, {0}},
		{{"file", 'f', "x"}, {0}},
		{{"blobs", 'd', NULL}, {"blobs/x", 'd', NULL}, {0}},
		{{"../index.json", 'f', "x"}, {0}},
		{{"/index.json", 'f', "x"}, {0}},
		{{"fifo", 'p', NULL}, {0}},
		{{0}},
	};
	_cleanup_close_ int spool = memfd_create("spool", MFD_CLOEXEC);

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(lists); i++) {
		_cleanup_close_ int tar = tar_of(lists[i], archive_write_add_filter_none);
		_cleanup_err_ struct err e = {0};
		struct members *m;

		if (unpack(tar, spool, &m, &e) < 0)
			fail_msg("%zu: %s", i, err_text(&e));
		if (m)
			fail_msg("%zu is an image's archive", i);
	}
}

static void broken(void **state)
{
	static const struct entry no_index[] = {{"blobs/sha256/" HEX, 'f', "x"}, {0}},
				  sparse[] = {{"blobs/sha256/" HEX, 's', "x"}, {"index.json", 'f', "x"}, {0}},
				  good[] = {{"oci-layout", 'f', "x"}, {"index.json", 'f', "xxxx"}, {0}};
	_cleanup_close_ int spool = memfd_create("spool", MFD_CLOEXEC);
	const struct {
		const struct entry *entries;
		off_t cut;
		const char *says;
	} rows[] = {{no_index, 0, "neither index.json"}, {sparse, 0, "sparse"}, {good, 1538, "runcated"}};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		_cleanup_close_ int tar = tar_of(rows[i].entries, archive_write_add_filter_none);
		_cleanup_err_ struct err e = {0};
		struct members *m;

		if (rows[i].cut)
			assert_int_equal(ftruncate(tar, rows[i].cut), 0);
		if (unpack(tar, spool, &m, &e) != -EBADMSG || !strstr(err_text(&e), rows[i].says))
			fail_msg("%zu: %s", i, err_text(&e));
	}
}

/* What a child that was taken over may leave. */
static void hostile_table(void **state)
{
	static const char digest[] = "sha256:" HEX;
	_cleanup_close_ int source = memfd_create("source", MFD_CLOEXEC);
	_cleanup_close_ int spool = memfd_create("spool", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(ftruncate(source, 9), 0);
	for (int i = 0; i < 16; i++) {
		struct member one = {.name = "x", .offset = 3, .size = 7};
		struct image_result result = {.size = 10, .entries = 1};
		struct members *m = NULL;
		off_t length = 10 + (off_t)sizeof(one);

		memcpy(one.digest, digest, sizeof(digest));
		if (i == 1)
			one.size = 8;
		if (i == 2)
			one.offset = UINT64_MAX;
		if (i == 3)
			one.size = UINT64_MAX - 2;
		if (i == 4)
			memset(one.name, 'x', sizeof(one.name));
		if (i == 5)
			memset(one.link, 'x', sizeof(one.link));
		if (i == 6)
			memset(one.digest, 'x', sizeof(one.digest));
		if (i == 7)
			one.digest[9] = 'X';
		if (i == 8)
			result.entries = 2;
		if (i == 9)
			result.entries = UINT64_MAX / sizeof(one) + 2;
		if (i == 10)
			result.size = UINT64_MAX - 5;
		if (i == 11)
			length--;
		/* In an archive of nine bytes. */
		one.in_place = i > 11;
		if (i == 12)
			one.size = 6;
		if (i == 14)
			one.offset = 10;
		if (i == 15)
			one.in_place = 2;
		assert_int_equal(io_pwrite_full(spool, &one, sizeof(one), 10), 0);
		assert_int_equal(ftruncate(spool, length), 0);
		if (members_load(source, spool, &result, &m, NULL) != (i == 0 || i == 12 ? 0 : -EBADMSG))
			fail_msg("table %d", i);
		members_free(m);
	}
}

/* Layers that lie in the middle of one file are read no further than they go. */
static void windows(void **state)
{
	static const struct entry low[] = {{"a", 'f', "low"}, {"b", 'f', "low"}, {0}},
				  up[] = {{"b", 'f', "up"}, {0}};
	int (*const filters[])(struct archive *) = {
		archive_write_add_filter_none, archive_write_add_filter_gzip};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(filters); i++) {
		_cleanup_close_ int file = memfd_create("file", MFD_CLOEXEC),
				    out = memfd_create("out", MFD_CLOEXEC),
				    plain = memfd_create("plain", MFD_CLOEXEC);
		int tars[] = {tar_of(low, filters[i]), tar_of(up, filters[i])};
		struct image_layer layers[2], whole[2];
		struct worker_request q = {.task = WORKER_LAYERS,
			.output = out,
			.layers = layers,
			.layer_count = 2,
			.seed = "s"};
		struct image_result result, expected;
		_cleanup_err_ struct err e = {0};
		char path[32];

		assert_int_equal(io_write_full(file, "before", 6), 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
		for (size_t k = 0; k < 2; k++) {
			_cleanup_free_ char *bytes = NULL;
			struct stat st;

			assert_int_equal(fstat(tars[k], &st), 0);
			bytes = malloc((size_t)st.st_size);
			assert_int_equal(pread(tars[k], bytes, (size_t)st.st_size, 0), st.st_size);
			layers[k] = (struct image_layer){.fd = open(path, O_RDONLY | O_CLOEXEC),
				.grow = -1,
				.size = (uint64_t)st.st_size,
				.window = true};
			assert_true(layers[k].fd >= 0);
			assert_true(lseek(layers[k].fd, lseek(file, 0, SEEK_CUR), SEEK_SET) > 0);
			assert_int_equal(io_write_full(file, bytes, (size_t)st.st_size), 0);
			assert_int_equal(io_write_full(file, "garbage", 7), 0);
			whole[k] = (struct image_layer){.fd = tars[k], .grow = -1};
		}
		if (worker_run(&q, NULL, &result, &e) < 0)
			fail_msg("%s", err_text(&e));
		assert_int_equal(image_from_layers(whole, 2, plain, "s", NULL, &expected, &e), 0);
		assert_int_equal(result.content, expected.content);
		assert_int_equal(result.entries, expected.entries);
		/* Without the window the rest of the file is too much. */
		lseek(layers[1].fd, 0, SEEK_SET);
		layers[1].window = false;
		q.layers = &layers[1];
		q.layer_count = 1;
		assert_int_equal(ftruncate(out, 0), 0);
		assert_int_equal(worker_run(&q, NULL, &result, &e), -EBADMSG);
		for (size_t k = 0; k < 2; k++) {
			close_fd(layers[k].fd);
			close_fd(tars[k]);
		}
	}
}

static void folder(void **state)
{
	char path[] = "/tmp/banger-members-XXXXXX";
	_cleanup_close_ int dir = -EBADF, out = memfd_create("out", MFD_CLOEXEC),
			    plain = memfd_create("plain", MFD_CLOEXEC);
	struct worker_request q = {.task = WORKER_DIR, .output = out, .seed = "s"};
	struct image_result result = {0}, expected = {0};
	_cleanup_err_ struct err e = {0};
	int fd;

	(void)state;
	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	assert_int_equal(mkdirat(dir, "sub", 0700), 0);
	fd = openat(dir, "sub/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(io_write_full(fd, "contents", 8), 0);
	(void)!fsetxattr(fd, "user.note", "here", 4, 0);
	close(fd);
	assert_int_equal(symlinkat("/etc/passwd", dir, "link"), 0);
	assert_int_equal(linkat(dir, "sub/file", dir, "hard", 0), 0);
	q.input = dir;
	if (worker_run(&q, NULL, &result, &e) < 0)
		fail_msg("%s", err_text(&e));
	assert_int_equal(image_from_dir(dir, plain, "s", NULL, &expected, &e), 0);
	assert_string_equal(result.digest, expected.digest);
	assert_int_equal(result.entries, expected.entries);
	assert_int_equal(result.content, 8);
	unlinkat(dir, "hard", 0);
	unlinkat(dir, "link", 0);
	unlinkat(dir, "sub/file", 0);
	unlinkat(dir, "sub", AT_REMOVEDIR);
	assert_int_equal(rmdir(path), 0);
}

/* What a child that reads a folder can do beside: 0, or what failed. */
static int attempt(int which, int dir)
{
	char buf[64];
	int fd;

	switch (which) {
	case 0:
		fd = openat(dir, "inside", O_RDONLY | O_CLOEXEC);
		return fd >= 0 && read(fd, buf, sizeof(buf)) == 2 ? 0 : 1;
	case 1:
		return openat(dir, "../../etc/passwd", O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES ? 0 : 1;
	case 2:
		return open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES ? 0 : 1;
	case 3:
		return openat(dir, "link", O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES ? 0 : 1;
	case 4:
		return openat(dir, "inside", O_WRONLY | O_CLOEXEC);
	case 5:
		return openat(dir, "new", O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	case 6:
		return openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	case 7:
		return unlinkat(dir, "inside", 0);
	default:
		return (int)syscall(SYS_socket, 1, 1, 0);
	}
}

static void confined_to_a_folder(void **state)
{
	char path[] = "/tmp/banger-members-XXXXXX";
	_cleanup_close_ int dir = -EBADF;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(dir, "inside", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(io_write_full(fd, "in", 2), 0);
	close(fd);
	assert_int_equal(symlinkat("/etc/passwd", dir, "link"), 0);
	for (int i = 0; i < 9; i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			if (sandbox_enter(1 << 20, 64, dir, NULL) < 0)
				_exit(99);
			_exit(attempt(i, dir));
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (i <= 3 ? !WIFEXITED(status) || WEXITSTATUS(status) != 0
			   : !WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("attempt %d: status %x", i, (unsigned)status);
	}
	unlinkat(dir, "inside", 0);
	unlinkat(dir, "link", 0);
	assert_int_equal(rmdir(path), 0);
}

enum harm {
	NONE,
	RECOVER,
	ERRORS,
	CUT,
	MAGIC,
	FEATURE,
	ROOT,
	HARM_MAX,
};

static void an_ext4(void **state)
{
	static const struct {
		int code;
		const char *says;
	} rows[HARM_MAX] = {[NONE] = {0, ""},
		[RECOVER] = {-EUCLEAN, "journal isn't empty"},
		[ERRORS] = {-EUCLEAN, "isn't clean"},
		[CUT] = {-EBADMSG, "cut off"},
		[MAGIC] = {-EBADMSG, "no ext4"},
		[FEATURE] = {-EOPNOTSUPP, "features"},
		[ROOT] = {-EBADMSG, "e2fsck"}};

	(void)state;
	for (int harm = NONE; harm < HARM_MAX; harm++) {
		_cleanup_close_ int fd = memfd_create("fs", MFD_CLOEXEC);
		struct worker_request q = {.task = WORKER_EXT4, .input = -1, .output = fd};
		struct image_result result = {0};
		_cleanup_err_ struct err e = {0};
		ext2_filsys fs;
		char path[32];
		int r;

		assert_int_equal(disk_make_work(fd, 64 << 20, &e), 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		assert_int_equal(
			ext2fs_open(path, EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs), 0);
		if (harm == RECOVER)
			fs->super->s_feature_incompat |= EXT3_FEATURE_INCOMPAT_RECOVER;
		if (harm == ERRORS)
			fs->super->s_state |= EXT2_ERROR_FS;
		if (harm == FEATURE)
			fs->super->s_feature_incompat |= 0x80000000;
		if (harm == MAGIC)
			fs->super->s_magic = 7;
		if (harm == ROOT) {
			struct ext2_inode inode;

			assert_int_equal(ext2fs_read_inode(fs, EXT2_ROOT_INO, &inode), 0);
			inode.i_mode = LINUX_S_IFREG | 0644;
			assert_int_equal(ext2fs_write_inode(fs, EXT2_ROOT_INO, &inode), 0);
		}
		ext2fs_mark_super_dirty(fs);
		assert_int_equal(ext2fs_close_free(&fs), 0);
		if (harm == CUT)
			assert_int_equal(ftruncate(fd, 40 << 20), 0);
		r = worker_run(&q, NULL, &result, &e);
		if (r != rows[harm].code || (r < 0 && !strstr(err_text(&e), rows[harm].says)))
			fail_msg("harm %d: %d: %s", harm, r, err_text(&e));
		if (r == 0) {
			assert_int_equal(strlen(result.digest), 71);
			assert_true(result.entries > 10 && result.size > 0);
		}
	}
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test(an_archive), cmocka_unit_test(no_archive),
		cmocka_unit_test(broken), cmocka_unit_test(hostile_table), cmocka_unit_test(windows),
		cmocka_unit_test(folder), cmocka_unit_test(confined_to_a_folder), cmocka_unit_test(an_ext4)};

	if (argc > 1 && strcmp(argv[1], WORKER_ARGUMENT) == 0)
		return worker_main(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
