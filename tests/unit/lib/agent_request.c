/* What a request on files says. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "banger/agent_request.h"
#include "banger/cleanup.h"

struct bytes {
	size_t n;
	uint8_t at[512];
};

static void add(struct bytes *b, const void *data, size_t n)
{
	memcpy(b->at + b->n, data, n);
	b->n += n;
}

static void add_u32(struct bytes *b, uint32_t v)
{
	add(b, &v, sizeof(v));
}

static void add_u64(struct bytes *b, uint64_t v)
{
	add(b, &v, sizeof(v));
}

static void add_text(struct bytes *b, const char *text, size_t n)
{
	uint16_t size = (uint16_t)n;

	add(b, &size, sizeof(size));
	add(b, text, n);
}

/* From a block of its own: a byte behind the end would be seen. */
static int decode(const struct bytes *b, size_t n, uint16_t type, uint16_t code, struct file_request *ret)
{
	const struct agent_header h = {.length = (uint32_t)n, .type = type, .code = code};
	_cleanup_free_ uint8_t *payload = malloc(n > 0 ? n : 1);
	int r;

	assert_non_null(payload);
	memcpy(payload, b->at, n);
	r = request_decode(&h, payload, ret);
	if (r == 0 && ret->data)
		ret->data = b->at + (ret->data - payload);
	return r;
}

/* All that a payload of TYPE has to have is in B: less is none. */
static void decode_exactly(const struct bytes *b, uint16_t type, struct file_request *ret)
{
	for (size_t n = 0; n < b->n; n++)
		assert_int_equal(decode(b, n, type, 0, ret), -EINVAL);
	assert_int_equal(decode(b, b->n, type, 0, ret), 0);
	assert_int_equal(ret->type, type);
}

static void add_numbers(struct bytes *b, uint32_t from, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		add_u32(b, from + i);
}

static void has_its_fields_in_their_order(void **state)
{
	struct file_request q;
	struct bytes b = {0};

	(void)state;
	add_numbers(&b, 1, 6);
	add_text(&b, "name", 4);
	decode_exactly(&b, AGENT_FS_MKNOD, &q);
	assert_true(
		q.file.ino == 1 && q.file.tag == 2 && q.mode == 3 && q.rdev == 4 && q.uid == 5 && q.gid == 6);
	assert_string_equal(q.name, "name");

	decode_exactly(&b, AGENT_FS_CREATE, &q);
	assert_true(q.how == 3 && q.mode == 4 && q.uid == 5 && q.gid == 6 && q.rdev == 0);

	b.n = 0;
	add_numbers(&b, 1, 5);
	add_text(&b, "name", 4);
	decode_exactly(&b, AGENT_FS_MKDIR, &q);
	assert_true(q.mode == 3 && q.uid == 4 && q.gid == 5);

	b.n = 0;
	add_numbers(&b, 1, 4);
	add_text(&b, "name", 4);
	add_text(&b, "../to", 5);
	decode_exactly(&b, AGENT_FS_SYMLINK, &q);
	assert_true(q.uid == 3 && q.gid == 4);
	assert_string_equal(q.name, "name");
	assert_string_equal(q.target, "../to");

	b.n = 0;
	add_numbers(&b, 1, 5);
	add_text(&b, "old", 3);
	add_text(&b, "new", 3);
	decode_exactly(&b, AGENT_FS_RENAME, &q);
	assert_true(q.file.ino == 1 && q.to.ino == 3 && q.to.tag == 4 && q.how == 5);
	assert_string_equal(q.name, "old");
	assert_string_equal(q.to_name, "new");
}

static void has_numbers_of_its_files_contents(void **state)
{
	struct file_request q;
	struct bytes b = {0};

	(void)state;
	add_numbers(&b, 1, 6);
	add_u64(&b, 7ull << 32);
	add_u64(&b, (uint64_t)-8);
	add_u32(&b, 9);
	add_u64(&b, 10);
	add_u32(&b, 0x3fffffff); /* UTIME_NOW */
	decode_exactly(&b, AGENT_FS_SETATTR, &q);
	assert_true(q.how == 3 && q.mode == 4 && q.uid == 5 && q.gid == 6 && q.size == 7ull << 32);
	assert_true(q.times[0].tv_sec == -8 && q.times[0].tv_nsec == 9);
	assert_true(q.times[1].tv_sec == 10 && q.times[1].tv_nsec == 0x3fffffff);

	b.n = 0;
	add_numbers(&b, 1, 4);
	add_u64(&b, 5);
	add_u64(&b, INT64_MAX);
	add_u32(&b, UINT32_MAX);
	decode_exactly(&b, AGENT_FS_COPY, &q);
	assert_true(q.to.ino == 3 && q.offset == 5 && q.to_offset == INT64_MAX && q.size == UINT32_MAX);

	b.n = 0;
	add_numbers(&b, 1, 2);
	add_u64(&b, 3);
	add_u32(&b, AGENT_WRITE_APPEND);
	decode_exactly(&b, AGENT_FS_WRITE, &q);
	assert_int_equal(q.data_size, 0);
	add(&b, "text", 4);
	assert_int_equal(decode(&b, b.n, AGENT_FS_WRITE, 0, &q), 0);
	assert_true(q.offset == 3 && q.how == AGENT_WRITE_APPEND && q.data_size == 4);
	assert_memory_equal(q.data, "text", 4);

	b.n = 0;
	add_numbers(&b, 1, 3);
	add_text(&b, "user.a", 6);
	add_u32(&b, 4);
	add(&b, "text", 4);
	decode_exactly(&b, AGENT_FS_SETXATTR, &q);
	assert_true(q.how == 3 && q.data_size == 4);
	assert_memory_equal(q.data, "text", 4);
	add(&b, "", 1);
	assert_int_equal(decode(&b, b.n, AGENT_FS_SETXATTR, 0, &q), -EINVAL);
}

