/* Requests on files answered from disks: names, contents, what is open; the overlay over the image; what the superblock says meanwhile, and e2fsck afterwards. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/proc.h"
#include "image/image.h"
#include "offline/repair.h"
#include "offline/serving.h"

#define DISK_SIZE (64u << 20)

struct bench {
	int fd;
	struct serving s;
	uint8_t payload[AGENT_PAYLOAD_MAX];
	size_t used, n;
};

struct id {
	uint32_t ino, tag;
};
static const struct id workspace = {0, 0}, tree = {0, AGENT_TAG_TREE};

static int make_disk(int (*make)(int fd, uint64_t size, struct err *e))
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(make(fd, DISK_SIZE, NULL), 0);
	return fd;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->fd = make_disk(disk_make_work);
	assert_int_equal(volume_open(b->fd, 0, true, &b->s.work), 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	serving_unpin_all(&b->s);
	volume_close(b->s.work);
	volume_close(b->s.over);
	volume_close(b->s.image);
	close_fd(b->fd);
	free(b);
	return 0;
}

static void add(struct bench *b, const void *data, size_t n)
{
	memcpy(b->payload + b->used, data, n);
	b->used += n;
}

static void add_u32(struct bench *b, uint32_t v)
{
	add(b, &v, sizeof(v));
}

static void add_u64(struct bench *b, uint64_t v)
{
	add(b, &v, sizeof(v));
}

static void add_id(struct bench *b, struct id id)
{
	add(b, &id, sizeof(id));
}

static void add_text(struct bench *b, const char *text)
{
	uint16_t n = (uint16_t)strlen(text);

	add(b, &n, sizeof(n));
	add(b, text, n);
}

static int ask(struct bench *b, uint16_t type, uint16_t flags)
{
	struct agent_header h = {.length = (uint32_t)b->used, .type = type, .code = flags};

	b->used = 0;
	return serving_do(&b->s, &h, b->payload, &b->n);
}

static struct agent_attr attr_of(struct bench *b)
{
	struct agent_attr attr;

	assert_true(b->n >= sizeof(attr));
	memcpy(&attr, b->s.answer, sizeof(attr));
	return attr;
}

static struct id id_of(const struct agent_attr *attr)
{
	return (struct id){attr->ino, attr->space == AGENT_SPACE_TREE ? AGENT_TAG_TREE | attr->generation
								      : 1 + (attr->generation & 0xff)};
}

static int look(struct bench *b, struct id dir, const char *name, struct id *ret)
{
	struct agent_attr attr;
	int r;

	add_id(b, dir);
	add_text(b, name);
	r = ask(b, AGENT_FS_LOOKUP, 0);
	if (r == 0) {
		attr = attr_of(b);
		*ret = id_of(&attr);
	}
	return r;
}

static struct agent_attr attr(struct bench *b, struct id id)
{
	add_id(b, id);
	assert_int_equal(ask(b, AGENT_FS_GETATTR, 0), 0);
	return attr_of(b);
}

static int make(
	struct bench *b, uint16_t type, struct id dir, const char *name, uint32_t mode, struct id *ret)
{
	struct agent_attr made;
	int r;

	add_id(b, dir);
	if (type == AGENT_FS_CREATE)
		add_u32(b, O_RDWR | O_EXCL);
	add_u32(b, mode);
	if (type == AGENT_FS_MKNOD)
		add_u32(b, 0);
	add_u32(b, 70000);
	add_u32(b, 80000);
	add_text(b, name);
	r = ask(b, type, 0);
	if (r == 0) {
		made = attr_of(b);
		assert_int_equal(made.uid, 70000);
		assert_int_equal(made.gid, 80000);
		*ret = id_of(&made);
	}
	return r;
}

static int on_name(struct bench *b, uint16_t type, struct id dir, const char *name)
{
	add_id(b, dir);
	add_text(b, name);
	return ask(b, type, 0);
}

static int move(struct bench *b, struct id from, const char *old, struct id to, const char *new, uint32_t how)
{
	add_id(b, from);
	add_id(b, to);
	add_u32(b, how);
	add_text(b, old);
	add_text(b, new);
	return ask(b, AGENT_FS_RENAME, 0);
}

static int put(struct bench *b, struct id id, uint64_t offset, const void *data, size_t n)
{
	add_id(b, id);
	add_u64(b, offset);
	add_u32(b, 0);
	add(b, data, n);
	return ask(b, AGENT_FS_WRITE, 0);
}

static int get(struct bench *b, struct id id, uint64_t offset, uint32_t n)
{
	add_id(b, id);
	add_u64(b, offset);
	add_u32(b, n);
	return ask(b, AGENT_FS_READ, 0);
}

static void release(struct bench *b, struct id id)
{
	add_id(b, id);
	assert_int_equal(ask(b, AGENT_FS_RELEASE, 0), 0);
}

static int cut(struct bench *b, struct id id, uint64_t size)
{
	add_id(b, id);
	add_u32(b, AGENT_SET_SIZE);
	for (int i = 0; i < 3; i++)
		add_u32(b, 0);
	add_u64(b, size);
	for (int i = 0; i < 2; i++) {
		add_u64(b, 0);
		add_u32(b, 0);
	}
	return ask(b, AGENT_FS_SETATTR, 0);
}

static int room(struct bench *b, struct id id, uint32_t mode, uint64_t offset, uint64_t length)
{
	add_id(b, id);
	add_u32(b, mode);
	add_u64(b, offset);
	add_u64(b, length);
	return ask(b, AGENT_FS_FALLOCATE, 0);
}

static enum repair_state state_of(int fd)
{
	enum repair_state state = REPAIR_JOURNAL;

	assert_int_equal(repair_probe(fd, &state, NULL), 0);
	return state;
}

/* It says that it is clean, and e2fsck, which looks at all of it, finds nothing wrong. */
static void check_disk(struct bench *b)
{
	const char *argv[] = {"e2fsck", "-fn", "/proc/self/fd/0", NULL};
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_free_ char *text = NULL;
	_cleanup_err_ struct err e = {0};

	assert_int_equal(volume_settle(b->s.work), 0);
	assert_int_equal(state_of(b->fd), REPAIR_CLEAN);
	spec.argv = argv;
	spec.stdin_fd = b->fd;
	if (proc_run(&spec, &text, NULL, NULL, &e) < 0 && e.code != -ENOENT)
		fail_msg("%s: %s", err_text(&e), text ? text : "");
}

