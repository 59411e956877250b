/* Requests on files answered from disks: names, lists of them, and the overlay over the image. */
#include "tests/unit/offline/serving.h"

#include <linux/fs.h>

static int move(struct bench *b, struct id from, const char *old, struct id to, const char *new, uint32_t how)
{
	add_id(b, from);
	add_id(b, to);
	add_u32(b, how);
	add_text(b, old);
	add_text(b, new);
	return ask(b, AGENT_FS_RENAME, 0);
}

static void names(void **state)
{
	char target[2001], name[32];
	struct bench *b = *state;
	struct id a, c, f, g;

	memset(target, 'x', 2000);
	target[2000] = '\0';
	assert_int_equal(make(b, AGENT_FS_MKDIR, workspace, "a", 0755, &a), 0);
	assert_int_equal(make(b, AGENT_FS_MKDIR, workspace, "a", 0755, &c), -EEXIST);
	assert_int_equal(make(b, AGENT_FS_MKDIR, a, "c", 0755, &c), 0);
	assert_int_equal(attr(b, a).nlink, 3);
	assert_int_equal(make(b, AGENT_FS_MKNOD, a, "f", S_IFREG | 0600, &f), 0);
	assert_int_equal(make(b, AGENT_FS_MKNOD, a, "fifo", S_IFIFO | 0600, &g), 0);
	assert_int_equal(move(b, workspace, "a", c, "a", 0), -EINVAL);
	assert_int_equal(on_name(b, AGENT_FS_RMDIR, workspace, "a"), -ENOTEMPTY);
	assert_int_equal(on_name(b, AGENT_FS_UNLINK, workspace, "a"), -EISDIR);
	assert_int_equal(on_name(b, AGENT_FS_RMDIR, a, "f"), -ENOTDIR);
	assert_int_equal(move(b, a, "f", workspace, "fifo", 0), 0);
	assert_int_equal(move(b, a, "fifo", workspace, "fifo", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(move(b, a, "fifo", workspace, "fifo", RENAME_EXCHANGE), 0);
	assert_int_equal(look(b, workspace, "fifo", &g), 0);
	assert_true(S_ISFIFO(attr(b, g).mode));
	assert_int_equal(move(b, a, "c", workspace, "c", 0), 0);
	assert_int_equal(attr(b, a).nlink, 2);
	assert_int_equal(move(b, workspace, "a", c, "a", 0), 0);
	assert_int_equal(look(b, c, "a", &g), 0);
	assert_int_equal(g.ino, a.ino);
	for (int i = 0; i < 2; i++) {
		add_id(b, c);
		add_u32(b, 0);
		add_u32(b, 0);
		add_text(b, i ? "long" : "short");
		add_text(b, i ? target : "x");
		assert_int_equal(ask(b, AGENT_FS_SYMLINK, 0), 0);
		assert_int_equal(look(b, c, i ? "long" : "short", &g), 0);
		add_id(b, g);
		assert_int_equal(ask(b, AGENT_FS_READLINK, 0), 0);
		assert_int_equal(b->n, i ? 2000 : 1);
	}
	/* More than a block of names, some gone again, each once. */
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "name-%d", i);
		assert_int_equal(make(b, AGENT_FS_MKNOD, c, name, S_IFREG | 0600, &g), 0);
	}
	for (int i = 0; i < 3000; i += 2) {
		snprintf(name, sizeof(name), "name-%d", i);
		assert_int_equal(on_name(b, AGENT_FS_UNLINK, c, name), 0);
	}
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "name-%d", i);
		assert_int_equal(look(b, c, name, &g), i % 2 ? 0 : -ENOENT);
	}
	assert_int_equal(look(b, c, "..", &g), -EINVAL);
	check_disk(b);
}

