/* Layers out of disks: what overlayfs means by a whiteout is a whiteout, the same disk is the same layer, and no disk that lies is believed. */
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
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/proc.h"
#include "image/lane.h"
#include "image/layers.h"
#include "image/pack.h"
#include "image/source.h"
#include "image/writer.h"

#define DISK_SIZE (32u << 20)

struct put {
	const char *path;
	uint32_t mode;
	const char *text;         /* contents, or target */
	const char *name, *value; /* an extended attribute */
};

struct bench {
	char path[40];
	int disk, out;
	struct image_result result;
	struct err err;
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memcpy(b->path, "/tmp/banger-pack-XXXXXX", sizeof("/tmp/banger-pack-XXXXXX"));
	b->disk = mkostemp(b->path, O_CLOEXEC);
	b->out = memfd_create("layer", MFD_CLOEXEC);
	assert_true(b->disk >= 0 && b->out >= 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	close_fd(b->disk);
	close_fd(b->out);
	unlink(b->path);
	err_clear(&b->err);
	free(b);
	return 0;
}

static void put(struct lane *l, struct itree *tree, const struct put *p)
{
	struct inode *inode = NULL;
	size_t n = p->text ? strlen(p->text) : 0;

	assert_int_equal(inode_new(p->mode, &inode, NULL), 0);
	inode->mtime.tv_sec = 4102444800;
	inode->mtime.tv_nsec = 123456789;
	inode->uid = 70000;
	if (p->name)
		assert_int_equal(inode_add_xattr(inode, p->name, p->value, strlen(p->value), NULL), 0);
	if (S_ISREG(p->mode)) {
		assert_int_equal(lane_data(l, inode, 0, p->text, n, NULL), 0);
		assert_int_equal(lane_end(l, inode, n, NULL), 0);
	}
	if (S_ISLNK(p->mode)) {
		inode->target = strdup(p->text);
		inode->size = n;
	}
	assert_int_equal(itree_put(tree, p->path, inode, NULL), 0);
}

static void make(struct bench *b, const struct put *list)
{
	struct writer_shape shape = {.size = DISK_SIZE, .seed = "seed", .lanes = 1};
	struct itree *tree = NULL;
	struct writer *w = NULL;
	struct lane *l = NULL;
	uint64_t content;

	assert_int_equal(ftruncate(b->disk, 0), 0);
	assert_int_equal(itree_new(&tree, NULL), 0);
	assert_int_equal(writer_new(b->disk, &shape, &w, NULL), 0);
	assert_int_equal(lane_new(w, 0, &l, NULL), 0);
	for (; list->path; list++)
		put(l, tree, list);
	assert_int_equal(lane_finish(l, NULL), 0);
	lane_free(l);
	assert_int_equal(writer_finish(w, tree, &content, NULL), 0);
	writer_free(w);
	itree_free(tree);
}

static int pack(struct bench *b, enum pack_kind kind)
{
	assert_int_equal(ftruncate(b->out, 0), 0);
	lseek(b->out, 0, SEEK_SET);
	err_clear(&b->err);
	return layer_from_ext4(b->disk, kind, b->out, NULL, &b->result, &b->err);
}

/* Each entry "PATH=CONTENTS;" as it stands in the layer. */
static char *listing(struct bench *b)
{
	struct archive *a = archive_read_new();
	struct archive_entry *entry;
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	lseek(b->out, 0, SEEK_SET);
	archive_read_support_format_tar(a);
	archive_read_support_filter_gzip(a);
	assert_int_equal(archive_read_open_fd(a, b->out, 65536), ARCHIVE_OK);
	while (archive_read_next_header(a, &entry) == ARCHIVE_OK) {
		char data[64] = "";
		const char *name;
		const void *value;
		size_t size;

		fputs(archive_entry_pathname(entry), out);
		if (archive_entry_hardlink(entry))
			fprintf(out, "->%s", archive_entry_hardlink(entry));
		else if (archive_entry_filetype(entry) == AE_IFLNK)
			fprintf(out, "=>%s", archive_entry_symlink(entry));
		else if (archive_entry_size(entry) > 0 && archive_read_data(a, data, sizeof(data) - 1) >= 0)
			fprintf(out, "=%s", data);
		archive_entry_xattr_reset(entry);
		while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK)
			fprintf(out, "[%s=%.*s]", name, (int)size, (const char *)value);
		fputc(';', out);
	}
	archive_read_free(a);
	fclose(out);
	return text;
}

static void expect(struct bench *b, enum pack_kind kind, const char *wanted)
{
	_cleanup_free_ char *got = NULL;

	if (pack(b, kind) < 0)
		fail_msg("%s", err_text(&b->err));
	got = listing(b);
	assert_string_equal(got, wanted);
}

