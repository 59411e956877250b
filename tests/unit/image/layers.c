/* Layers merged to an image: what is in it is read back with libext2fs, and e2fsck has nothing to say. */
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
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/proc.h"
#include "image/layers.h"

struct entry {
	const char *path;
	char kind;         /* 'd', 'f', 'l' symbolic link, 'h' hard link */
	const char *value; /* contents or target */
};

struct bench {
	char path[40];
	int out;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memcpy(b->path, "/tmp/banger-layers-XXXXXX", sizeof("/tmp/banger-layers-XXXXXX"));
	b->out = mkostemp(b->path, O_CLOEXEC);
	assert_true(b->out >= 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	close_fd(b->out);
	unlink(b->path);
	free(b);
	return 0;
}

static int layer(const struct entry *entries)
{
	int fd = memfd_create("layer", MFD_CLOEXEC);
	struct archive *a = archive_write_new();

	archive_write_set_format_pax(a);
	archive_write_add_filter_gzip(a);
	assert_int_equal(archive_write_open_fd(a, fd), ARCHIVE_OK);
	for (const struct entry *x = entries; x->path; x++) {
		struct archive_entry *e = archive_entry_new();
		size_t n = x->kind == 'f' ? strlen(x->value) : 0;

		archive_entry_set_pathname(e, x->path);
		archive_entry_set_filetype(e, x->kind == 'd'   ? AE_IFDIR
					      : x->kind == 'l' ? AE_IFLNK
							       : AE_IFREG);
		archive_entry_set_perm(e, x->kind == 'd' ? 0755 : 0644);
		archive_entry_set_mtime(e, 4102444800, 123456789); /* 2100 */
		archive_entry_set_uid(e, 100000);
		archive_entry_set_size(e, (int64_t)n);
		if (x->kind == 'l')
			archive_entry_set_symlink(e, x->value);
		if (x->kind == 'h')
			archive_entry_set_hardlink(e, x->value);
		assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
		assert_int_equal(archive_write_data(a, x->value, n), n);
		archive_entry_free(e);
	}
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static int merge(struct bench *b, const struct entry *const *layers, size_t n, struct err *e)
{
	struct image_layer l[4] = {{.grow = -1}, {.grow = -1}, {.grow = -1}, {.grow = -1}};
	struct image_result result;
	int r;

	for (size_t i = 0; i < n; i++)
		l[i].fd = layer(layers[i]);
	r = image_from_layers(l, n, b->out, "seed", NULL, &result, e);
	for (size_t i = 0; i < n; i++)
		close_fd(l[i].fd);
	return r;
}

static void check_fs(struct bench *b)
{
	const char *const argv[] = {"e2fsck", "-fn", b->path, NULL};
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_free_ char *text = NULL;
	_cleanup_err_ struct err e = {0};

	spec.argv = argv;
	if (proc_run(&spec, &text, NULL, NULL, &e) < 0)
		fail_msg("e2fsck: %s\n%s", err_text(&e), text ? text : "");
}

/* The inode at PATH, 0: there is none. */
static ext2_ino_t lookup(ext2_filsys fs, const char *path)
{
	ext2_ino_t ino;

	return ext2fs_namei(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path, &ino) == 0 ? ino : 0;
}

static void expect_contents(ext2_filsys fs, const char *path, const char *wanted)
{
	char buf[256];
	ext2_file_t f;
	unsigned n;
	ext2_ino_t ino = lookup(fs, path);

	if (!wanted) {
		assert_int_equal(ino, 0);
		return;
	}
	assert_int_not_equal(ino, 0);
	assert_int_equal(ext2fs_file_open(fs, ino, 0, &f), 0);
	assert_int_equal(ext2fs_file_read(f, buf, sizeof(buf), &n), 0);
	ext2fs_file_close(f);
	assert_int_equal(n, strlen(wanted));
	assert_memory_equal(buf, wanted, n);
}

static ext2_filsys open_fs(struct bench *b)
{
	ext2_filsys fs;

	check_fs(b);
	assert_int_equal(ext2fs_open(b->path, EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs), 0);
	return fs;
}

static void upper_over_lower(void **state)
{
	const struct entry low[] = {{"etc/", 'd', ""}, {"etc/a", 'f', "old"}, {"etc/b", 'f', "kept"},
		{"etc/c", 'f', "goes"}, {"etc/dir/", 'd', ""}, {"etc/dir/x", 'f', "goes too"},
		{NULL, 0, NULL}};
	const struct entry up[] = {{"etc/a", 'f', "new"}, {"etc/.wh.c", 'f', ""}, {"etc/.wh.dir", 'f', ""},
		{"etc/.wh.never", 'f', ""}, {"no/such/.wh.folder", 'f', ""}, {NULL, 0, NULL}};
	const struct entry *const layers[] = {low, up};
	_cleanup_err_ struct err e = {0};
	ext2_filsys fs;

	assert_int_equal(merge(*state, layers, 2, &e), 0);
	fs = open_fs(*state);
	expect_contents(fs, "/etc/a", "new");
	expect_contents(fs, "/etc/b", "kept");
	expect_contents(fs, "/etc/c", NULL);
	expect_contents(fs, "/etc/.wh.c", NULL);
	assert_int_equal(lookup(fs, "/etc/dir"), 0);
	assert_int_equal(lookup(fs, "/no"), 0);
	ext2fs_free(fs);
}

/* A whiteout deletes what earlier layers put there, and nothing of its own layer, whichever comes first. */
static void own_layer_stays(void **state)
{
	const struct entry low[] = {{"d/", 'd', ""}, {"d/low", 'f', "low"}, {"d/both", 'f', "low"},
		{"f", 'f', "low"}, {NULL, 0, NULL}};
	const struct entry up[] = {{"d/", 'd', ""}, {"d/early", 'f', "1"}, {"d/both", 'f', "up"},
		{"d/.wh..wh..opq", 'f', ""}, {"d/late", 'f', "2"}, {"f", 'f', "up"}, {".wh.f", 'f', ""},
		{NULL, 0, NULL}};
	const struct entry *const layers[] = {low, up};
	_cleanup_err_ struct err e = {0};
	ext2_filsys fs;

	assert_int_equal(merge(*state, layers, 2, &e), 0);
	fs = open_fs(*state);
	expect_contents(fs, "/d/low", NULL);
	expect_contents(fs, "/d/both", "up");
	expect_contents(fs, "/d/early", "1");
	expect_contents(fs, "/d/late", "2");
	expect_contents(fs, "/f", "up");
	ext2fs_free(fs);
}

static void hard_links_over_layers(void **state)
{
	const struct entry low[] = {{"a", 'f', "one"}, {"b", 'h', "a"}, {NULL, 0, NULL}};
	const struct entry up[] = {{"c", 'h', "b"}, {".wh.a", 'f', ""}, {NULL, 0, NULL}};
	const struct entry *const layers[] = {low, up};
	_cleanup_err_ struct err e = {0};
	struct ext2_inode_large inode;
	ext2_filsys fs;

	assert_int_equal(merge(*state, layers, 2, &e), 0);
	fs = open_fs(*state);
	expect_contents(fs, "/a", NULL);
	expect_contents(fs, "/b", "one");
	assert_int_equal(lookup(fs, "/b"), lookup(fs, "/c"));
	assert_int_equal(
		ext2fs_read_inode_full(fs, lookup(fs, "/b"), (struct ext2_inode *)&inode, sizeof(inode)), 0);
	assert_int_equal(inode.i_links_count, 2);
	/* Past 2038, with nanoseconds, and an owner above 65535. */
	assert_int_equal((int32_t)inode.i_mtime + ((int64_t)(inode.i_mtime_extra & 3) << 32), 4102444800);
	assert_int_equal(inode.i_mtime_extra >> 2, 123456789);
	assert_int_equal(inode.i_uid | inode.osd2.linux2.l_i_uid_high << 16, 100000);
	ext2fs_free(fs);
}

static void links_on_the_way(void **state)
{
	const struct entry low[] = {{"usr/bin/", 'd', ""}, {"bin", 'l', "usr/bin"},
		{"out", 'l', "../../../etc"}, {NULL, 0, NULL}};
	const struct entry up[] = {{"bin/sh", 'f', "shell"}, {"out/passwd", 'f', "inside"}, {NULL, 0, NULL}};
	const struct entry *const layers[] = {low, up};
	_cleanup_err_ struct err e = {0};
	ext2_filsys fs;

	assert_int_equal(merge(*state, layers, 2, &e), 0);
	fs = open_fs(*state);
	expect_contents(fs, "/usr/bin/sh", "shell");
	expect_contents(fs, "/etc/passwd", "inside");
	ext2fs_free(fs);
}

static void refused(void **state)
{
	static const struct {
		struct entry entries[3];
		const char *says;
	} rows[] = {
		{{{"../x", 'f', "1"}}, "\\.\\."},
		{{{"a/../../x", 'f', "1"}}, "\\.\\."},
		{{{".wh.", 'f', ""}}, "whiteout"},
		{{{".wh...", 'f', ""}}, "whiteout"},
		{{{"x", 'h', "nothing"}}, "nothing"},
		{{{"d/", 'd', ""}, {"x", 'h', "d"}}, "folder"},
		{{{"l", 'l', "l"}, {"l/x", 'f', "1"}}, "loop"},
		{{{"f", 'f', "1"}, {"f/x", 'f', "1"}}, "no folder"},
	};

	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		struct entry entries[4] = {rows[i].entries[0], rows[i].entries[1], {NULL, 0, NULL}};
		const struct entry *const layers[] = {entries};
		_cleanup_err_ struct err e = {0};
		struct bench *b = *state;

		assert_int_equal(ftruncate(b->out, 0), 0);
		assert_int_equal(merge(b, layers, 1, &e), -EBADMSG);
		assert_non_null(strstr(err_text(&e), "layer 1"));
	}
}

static void digests(void **state)
{
	const struct entry low[] = {{"a", 'f', "one"}, {NULL, 0, NULL}};
	struct bench *b = *state;
	struct image_result result;

	for (int which = 0; which < 2; which++) {
		const char *wrong = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
		_cleanup_err_ struct err e = {0};
		struct image_layer l = {.fd = layer(low), .grow = -1};

		*(which ? &l.diff_id : &l.digest) = wrong;
		assert_int_equal(ftruncate(b->out, 0), 0);
		assert_int_equal(image_from_layers(&l, 1, b->out, "seed", NULL, &result, &e), -EBADMSG);
		assert_non_null(strstr(err_text(&e), which ? "diff_id" : "digest"));
		close_fd(l.fd);
	}
}

/* What no manifest describes has a digest all the same: it hangs on the layers and on their order. */
static void own_digest(void **state)
{
	const struct entry low[] = {{"a", 'f', "one"}, {NULL, 0, NULL}},
			   high[] = {{"b", 'f', "two"}, {NULL, 0, NULL}};
	const int fds[] = {layer(low), layer(high)};
	static const int orders[][2] = {{0, 1}, {0, 1}, {1, 0}};
	struct image_result results[ELEMENTSOF(orders)];
	struct bench *b = *state;

	for (size_t i = 0; i < ELEMENTSOF(orders); i++) {
		struct image_layer l[] = {
			{.fd = fds[orders[i][0]], .grow = -1}, {.fd = fds[orders[i][1]], .grow = -1}};

		lseek(fds[0], 0, SEEK_SET);
		lseek(fds[1], 0, SEEK_SET);
		assert_int_equal(ftruncate(b->out, 0), 0);
		assert_int_equal(image_from_layers(l, 2, b->out, "seed", NULL, &results[i], NULL), 0);
	}
	assert_memory_equal(results[0].digest, "sha256:", 7);
	assert_int_equal(strlen(results[0].digest), 7 + 64);
	assert_string_equal(results[0].digest, results[1].digest);
	assert_string_not_equal(results[0].digest, results[2].digest);
	close(fds[0]);
	close(fds[1]);
}

/* The same layers and seed: the same bytes. */
static void same_bytes(void **state)
{
	const struct entry low[] = {{"a", 'f', "one"}, {"d/", 'd', ""}, {"d/b", 'f', "two"}, {NULL, 0, NULL}};
	const struct entry *const layers[] = {low};
	struct bench *b = *state;
	_cleanup_free_ uint8_t *first = malloc(16 << 20), *second = malloc(16 << 20);

	for (int round = 0; round < 2; round++) {
		_cleanup_err_ struct err e = {0};

		assert_int_equal(ftruncate(b->out, 0), 0);
		assert_int_equal(merge(b, layers, 1, &e), 0);
		assert_int_equal(pread(b->out, round ? second : first, 16 << 20, 0), 16 << 20);
		if (round == 0)
			sleep(1);
	}
	assert_memory_equal(first, second, 16 << 20);
}

/* A download: the bytes of WHOLE come to PART piece by piece. */
struct download {
	pthread_t thread;
	int whole, part, tell[2];
	uint64_t size, stop; /* it fails when it has so many */
	bool twice;          /* the first half again from the start, after the server began anew */
};

static void tell(struct download *d, uint64_t n)
{
	assert_int_equal(io_write_full(d->tell[1], &n, sizeof(n)), 0);
}

/* All but the last bytes of each piece are announced, so that who reads too far reads what isn't the layer's. */
static void *download_thread(void *arg)
{
	struct download *d = arg;
	char garbage[64], byte;

	memset(garbage, 'g', sizeof(garbage));
	for (uint64_t at = 0; at < d->size && at < d->stop; at++) {
		assert_int_equal(pread(d->whole, &byte, 1, (off_t)at), 1);
		assert_int_equal(io_pwrite_full(d->part, garbage, sizeof(garbage), (off_t)at + 1), 0);
		assert_int_equal(io_pwrite_full(d->part, &byte, 1, (off_t)at), 0);
		if (at % 7 == 0)
			tell(d, at + 1);
		if (d->twice && at == d->size / 2) {
			d->twice = false;
			tell(d, at = 0);
			tell(d, 1);
		}
	}
	if (d->stop > d->size) {
		tell(d, d->size);
		tell(d, d->size);
	}
	d->tell[1] = close_fd(d->tell[1]);
	return NULL;
}

static void download_begin(struct download *d, const struct entry *entries)
{
	struct stat st;

	d->whole = layer(entries);
	d->part = memfd_create("part", MFD_CLOEXEC);
	assert_int_equal(fstat(d->whole, &st), 0);
	d->size = (uint64_t)st.st_size;
	assert_int_equal(pipe2(d->tell, O_CLOEXEC), 0);
}

static void download_end(struct download *d)
{
	pthread_join(d->thread, NULL);
	close_fd(d->whole);
	close_fd(d->part);
	close_fd(d->tell[0]);
}

static void growing(void **state)
{
	const struct entry low[] = {{"a", 'f', "one"}, {"b", 'f', "two"}, {NULL, 0, NULL}};
	const struct entry up[] = {{"b", 'f', "three"}, {NULL, 0, NULL}};
	struct bench *b = *state;

	for (int round = 0; round < 2; round++) {
		struct download d[2] = {{.stop = UINT64_MAX, .twice = round}, {.stop = UINT64_MAX}};
		struct image_layer l[2];
		struct image_result result;
		_cleanup_err_ struct err e = {0};
		ext2_filsys fs;
		int r;

		for (size_t i = 0; i < 2; i++) {
			download_begin(&d[i], i ? up : low);
			l[i] = (struct image_layer){.fd = d[i].part, .grow = d[i].tell[0], .size = d[i].size};
			assert_int_equal(pthread_create(&d[i].thread, NULL, download_thread, &d[i]), 0);
		}
		assert_int_equal(ftruncate(b->out, 0), 0);
		r = image_from_layers(l, 2, b->out, "seed", NULL, &result, &e);
		if (r < 0)
			fail_msg("%s", err_text(&e));
		for (size_t i = 0; i < 2; i++)
			download_end(&d[i]);
		fs = open_fs(b);
		expect_contents(fs, "/a", "one");
		expect_contents(fs, "/b", "three");
		ext2fs_free(fs);
	}
}

static void download_fails(void **state)
{
	const struct entry low[] = {{"a", 'f', "one"}, {NULL, 0, NULL}};
	struct bench *b = *state;

	/* In the middle, before the first byte, and with all of it there but not verified. */
	for (int round = 0; round < 3; round++) {
		struct download d = {0};
		struct image_layer l[2] = {{.fd = layer(low), .grow = -1}};
		struct image_result result;
		_cleanup_err_ struct err e = {0};

		download_begin(&d, low);
		d.stop = round == 0 ? d.size / 2 : round == 1 ? 0 : d.size;
		l[1] = (struct image_layer){.fd = d.part, .grow = d.tell[0]};
		assert_int_equal(pthread_create(&d.thread, NULL, download_thread, &d), 0);
		assert_int_equal(ftruncate(b->out, 0), 0);
		assert_int_equal(image_from_layers(l, 2, b->out, "seed", NULL, &result, &e), -EIO);
		assert_string_equal(err_text(&e), "layer 2 (of the archive): its download failed");
		download_end(&d);
		close_fd(l[0].fd);
	}
}

/* What came is no layer already: the rest of the download, which never comes, isn't waited for. */
static void hostile_and_growing(void **state)
{
	_cleanup_close_ int part = memfd_create("part", MFD_CLOEXEC);
	_cleanup_err_ struct err e = {0};
	struct bench *b = *state;
	struct image_result result;
	char bytes[100000];
	uint64_t n = sizeof(bytes);
	int grow[2];

	memset(bytes, 0xff, sizeof(bytes));
	memcpy(bytes, "\x1f\x8b\x08\0\0\0\0\0\0\0", 10);
	assert_int_equal(io_pwrite_full(part, bytes, sizeof(bytes), 0), 0);
	assert_int_equal(pipe2(grow, O_CLOEXEC), 0);
	assert_int_equal(io_write_full(grow[1], &n, sizeof(n)), 0);
	assert_int_equal(
		image_from_layers(&(struct image_layer){.fd = part, .grow = grow[0], .size = 1 << 30}, 1,
			b->out, "seed", NULL, &result, &e),
		-EBADMSG);
	assert_non_null(strstr(err_text(&e), "damaged"));
	close_fd(grow[0]);
	close_fd(grow[1]);
}

static void *cancel_thread(void *op)
{
	/* The reader waits by now, or sees it before it does. */
	poll(NULL, 0, 50);
	op_cancel(op);
	return NULL;
}

static void growing_and_cancelled(void **state)
{
	_cleanup_close_ int part = memfd_create("part", MFD_CLOEXEC);
	_cleanup_err_ struct err e = {0};
	struct bench *b = *state;
	struct image_result result;
	struct ops *ops;
	struct op *op;
	pthread_t thread;
	int grow[2];

	assert_int_equal(pipe2(grow, O_CLOEXEC), 0);
	assert_int_equal(ops_new(1, &ops, &e), 0);
	assert_int_equal(op_begin(ops, "pull", "images/x", &op, &e), 0);
	assert_int_equal(pthread_create(&thread, NULL, cancel_thread, op), 0);
	assert_int_equal(image_from_layers(&(struct image_layer){.fd = part, .grow = grow[0]}, 1, b->out,
				 "seed", op, &result, &e),
		-EINTR);
	pthread_join(thread, NULL);
	op_end(op);
	op_unref(op);
	ops_free(ops);
	close_fd(grow[0]);
	close_fd(grow[1]);
}

static void sizes(void **state)
{
	const struct entry low[] = {{"a", 'f', "one"}, {NULL, 0, NULL}};
	struct bench *b = *state;

	for (int more = -1; more <= 1; more++) {
		_cleanup_err_ struct err e = {0};
		struct image_layer l = {.fd = layer(low), .grow = -1};
		struct image_result result;
		struct stat st;

		assert_int_equal(fstat(l.fd, &st), 0);
		l.size = (uint64_t)(st.st_size + more);
		assert_int_equal(ftruncate(b->out, 0), 0);
		assert_int_equal(image_from_layers(&l, 1, b->out, "seed", NULL, &result, &e),
			more == 0 ? 0 : -EBADMSG);
		if (more != 0) {
			assert_non_null(strstr(err_text(&e), "layer 1"));
			assert_non_null(strstr(err_text(&e), "promised"));
		}
		close_fd(l.fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(upper_over_lower, setup, teardown),
		cmocka_unit_test_setup_teardown(own_layer_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(hard_links_over_layers, setup, teardown),
		cmocka_unit_test_setup_teardown(links_on_the_way, setup, teardown),
		cmocka_unit_test_setup_teardown(refused, setup, teardown),
		cmocka_unit_test_setup_teardown(digests, setup, teardown),
		cmocka_unit_test_setup_teardown(own_digest, setup, teardown),
		cmocka_unit_test_setup_teardown(same_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(growing, setup, teardown),
		cmocka_unit_test_setup_teardown(download_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_and_growing, setup, teardown),
		cmocka_unit_test_setup_teardown(growing_and_cancelled, setup, teardown),
		cmocka_unit_test_setup_teardown(sizes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