/* Nobody says who has a folder open: the last that have lost their names stay. */
static void folders_without_a_name(void **state)
{
	struct bench *b = *state;
	struct id gone, over, other;

	assert_int_equal(make(b, AGENT_FS_MKDIR, workspace, "gone", 0755, &gone), 0);
	assert_int_equal(make(b, AGENT_FS_MKDIR, workspace, "over", 0755, &over), 0);
	assert_int_equal(make(b, AGENT_FS_MKDIR, workspace, "new", 0755, &other), 0);
	assert_int_equal(on_name(b, AGENT_FS_RMDIR, workspace, "gone"), 0);
	assert_int_equal(move(b, workspace, "new", workspace, "over", 0), 0);
	assert_int_equal(attr(b, gone).nlink, 0);
	assert_int_equal(attr(b, over).nlink, 0);
	assert_int_equal(make(b, AGENT_FS_MKNOD, gone, "f", S_IFREG | 0600, &other), -ENOENT);
	for (int i = 0; i < AGENT_REMOVED_MAX - 1; i++) {
		assert_int_equal(make(b, AGENT_FS_MKDIR, workspace, "next", 0755, &other), 0);
		assert_int_equal(on_name(b, AGENT_FS_RMDIR, workspace, "next"), 0);
	}
	add_id(b, gone);
	assert_int_equal(ask(b, AGENT_FS_GETATTR, 0), -ESTALE);
	assert_int_equal(attr(b, over).nlink, 0);
	assert_int_equal(serving_settle(&b->s), 0);
	assert_int_equal(state_of(b->fd), REPAIR_CUT_OFF);
	serving_unpin_all(&b->s);
	add_id(b, over);
	assert_int_equal(ask(b, AGENT_FS_GETATTR, 0), -ESTALE);
	check_disk(b);
}

static size_t list(struct bench *b, struct id dir, uint32_t size, char *text, size_t max)
{
	uint64_t cookie = 0;
	size_t count = 0, used = 0;

	text[0] = '\0';
	for (;;) {
		const uint8_t *at = b->s.answer;

		add_id(b, dir);
		add_u64(b, cookie);
		add_u32(b, size);
		assert_int_equal(ask(b, AGENT_FS_READDIR, AGENT_READDIR_PLUS), 0);
		if (b->n == 0)
			return count;
		for (const uint8_t *end = at + b->n; at < end; count++) {
			uint16_t n;

			memcpy(&cookie, at, sizeof(cookie));
			memcpy(&n, at + 18, sizeof(n));
			if (used + n + 2 < max)
				used += (size_t)snprintf(
					text + used, max - used, "%.*s ", (int)n, (const char *)at + 20);
			at += 20 + n + sizeof(struct agent_attr);
		}
	}
}

static void listing(void **state)
{
	struct bench *b = *state;
	char name[32], text[64];
	struct id g;

	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "a-longer-name-%d", i);
		assert_int_equal(make(b, AGENT_FS_MKNOD, workspace, name, S_IFREG | 0600, &g), 0);
	}
	assert_int_equal(list(b, workspace, 400, text, sizeof(text)), 500);
	assert_int_equal(list(b, workspace, 100000, text, sizeof(text)), 500);
}

/* DIR/NAME with TEXT in it; a folder where TEXT is NULL, a whiteout where it is "". */
static struct id add_file(struct bench *b, struct id dir, const char *name, const char *text)
{
	struct id f;

	if (!text) {
		if (look(b, dir, name, &f) < 0)
			assert_int_equal(make(b, AGENT_FS_MKDIR, dir, name, 0755, &f), 0);
	} else if (!*text) {
		assert_int_equal(make(b, AGENT_FS_MKNOD, dir, name, S_IFCHR, &f), 0);
	} else {
		assert_int_equal(make(b, AGENT_FS_CREATE, dir, name, 0644, &f), 0);
		assert_int_equal(put(b, f, 0, text, strlen(text)), 0);
		release(b, f);
	}
	return f;
}

static void make_opaque(struct volume *v, uint32_t ino)
{
	struct ext2_xattr_handle *h;

	assert_int_equal(ext2fs_xattrs_open(v->fs, ino, &h), 0);
	assert_int_equal(ext2fs_xattrs_read(h), 0);
	assert_int_equal(ext2fs_xattr_set(h, "trusted.overlay.opaque", "y", 1), 0);
	ext2fs_xattrs_close(&h);
}

static void text_is(struct bench *b, struct id dir, const char *name, const char *text)
{
	struct id f = {0};

	assert_int_equal(look(b, dir, name, &f), 0);
	assert_int_equal(get(b, f, 0, 100), 0);
	assert_int_equal(b->n, strlen(text));
	assert_memory_equal(b->s.answer, text, strlen(text));
}

