/* Numbers, sizes, names and errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "banger/err.h"
#include "banger/name.h"
#include "banger/parse.h"
#include "banger/place.h"

static void numbers(void **state)
{
	uint64_t v = 7;

	(void)state;
	assert_int_equal(parse_u64("0", 0, 9, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(parse_u64("18446744073709551615", 0, UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	v = 7;
	assert_int_equal(parse_u64("18446744073709551616", 0, UINT64_MAX, &v), -ERANGE);
	assert_int_equal(parse_u64("10", 0, 9, &v), -ERANGE);
	for (const char **bad = (const char *[]){"", " 1", "1 ", "-1", "+1", "0x1", "1e3", "a", NULL}; *bad;
		bad++)
		assert_int_equal(parse_u64(*bad, 0, UINT64_MAX, &v), -EINVAL);
	assert_int_equal(v, 7);
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t value;
	} good[] = {{"1", 1}, {"1K", 1024}, {"2m", 2 << 20}, {"3G", 3ull << 30}, {"4T", 4ull << 40}};
	uint64_t v = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(parse_size(good[i].text, 0, UINT64_MAX, &v), 0);
		assert_true(v == good[i].value);
	}
	assert_int_equal(parse_size("16777216T", 0, UINT64_MAX, &v), -ERANGE);
	for (const char **bad = (const char *[]){"K", "1KB", "1 K", "1P", "-1K", "", NULL}; *bad; bad++)
		assert_int_equal(parse_size(*bad, 0, UINT64_MAX, &v), -EINVAL);
}

static void flags_and_addresses(void **state)
{
	uint32_t address = 0;
	bool flag = false;

	(void)state;
	assert_int_equal(parse_bool("1", &flag), 0);
	assert_true(flag);
	for (const char **bad = (const char *[]){"2", "", "01", "yes", NULL}; *bad; bad++)
		assert_int_equal(parse_bool(*bad, &flag), -EINVAL);
	assert_int_equal(parse_ipv4("10.66.0.2", &address), 0);
	assert_int_equal(address, 0x0a420002);
	for (const char **bad = (const char *[]){"10.66.0", "10.66.0.256", "a", "", "10.66.0.2 ", NULL}; *bad;
		bad++)
		assert_int_equal(parse_ipv4(*bad, &address), -EINVAL);
}

static void names(void **state)
{
	char longest[65];

	(void)state;
	memset(longest, 'a', 64);
	longest[64] = '\0';
	assert_false(name_vm_valid(longest));
	assert_true(name_vm_valid(longest + 1));
	for (const char **good = (const char *[]){"a", "0", "box-1", NULL}; *good; good++)
		assert_true(name_vm_valid(*good));
	for (const char **bad = (const char *[]){"", "-a", "a-", "A", "a_b", "a.b", "a/b", "..", "a\nb",
		     "\303\251", NULL};
		*bad; bad++)
		assert_false(name_vm_valid(*bad));
	for (const char **good = (const char *[]){"a", "Debian-12", "x_y.z", NULL}; *good; good++)
		assert_true(name_object_valid(*good));
	for (const char **bad = (const char *[]){"", ".a", "-a", "a/b", "a b", NULL}; *bad; bad++)
		assert_false(name_object_valid(*bad));
	assert_true(name_instance_valid("t1"));
	for (const char **bad = (const char *[]){"", "1t", "toolong", "a-b", "T", NULL}; *bad; bad++)
		assert_false(name_instance_valid(*bad));
}

static void errors(void **state)
{
	struct err e = {0}, other = {0};

	(void)state;
	assert_int_equal(err_set(&e, -EIO, "one %d", 1), -EIO);
	assert_string_equal(err_text(&e), "one 1");
	err_wrap(&e, "outer");
	assert_string_equal(err_text(&e), "outer: one 1");
	err_join(&e, "more");
	assert_string_equal(err_text(&e), "outer: one 1; more");
	assert_int_equal(err_sys(&other, -ENOENT, "file"), -ENOENT);
	assert_string_equal(err_text(&other), "file: No such file or directory");
	assert_int_equal(err_move(&e, &other), -ENOENT);
	assert_string_equal(err_text(&e), "file: No such file or directory");
	assert_null(other.text);
	err_clear(&e);
	assert_int_equal(err_set(NULL, -EPERM, "x"), -EPERM);
}

static void places(void **state)
{
	char *path = NULL;

	(void)state;
	unsetenv("BANGER_RUN_BASE");
	assert_int_equal(place_path("", PLACE_MOUNT, &path, NULL), 0);
	assert_string_equal(path, "/run/banger/fs");
	free(path);
	assert_int_equal(place_path("t1", PLACE_HELPER_SOCKET, &path, NULL), 0);
	assert_string_equal(path, "/run/banger-t1/helper.sock");
	free(path);
	assert_int_equal(place_path("../x", PLACE_RUN, &path, NULL), -EINVAL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test(numbers), cmocka_unit_test(sizes),
		cmocka_unit_test(flags_and_addresses), cmocka_unit_test(names), cmocka_unit_test(errors),
		cmocka_unit_test(places)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
