/* Requests on files answered from a work disk of the test's own: what asks them, and what looks at the disk afterwards. */
#ifndef BANGER_TESTS_SERVING_H
#define BANGER_TESTS_SERVING_H

#include <errno.h>
#include <fcntl.h>
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

static inline int make_disk(int (*make)(int fd, uint64_t size, struct err *e))
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(make(fd, DISK_SIZE, NULL), 0);
	return fd;
}

static inline int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->fd = make_disk(disk_make_work);
	assert_int_equal(volume_open(b->fd, 0, true, &b->s.work), 0);
	*state = b;
	return 0;
}

static inline int teardown(void **state)
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

static inline void add(struct bench *b, const void *data, size_t n)
{
	memcpy(b->payload + b->used, data, n);
	b->used += n;
}

static inline void add_u32(struct bench *b, uint32_t v)
{
	add(b, &v, sizeof(v));
}

static inline void add_u64(struct bench *b, uint64_t v)
{
	add(b, &v, sizeof(v));
}

static inline void add_id(struct bench *b, struct id id)
{
	add(b, &id, sizeof(id));
}

static inline void add_text(struct bench *b, const char *text)
{
	uint16_t n = (uint16_t)strlen(text);

	add(b, &n, sizeof(n));
	add(b, text, n);
}

static inline int ask(struct bench *b, uint16_t type, uint16_t flags)
{
	struct agent_header h = {.length = (uint32_t)b->used, .type = type, .code = flags};

	b->used = 0;
	return serving_do(&b->s, &h, b->payload, &b->n);
}

static inline struct agent_attr attr_of(struct bench *b)
{
	struct agent_attr attr;

	assert_true(b->n >= sizeof(attr));
	memcpy(&attr, b->s.answer, sizeof(attr));
	return attr;
}

static inline struct id id_of(const struct agent_attr *attr)
{
	return (struct id){attr->ino, attr->space == AGENT_SPACE_TREE ? AGENT_TAG_TREE | attr->generation
								      : 1 + (attr->generation & 0xff)};
}

static inline int look(struct bench *b, struct id dir, const char *name, struct id *ret)
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

static inline struct agent_attr attr(struct bench *b, struct id id)
{
	add_id(b, id);
	assert_int_equal(ask(b, AGENT_FS_GETATTR, 0), 0);
	return attr_of(b);
}

static inline int make(
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

static inline int on_name(struct bench *b, uint16_t type, struct id dir, const char *name)
{
	add_id(b, dir);
	add_text(b, name);
	return ask(b, type, 0);
}

static inline int put(struct bench *b, struct id id, uint64_t offset, const void *data, size_t n)
{
	add_id(b, id);
	add_u64(b, offset);
	add_u32(b, 0);
	add(b, data, n);
	return ask(b, AGENT_FS_WRITE, 0);
}

static inline int get(struct bench *b, struct id id, uint64_t offset, uint32_t n)
{
	add_id(b, id);
	add_u64(b, offset);
	add_u32(b, n);
	return ask(b, AGENT_FS_READ, 0);
}

static inline void release(struct bench *b, struct id id)
{
	add_id(b, id);
	assert_int_equal(ask(b, AGENT_FS_RELEASE, 0), 0);
}

static inline enum repair_state state_of(int fd)
{
	enum repair_state state = REPAIR_JOURNAL;

	assert_int_equal(repair_probe(fd, &state, NULL), 0);
	return state;
}

/* It says that it is clean, and e2fsck, which looks at all of it, finds nothing wrong. */
static inline void check_disk(struct bench *b)
{
	const char *argv[] = {"e2fsck", "-fn", "/proc/self/fd/0", NULL};
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_free_ char *text = NULL;
	_cleanup_err_ struct err e = {0};

	assert_int_equal(serving_settle(&b->s), 0);
	assert_int_equal(state_of(b->fd), REPAIR_CLEAN);
	spec.argv = argv;
	spec.stdin_fd = b->fd;
	if (proc_run(&spec, &text, NULL, NULL, &e) < 0 && e.code != -ENOENT)
		fail_msg("%s: %s", err_text(&e), text ? text : "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