static void merged(void **state)
{
	struct bench *b = *state;
	const struct id top = {EXT2_ROOT_INO, 0};
	int image = make_disk(disk_make_work), over = make_disk(disk_make_overlay);
	struct volume *work = b->s.work;
	struct id dir, sub, upper, f;
	char text[200];

	/* Each is written as a work disk first. */
	assert_int_equal(volume_open(image, 0, true, &b->s.work), 0);
	dir = add_file(b, top, "etc", NULL);
	add_file(b, dir, "kept", "image");
	add_file(b, dir, "changed", "image");
	add_file(b, dir, "gone", "image");
	sub = add_file(b, dir, "opaque", NULL);
	add_file(b, sub, "old", "image");
	sub = add_file(b, dir, "deep", NULL);
	add_file(b, add_file(b, sub, "er", NULL), "f", "image");
	add_file(b, add_file(b, top, "root", NULL), "hidden", "image");
	assert_int_equal(volume_settle(b->s.work), 0);
	volume_close(b->s.work);
	assert_int_equal(volume_open(over, 0, true, &b->s.work), 0);
	assert_int_equal(look(b, top, "upper", &upper), 0);
	dir = add_file(b, upper, "etc", NULL);
	add_file(b, dir, "changed", "over");
	add_file(b, dir, "gone", "");
	add_file(b, dir, "new", "over");
	sub = add_file(b, dir, "opaque", NULL);
	make_opaque(b->s.work, sub.ino);
	add_file(b, sub, "fresh", "over");
	sub = add_file(b, add_file(b, dir, "deep", NULL), "er", NULL);
	add_file(b, sub, "g", "over");
	assert_int_equal(volume_settle(b->s.work), 0);
	volume_close(b->s.work);
	b->s.work = work;
	add_file(b, workspace, "mine", "work");
	assert_int_equal(volume_open(image, SERVING_IMAGE, false, &b->s.image), 0);
	assert_int_equal(volume_open(over, SERVING_OVER, false, &b->s.over), 0);
	b->s.upper = upper.ino;

	assert_int_equal(look(b, tree, "etc", &dir), 0);
	text_is(b, dir, "kept", "image");
	text_is(b, dir, "changed", "over");
	text_is(b, dir, "new", "over");
	assert_int_equal(look(b, dir, "gone", &f), -ENOENT);
	assert_int_equal(list(b, dir, 300, text, sizeof(text)), 5);
	assert_int_equal(look(b, dir, "opaque", &sub), 0);
	assert_int_equal(look(b, sub, "old", &f), -ENOENT);
	assert_int_equal(list(b, sub, 300, text, sizeof(text)), 1);
	assert_string_equal(text, "fresh ");
	assert_int_equal(look(b, dir, "deep", &sub), 0);
	assert_int_equal(look(b, sub, "er", &sub), 0);
	/* By its number alone, as after the end of the child that gave it. */
	text_is(b, sub, "f", "image");
	text_is(b, sub, "g", "over");
	assert_int_equal(list(b, sub, 300, text, sizeof(text)), 2);
	/* The work disk is mounted over what the image has there, and written to. */
	assert_int_equal(look(b, tree, "root", &sub), 0);
	assert_false(sub.tag & AGENT_TAG_TREE);
	assert_int_equal(look(b, sub, "hidden", &f), -ENOENT);
	assert_int_equal(look(b, sub, "workspace", &sub), 0);
	text_is(b, sub, "mine", "work");
	assert_int_equal(make(b, AGENT_FS_MKDIR, dir, "no", 0755, &f), -EROFS);
	assert_int_equal(on_name(b, AGENT_FS_UNLINK, dir, "kept"), -EROFS);
	assert_int_equal(move(b, sub, "mine", dir, "mine", 0), -EROFS);
	assert_int_equal(look(b, dir, "kept", &f), 0);
	assert_int_equal(put(b, f, 0, "x", 1), -EROFS);
	close(image);
	close(over);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(names),
		TEST(folders_without_a_name),
		TEST(listing),
		TEST(merged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
