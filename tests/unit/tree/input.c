#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "banger/cleanup.h"
#include "tree/input.h"

static void lines(void **state)
{
	static const struct {
		const char *text;
		size_t count;
		const char *lines[3];
	} rows[] = {
		{"start", 1, {"start"}},
		{"start\n", 1, {"start"}},
		{"start\nstop", 2, {"start", "stop"}},
		{"start\nstop\n", 2, {"start", "stop"}},
		{"\n", 1, {""}},
		{"a\n\nb\n", 3, {"a", "", "b"}},
		{" a \n", 1, {" a "}},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		struct input in = {0};

		assert_int_equal(input_parse(rows[i].text, strlen(rows[i].text), &in, NULL), 0);
		assert_string_equal(in.text, rows[i].text);
		assert_int_equal(in.count, rows[i].count);
		for (size_t j = 0; j < in.count; j++)
			assert_string_equal(in.lines[j], rows[i].lines[j]);
		input_clear(&in);
	}
}

static void refused(void **state)
{
	_cleanup_free_ char *big = malloc(INPUT_MAX + 1);
	_cleanup_err_ struct err e = {0};
	struct input in = {0};

	(void)state;
	assert_non_null(big);
	memset(big, 'x', INPUT_MAX + 1);
	assert_int_equal(input_parse(big, INPUT_MAX + 1, &in, &e), -E2BIG);
	assert_non_null(e.text);
	assert_int_equal(input_parse(big, INPUT_MAX, &in, &e), 0);
	input_clear(&in);
	assert_int_equal(input_parse("st\0art", 6, &in, &e), -EINVAL);
	assert_int_equal(input_parse("start\n\0", 7, &in, &e), -EINVAL);
	assert_int_equal(input_parse("", 0, &in, &e), -EINVAL);
	assert_null(in.text);
	assert_null(in.lines);
}

static void words(void **state)
{
	char *copy = NULL, *w[3];
	size_t n;

	(void)state;
	assert_int_equal(input_words(" winsize  24\t80 ", &copy, w, 3, &n), 0);
	assert_int_equal(n, 3);
	assert_string_equal(w[0], "winsize");
	assert_string_equal(w[1], "24");
	assert_string_equal(w[2], "80");
	free(copy);
	assert_int_equal(input_words("", &copy, w, 3, &n), 0);
	assert_int_equal(n, 0);
	free(copy);
	copy = NULL;
	assert_int_equal(input_words("a b c d", &copy, w, 3, &n), -E2BIG);
	assert_null(copy);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(refused),
		cmocka_unit_test(words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