static void refuses(struct bench *b, enum pack_kind kind, int code, const char *text)
{
	assert_int_equal(pack(b, kind), code);
	if (!strstr(err_text(&b->err), text))
		fail_msg("%s", err_text(&b->err));
}

static void test_whole(void **state)
{
	static const struct put list[] = {
		{.path = "b", .mode = S_IFREG | 0644, .text = "bb", .name = "user.x", .value = "y"},
		{.path = "a", .mode = S_IFDIR | 0755, .name = "trusted.overlay.opaque", .value = "y"},
		{.path = "a/link", .mode = S_IFLNK | 0777, .text = "../b"},
		{.path = "a/null", .mode = S_IFCHR | 0600},
		{.path = "a/.wh", .mode = S_IFREG | 0644, .text = "no whiteout"}, {.path = NULL}};

	make(*state, list);
	/* An image is no overlay: a device 0:0 is one, the attribute is nobody's. */
	expect(*state, PACK_WHOLE, "./;a/;a/.wh=no whiteout;a/link=>../b;a/null;b=bb[user.x=y];");
}

static void test_upper(void **state)
{
	static const struct put list[] = {
		{.path = "upper", .mode = S_IFDIR | 0755, .name = "trusted.overlay.impure", .value = "y"},
		{.path = "work", .mode = S_IFDIR | 0700},
		{.path = "work/secret", .mode = S_IFREG | 0600, .text = "no"},
		{.path = "upper/dir", .mode = S_IFDIR | 0755, .name = "trusted.overlay.opaque", .value = "y"},
		{.path = "upper/dir/new",
			.mode = S_IFREG | 0644,
			.text = "new",
			.name = "trusted.overlay.origin",
			.value = "x"},
		{.path = "upper/gone", .mode = S_IFCHR | 0000}, {.path = "upper/etc", .mode = S_IFDIR | 0755},
		{.path = "upper/etc/hosts", .mode = S_IFREG | 0644, .text = "x"},
		{.path = "upper/etc/hostname", .mode = S_IFREG | 0644, .text = "x"},
		{.path = "upper/etc/resolv.conf", .mode = S_IFREG | 0644, .text = "x"},
		{.path = "upper/etc/gone", .mode = S_IFCHR | 0000},
		{.path = "upper/other",
			.mode = S_IFREG | 0644,
			.text = "",
			.name = "trusted.overlay.whiteout",
			.value = "y"},
		{.path = NULL}};

	make(*state, list);
	expect(*state, PACK_UPPER,
		"./;dir/;dir/.wh..wh..opq;dir/new=new;etc/;etc/.wh.gone;.wh.gone;.wh.other;");
}

static void test_refused(void **state)
{
	static const struct put moved[] = {{.path = "upper", .mode = S_IFDIR | 0755},
		{.path = "upper/dir",
			.mode = S_IFDIR | 0755,
			.name = "trusted.overlay.redirect",
			.value = "/old"},
		{.path = NULL}};
	static const struct put meta[] = {{.path = "upper", .mode = S_IFDIR | 0755},
		{.path = "upper/dir", .mode = S_IFDIR | 0755},
		{.path = "upper/dir/f",
			.mode = S_IFREG | 0644,
			.text = "",
			.name = "trusted.overlay.metacopy",
			.value = "y"},
		{.path = NULL}};
	static const struct put name[] = {{.path = "upper", .mode = S_IFDIR | 0755},
		{.path = "upper/.wh.x", .mode = S_IFREG | 0644, .text = "x"}, {.path = NULL}};
	static const struct put none[] = {{.path = "other", .mode = S_IFDIR | 0755}, {.path = NULL}};

	make(*state, moved);
	refuses(*state, PACK_UPPER, -EOPNOTSUPP, "dir: overlayfs has only noted");
	make(*state, meta);
	refuses(*state, PACK_UPPER, -EOPNOTSUPP, "dir/f: overlayfs has only noted");
	make(*state, name);
	refuses(*state, PACK_UPPER, -EINVAL, ".wh.x: a layer can't hold");
	make(*state, none);
	refuses(*state, PACK_UPPER, -EBADMSG, "no folder upper");
}