static void contents(void **state)
{
	static uint8_t model[600000], data[200000];
	struct bench *b = *state;
	size_t size = 0;
	uint32_t seed = 1;
	struct id f;

	assert_int_equal(make(b, AGENT_FS_CREATE, workspace, "f", 0640, &f), 0);
	assert_int_equal(state_of(b->fd), REPAIR_CUT_OFF);
	for (int i = 0; i < 1500; i++) {
		uint32_t v[4];

		for (int k = 0; k < 4; k++)
			v[k] = seed = seed * 1664525 + 1013904223; /* Knuth's quick generator */
		v[0] >>= 8;
		v[1] = (v[1] >> 8) % 400000;
		v[2] = 1 + (v[2] >> 8) % (v[3] & 0x10000 ? 200000 : 5000);
		if (v[0] % 8 < 4) {
			memset(data, (int)(i % 255) + 1, v[2]);
			assert_int_equal(put(b, f, v[1], data, v[2]), 0);
			memcpy(model + v[1], data, v[2]);
			size = v[1] + v[2] > size ? v[1] + v[2] : size;
		} else if (v[0] % 8 == 4) {
			assert_int_equal(cut(b, f, v[1]), 0);
			if (v[1] < size)
				memset(model + v[1], 0, size - v[1]);
			size = v[1];
		} else if (v[0] % 8 == 5) {
			assert_int_equal(
				room(b, f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, v[1], v[2]), 0);
			memset(model + v[1], 0, v[2]);
		} else if (v[0] % 8 == 6) {
			assert_int_equal(room(b, f, FALLOC_FL_KEEP_SIZE, v[1], v[2]), 0);
		} else {
			uint32_t n = v[1] >= size ? 0 : v[2] < size - v[1] ? v[2] : (uint32_t)(size - v[1]);

			assert_int_equal(get(b, f, v[1], v[2]), 0);
			assert_int_equal(b->n, n);
			assert_memory_equal(b->s.answer, model + v[1], n);
		}
		assert_int_equal(attr(b, f).size, size);
	}
	release(b, f);
	check_disk(b);
}

