/* Requests on files answered from disks: contents, attributes, what is open, what is no request; what the superblock says meanwhile, and e2fsck afterwards. */
#include "tests/unit/offline/serving.h"

#include <linux/falloc.h>

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
	struct id f = {0};
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

static int make_once(struct bench *b, uint64_t token, struct id *ret)
{
	struct agent_attr attr;
	int r;

	add_id(b, workspace);
	add_u32(b, 0755);
	add_u32(b, 0);
	add_u32(b, 0);
	add_text(b, "once");
	add_u64(b, token);
	r = ask(b, AGENT_FS_MKDIR, AGENT_ONCE);
	if (r == 0) {
		attr = attr_of(b);
		*ret = id_of(&attr);
	}
	return r;
}

/* The child ends, and another one has the disk and its answers. */
static void again(struct bench *b, int answers)
{
	serving_unpin_all(&b->s);
	assert_int_equal(volume_settle(b->s.work), 0);
	volume_close(b->s.work);
	memset(&b->s, 0, sizeof(b->s));
	assert_int_equal(volume_open(b->fd, 0, true, &b->s.work), 0);
	if (answers > 0)
		serving_adopt(&b->s, answers);
}

static void once(void **state)
{
	_cleanup_close_ int answers = memfd_create("answers", MFD_CLOEXEC);
	struct bench *b = *state;
	struct once lies;
	struct id f, g;

	assert_true(answers > 2);
	serving_adopt(&b->s, answers);
	assert_int_equal(make_once(b, 2, &f), 0);
	assert_int_equal(make_once(b, 2, &g), 0);
	assert_memory_equal(&f, &g, sizeof(f));
	assert_int_equal(make_once(b, 4, &g), -EEXIST);
	again(b, answers);
	assert_int_equal(make_once(b, 2, &g), 0);
	assert_memory_equal(&f, &g, sizeof(f));
	assert_int_equal(make_once(b, 4, &g), -EEXIST);
	for (uint64_t i = 0; i < AGENT_ONCE_KEPT - 2; i++)
		assert_int_equal(make_once(b, 6 + 2 * i, &g), -EEXIST);
	again(b, answers);
	/* The oldest goes first, whoever has kept it. */
	assert_int_equal(make_once(b, 2, &g), 0);
	assert_int_equal(make_once(b, 1000, &g), -EEXIST);
	assert_int_equal(make_once(b, 2, &g), -EEXIST);

	/* A new mount has numbers of its own. */
	assert_int_equal(on_name(b, AGENT_FS_RMDIR, workspace, "once"), 0);
	assert_int_equal(make_once(b, 2000, &f), 0);
	add_u32(b, 1);
	assert_int_equal(ask(b, AGENT_FS_WATCH, 0), 0);
	again(b, answers);
	assert_int_equal(make_once(b, 2000, &g), -EEXIST);

	/* What is in the file need not be ours; and there may be none. */
	memset(&lies, 0xff, sizeof(lies));
	assert_int_equal(pwrite(answers, lies.kept, sizeof(lies.kept), 0), sizeof(lies.kept));
	again(b, answers);
	assert_int_equal(make_once(b, 2000, &g), -EEXIST);
	assert_int_equal(make_once(b, UINT64_MAX, &g), -EEXIST);
	assert_int_equal(ftruncate(answers, 100), 0);
	again(b, answers);
	assert_int_equal(make_once(b, 2, &g), -EEXIST);
	again(b, 0);
	assert_int_equal(make_once(b, 2, &g), -EEXIST);
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
		TEST(contents),
		TEST(large),
		TEST(open_files),
		TEST(attributes),
		TEST(cut_off),
		TEST(once),
		TEST(garbage),
	};

	if (argc > 1 && strcmp(argv[1], REPAIR_ARGUMENT) == 0)
		return repair_main(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