/* The layer back into an image, which verifies both digests, and that one's layer. */
static void test_same_bytes(void **state)
{
	static const struct put list[] = {{.path = "dir", .mode = S_IFDIR | 0751},
		{.path = "dir/f", .mode = S_IFREG | 06755, .text = "text", .name = "user.a", .value = "b"},
		{.path = "dir/fifo", .mode = S_IFIFO | 0644}, {.path = NULL}};
	struct bench *b = *state;
	struct image_layer layer = {.fd = b->out, .grow = -1};
	struct image_result first, image;

	make(b, list);
	assert_int_equal(pack(b, PACK_WHOLE), 0);
	first = b->result;
	assert_int_equal(pack(b, PACK_WHOLE), 0);
	assert_string_equal(b->result.digest, first.digest);
	assert_int_equal(lseek(b->out, 0, SEEK_END), first.size);
	lseek(b->out, 0, SEEK_SET);
	layer.digest = first.digest;
	layer.diff_id = first.diff_id;
	layer.size = first.size;
	assert_int_equal(ftruncate(b->disk, 0), 0);
	if (image_from_layers(&layer, 1, b->disk, "other", NULL, &image, &b->err) < 0)
		fail_msg("%s", err_text(&b->err));
	assert_int_equal(pack(b, PACK_WHOLE), 0);
	assert_string_equal(b->result.diff_id, first.diff_id);
	assert_string_equal(b->result.digest, first.digest);
}

static ext2_filsys open_rw(struct bench *b)
{
	ext2_filsys fs;

	assert_int_equal(
		ext2fs_open(b->path, EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs), 0);
	assert_int_equal(ext2fs_read_bitmaps(fs), 0);
	return fs;
}

static void test_not_unmounted(void **state)
{
	static const struct put list[] = {{.path = "f", .mode = S_IFREG | 0644, .text = "x"}, {.path = NULL}};
	struct bench *b = *state;
	ext2_filsys fs;

	make(b, list);
	fs = open_rw(b);
	ext2fs_set_feature_journal_needs_recovery(fs->super);
	ext2fs_mark_super_dirty(fs);
	ext2fs_close_free(&fs);
	refuses(b, PACK_WHOLE, -EUCLEAN, "not unmounted");
	fs = open_rw(b);
	ext2fs_clear_feature_journal_needs_recovery(fs->super);
	fs->super->s_state |= EXT2_ERROR_FS;
	ext2fs_mark_super_dirty(fs);
	ext2fs_close_free(&fs);
	refuses(b, PACK_WHOLE, -EUCLEAN, "has errors");
}

/* An image of the layer: with so many bytes of contents, TEXT in none of them. */
static void expect_nowhere(struct bench *b, const char *text, uint64_t contents)
{
	struct image_layer layer = {.fd = b->out, .grow = -1};
	_cleanup_close_ int image = memfd_create("image", MFD_CLOEXEC);
	struct image_result result;
	char buf[65536];

	lseek(b->out, 0, SEEK_SET);
	assert_int_equal(image_from_layers(&layer, 1, image, "seed", NULL, &result, NULL), 0);
	assert_int_equal(result.content, contents);
	for (off_t at = 0; at < 64 << 20 && pread(image, buf, sizeof(buf), at) > 0; at += sizeof(buf))
		assert_null(memmem(buf, sizeof(buf), text, strlen(text)));
}

/* What was there before the blocks were allocated is nobody's business. */
static void test_never_written(void **state)
{
	static const struct put list[] = {{.path = "f", .mode = S_IFREG | 0644, .text = "x"}, {.path = NULL}};
	struct bench *b = *state;
	struct ext2_inode inode;
	ext2_filsys fs;
	ext2_ino_t ino;
	blk64_t block;
	char secret[4096];

	make(b, list);
	memset(secret, 's', sizeof(secret));
	fs = open_rw(b);
	assert_int_equal(ext2fs_namei(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, "f", &ino), 0);
	assert_int_equal(ext2fs_read_inode(fs, ino, &inode), 0);
	assert_int_equal(ext2fs_fallocate(fs, EXT2_FALLOCATE_FORCE_UNINIT, ino, &inode, ~0ULL, 1, 2), 0);
	assert_int_equal(ext2fs_read_inode(fs, ino, &inode), 0);
	assert_int_equal(ext2fs_inode_size_set(fs, &inode, 3 * 4096), 0);
	assert_int_equal(ext2fs_write_inode(fs, ino, &inode), 0);
	assert_int_equal(ext2fs_bmap2(fs, ino, &inode, NULL, 0, 1, NULL, &block), 0);
	assert_int_not_equal(block, 0);
	assert_int_equal(io_channel_write_blk64(fs->io, block, 1, secret), 0);
	ext2fs_close_free(&fs);
	if (pack(b, PACK_WHOLE) < 0)
		fail_msg("%s", err_text(&b->err));
	expect_nowhere(b, "ssssssss", 4096);
}

static void test_loop(void **state)
{
	static const struct put list[] = {{.path = "a", .mode = S_IFDIR | 0755},
		{.path = "a/b", .mode = S_IFDIR | 0755}, {.path = NULL}};
	struct bench *b = *state;
	ext2_filsys fs;
	ext2_ino_t a, below;

	make(b, list);
	fs = open_rw(b);
	assert_int_equal(ext2fs_namei(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, "a", &a), 0);
	assert_int_equal(ext2fs_namei(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, "a/b", &below), 0);
	assert_int_equal(ext2fs_link(fs, below, "up", a, EXT2_FT_DIR), 0);
	ext2fs_close_free(&fs);
	refuses(b, PACK_WHOLE, -EBADMSG, "a/b/up: a folder that is in two places");
}