static void large(void **state)
{
	struct bench *b = *state;
	uint64_t at;
	struct id f;

	assert_int_equal(make(b, AGENT_FS_CREATE, workspace, "f", 0640, &f), 0);
	assert_int_equal(put(b, f, 5000000000, "end", 3), 0);
	assert_int_equal(get(b, f, 5000000000, 10), 0);
	assert_int_equal(b->n, 3);
	assert_true(attr(b, f).blocks < 100);
	add_id(b, f);
	add_u64(b, 0);
	add_u32(b, SEEK_DATA);
	assert_int_equal(ask(b, AGENT_FS_LSEEK, 0), 0);
	memcpy(&at, b->s.answer, sizeof(at));
	assert_int_equal(at, 5000000000 / 4096 * 4096);
	/* More than there is: nothing of it, and no block is lost. */
	assert_int_equal(room(b, f, 0, 0, 1ull << 40), -ENOSPC);
	assert_int_equal(put(b, f, 1ull << 45, "end", 3), -EFBIG);
	release(b, f);
	check_disk(b);
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

static void open_files(void **state)
{
	struct bench *b = *state;
	struct id f, again;

	assert_int_equal(make(b, AGENT_FS_CREATE, workspace, "f", 0600, &f), 0);
	assert_int_equal(put(b, f, 0, "hello", 5), 0);
	assert_int_equal(on_name(b, AGENT_FS_UNLINK, workspace, "f"), 0);
	assert_int_equal(get(b, f, 0, 5), 0);
	assert_int_equal(b->n, 5);
	assert_int_equal(make(b, AGENT_FS_CREATE, workspace, "f", 0600, &again), 0);
	assert_true(again.ino != f.ino);
	release(b, f);
	assert_int_equal(get(b, f, 0, 5), -ESTALE);
	release(b, again);
	assert_int_equal(get(b, (struct id){again.ino, 1 + (again.tag + 7) % 256}, 0, 5), -ESTALE);
	check_disk(b);
}

static int attribute(struct bench *b, uint16_t type, struct id id, const char *name, const char *value)
{
	add_id(b, id);
	if (type == AGENT_FS_GETXATTR)
		add_u32(b, 65536);
	if (type == AGENT_FS_SETXATTR)
		add_u32(b, 0);
	add_text(b, name);
	if (value) {
		add_u32(b, (uint32_t)strlen(value));
		add(b, value, strlen(value));
	}
	return ask(b, type, 0);
}

static void attributes(void **state)
{
	struct bench *b = *state;
	char long_value[3001];
	struct id f;

	memset(long_value, 'v', 3000);
	long_value[3000] = '\0';
	assert_int_equal(make(b, AGENT_FS_CREATE, workspace, "f", 0600, &f), 0);
	assert_true(attr(b, f).flags & AGENT_ATTR_PLAIN);
	assert_int_equal(attribute(b, AGENT_FS_SETXATTR, f, "trusted.x", "v"), -EPERM);
	assert_int_equal(attribute(b, AGENT_FS_SETXATTR, f, "user.short", "v"), 0);
	assert_false(attr(b, f).flags & AGENT_ATTR_PLAIN);
	assert_int_equal(attribute(b, AGENT_FS_SETXATTR, f, "user.long", long_value), 0);
	assert_int_equal(attribute(b, AGENT_FS_GETXATTR, f, "user.long", NULL), 0);
	assert_int_equal(b->n, 3000);
	assert_int_equal(attribute(b, AGENT_FS_REMOVEXATTR, f, "user.short", NULL), 0);
	assert_int_equal(attribute(b, AGENT_FS_GETXATTR, f, "user.short", NULL), -ENODATA);
	/* Another file in the same inode has none of it. */
	release(b, f);
	assert_int_equal(on_name(b, AGENT_FS_UNLINK, workspace, "f"), 0);
	assert_int_equal(make(b, AGENT_FS_CREATE, workspace, "f", 0600, &f), 0);
	assert_int_equal(attribute(b, AGENT_FS_GETXATTR, f, "user.long", NULL), -ENODATA);
	check_disk(b);
}

/* As a kill leaves it: never settled. */
static void cut_off(void **state)
{
	struct bench *b = *state;
	_cleanup_err_ struct err e = {0};
	char name[32];
	struct id f;
	int r;

	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		assert_int_equal(make(b, AGENT_FS_CREATE, workspace, name, 0600, &f), 0);
		assert_int_equal(put(b, f, 0, name, strlen(name)), 0);
		release(b, f);
	}
	b->s.work = volume_close(b->s.work);
	assert_int_equal(state_of(b->fd), REPAIR_CUT_OFF);
	assert_int_equal(volume_open(b->fd, 0, true, &b->s.work), -EUCLEAN);
	r = repair_run(b->fd, REPAIR_CUT_OFF, -1, &e);
	if (r == -ENOENT) {
		print_message("# no e2fsck here\n");
		return;
	}
	assert_int_equal(r, 0);
	assert_int_equal(volume_open(b->fd, 0, true, &b->s.work), 0);
	assert_int_equal(look(b, workspace, "f99", &f), 0);
	assert_int_equal(get(b, f, 0, 10), 0);
	assert_int_equal(b->n, 3);
	check_disk(b);
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
	struct id f;

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

static void garbage(void **state)
{
	struct bench *b = *state;

	for (uint16_t type = 0; type < AGENT_TYPE_END; type++)
		for (size_t n = 0; n < 64; n++) {
			memset(b->payload, (int)n, n);
			b->used = n;
			if (ask(b, type, n % 2 ? AGENT_ONCE : 0) == 0)
				assert_true(b->n <= sizeof(b->s.answer));
		}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(contents, setup, teardown),
		cmocka_unit_test_setup_teardown(large, setup, teardown),
		cmocka_unit_test_setup_teardown(names, setup, teardown),
		cmocka_unit_test_setup_teardown(listing, setup, teardown),
		cmocka_unit_test_setup_teardown(open_files, setup, teardown),
		cmocka_unit_test_setup_teardown(attributes, setup, teardown),
		cmocka_unit_test_setup_teardown(cut_off, setup, teardown),
		cmocka_unit_test_setup_teardown(merged, setup, teardown),
		cmocka_unit_test_setup_teardown(garbage, setup, teardown),
	};

	if (argc > 1 && strcmp(argv[1], REPAIR_ARGUMENT) == 0)
		return repair_main(argc, argv);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