static void has_no_offset_beyond_files(void **state)
{
	static const struct {
		uint16_t type;
		int r;
	} all[] = {{AGENT_FS_READ, -EINVAL}, {AGENT_FS_WRITE, -EINVAL}, {AGENT_FS_READDIR, 0},
		{AGENT_FS_LSEEK, 0}};
	struct file_request q;
	struct bytes b = {0};

	(void)state;
	add_numbers(&b, 1, 2);
	add_u64(&b, (uint64_t)INT64_MAX + 1);
	add_u32(&b, 3);
	for (size_t i = 0; i < ELEMENTSOF(all); i++)
		assert_int_equal(decode(&b, b.n, all[i].type, 0, &q), all[i].r);
}

static int with_name(const char *name, size_t n)
{
	struct file_request q;
	struct bytes b = {0};

	add_numbers(&b, 1, 2);
	add_text(&b, name, n);
	return decode(&b, b.n, AGENT_FS_LOOKUP, 0, &q);
}

static void names_one_component(void **state)
{
	char longest[REQUEST_NAME_SIZE];

	(void)state;
	memset(longest, 'x', sizeof(longest));
	assert_int_equal(with_name(longest, sizeof(longest) - 1), 0);
	assert_int_equal(with_name(longest, sizeof(longest)), -EINVAL);
	assert_int_equal(with_name("...", 3), 0);
	assert_int_equal(with_name("..", 2), -EINVAL);
	assert_int_equal(with_name(".", 1), -EINVAL);
	assert_int_equal(with_name("", 0), -EINVAL);
	assert_int_equal(with_name("a/b", 3), -EINVAL);
	assert_int_equal(with_name("a\0b", 3), -EINVAL);
}

static void ends_with_its_number(void **state)
{
	struct file_request q;
	struct bytes b = {0};

	(void)state;
	add_numbers(&b, 1, 2);
	add_u64(&b, 3);
	add_u32(&b, 0);
	add(&b, "text", 4);
	add_u64(&b, 1ull << 40);
	assert_int_equal(decode(&b, b.n, AGENT_FS_WRITE, AGENT_ONCE | 4, &q), 0);
	assert_true(q.once && q.token == 1ull << 40 && q.flags == 4 && q.data_size == 4);
	assert_int_equal(decode(&b, b.n, AGENT_FS_WRITE, 4, &q), 0);
	assert_true(!q.once && q.data_size == 12);
	assert_int_equal(decode(&b, 7, AGENT_FS_GETATTR, AGENT_ONCE, &q), -EINVAL);
	assert_int_equal(decode(&b, 15, AGENT_FS_GETATTR, AGENT_ONCE, &q), -EINVAL);
	assert_int_equal(decode(&b, 16, AGENT_FS_GETATTR, AGENT_ONCE, &q), 0);
}

static void is_of_a_type_on_files(void **state)
{
	struct file_request q;
	struct bytes b = {0};
	unsigned known = 0;

	(void)state;
	for (uint16_t type = 0; type < AGENT_TYPE_END; type++)
		known += decode(&b, 0, type, 0, &q) == -EINVAL;
	assert_int_equal(known, AGENT_FS_WATCH - AGENT_FS_LOOKUP + 1);
	assert_int_equal(decode(&b, 0, AGENT_EXEC, 0, &q), -EOPNOTSUPP);
	assert_int_equal(decode(&b, 0, UINT16_MAX, 0, &q), -EOPNOTSUPP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_its_fields_in_their_order),
		cmocka_unit_test(has_numbers_of_its_files_contents),
		cmocka_unit_test(has_no_offset_beyond_files),
		cmocka_unit_test(names_one_component),
		cmocka_unit_test(ends_with_its_number),
		cmocka_unit_test(is_of_a_type_on_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