/* Everybody claims what one has: far more than there is. */
static void test_claims(void **state)
{
	static const struct put list[] = {{.path = "f", .mode = S_IFREG | 0644, .text = "x"},
		{.path = "g", .mode = S_IFREG | 0644, .text = "y"}, {.path = NULL}};
	struct bench *b = *state;
	struct ext2_inode inode;
	ext2_filsys fs;
	ext2_ino_t ino;

	make(b, list);
	fs = open_rw(b);
	assert_int_equal(ext2fs_namei(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, "f", &ino), 0);
	assert_int_equal(ext2fs_read_inode(fs, ino, &inode), 0);
	inode.i_size_high = 0x7fffffff;
	assert_int_equal(ext2fs_write_inode(fs, ino, &inode), 0);
	ext2fs_close_free(&fs);
	refuses(b, PACK_WHOLE, -EBADMSG, "f: a size that no file has");
}

static void debugfs(const char *path, const char *const *commands)
{
	for (; *commands; commands++) {
		const char *const argv[] = {"debugfs", "-w", "-R", *commands, path, NULL};
		struct proc_spec spec = PROC_SPEC_INIT;

		spec.argv = argv;
		assert_int_equal(proc_run(&spec, NULL, NULL, NULL, NULL), 0);
	}
}

static int copy_of(int fd)
{
	int copy = memfd_create("base", MFD_CLOEXEC);

	assert_true(copy >= 0);
	assert_int_equal(ftruncate(copy, DISK_SIZE), 0);
	for (off_t at = 0; at < DISK_SIZE; at += 1 << 20) {
		static char buf[1 << 20];

		assert_int_equal(pread(fd, buf, sizeof(buf), at), sizeof(buf));
		assert_int_equal(io_pwrite_full(copy, buf, sizeof(buf), at), 0);
	}
	return copy;
}

/* A disk that was its base once: what is the same isn't told, nor what each start writes. */
static void test_changes(void **state)
{
	static const struct put list[] = {{.path = "dir", .mode = S_IFDIR | 0755},
		{.path = "dir/kept", .mode = S_IFREG | 0644, .text = "kept"},
		{.path = "dir/gone", .mode = S_IFREG | 0644, .text = "gone"},
		{.path = "dir/mode", .mode = S_IFREG | 0644, .text = "mode"},
		{.path = "etc", .mode = S_IFDIR | 0755},
		{.path = "etc/hosts", .mode = S_IFREG | 0644, .text = "hosts"},
		{.path = "etc/hostname", .mode = S_IFREG | 0644, .text = "name"},
		{.path = "file", .mode = S_IFREG | 0644, .text = "a file"},
		{.path = "still", .mode = S_IFDIR | 0755},
		{.path = "still/here", .mode = S_IFREG | 0644, .text = "here"},
		{.path = "tree", .mode = S_IFDIR | 0755},
		{.path = "tree/leaf", .mode = S_IFREG | 0644, .text = "leaf"}, {.path = NULL}};
	static const char *const commands[] = {"rm /dir/gone", "set_inode_field /dir/mode mode 0100600",
		"write /dev/null new", "ln /new /twin", "set_inode_field /new links_count 2", "rm /etc/hosts",
		"rm /etc/hostname", "rm /file", "mkdir /file", "rm /tree/leaf", "rmdir /tree",
		"set_inode_field / mtime 20200101", NULL};
	struct bench *b = *state;
	_cleanup_close_ int base = -EBADF;
	_cleanup_free_ char *got = NULL;

	make(b, list);
	base = copy_of(b->disk);
	if (layer_from_changes(b->disk, base, b->out, NULL, &b->result, &b->err) < 0)
		fail_msg("%s", err_text(&b->err));
	got = listing(b);
	assert_string_equal(got, "");
	free(TAKE_PTR(got));
	debugfs(b->path, commands);
	assert_int_equal(ftruncate(b->out, 0), 0);
	lseek(b->out, 0, SEEK_SET);
	if (layer_from_changes(b->disk, base, b->out, NULL, &b->result, &b->err) < 0)
		fail_msg("%s", err_text(&b->err));
	got = listing(b);
	assert_string_equal(got, "./;dir/.wh.gone;dir/mode=mode;file/;new;.wh.tree;twin->new;");
}

static void test_nothing(void **state)
{
	struct bench *b = *state;

	refuses(b, PACK_WHOLE, -EBADMSG, "opening it");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(test_upper, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_same_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_unmounted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_never_written, setup, teardown),
		cmocka_unit_test_setup_teardown(test_loop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_claims, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
