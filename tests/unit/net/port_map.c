/* The lines of `publish`, taken apart. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "banger/cleanup.h"
#include "net/port_map.h"

static void pairs(void **state)
{
	struct port_map m = {0};

	(void)state;
	assert_int_equal(port_map_parse("8080 80\n  9000-9002\t7000-7002 \n1024 1024", 1024, &m, NULL), 0);
	assert_int_equal(m.count, 5);
	assert_int_equal(m.pairs[0].host, 8080);
	assert_int_equal(m.pairs[0].guest, 80);
	assert_int_equal(m.pairs[3].host, 9002);
	assert_int_equal(m.pairs[3].guest, 7002);
	assert_int_equal(m.auto_first, 0);
	assert_true(port_map_has_host(&m, 9001));
	assert_false(port_map_has_host(&m, 7001));
	assert_true(port_map_has_guest(&m, 7001));
	assert_false(port_map_has_guest(&m, 9001));
}

static void nothing(void **state)
{
	struct port_map m = {.count = 7};

	(void)state;
	assert_int_equal(port_map_parse("", 1024, &m, NULL), 0);
	assert_int_equal(m.count, 0);
}

static void edges(void **state)
{
	struct port_map m = {0};

	(void)state;
	assert_int_equal(port_map_parse("65535 1", 1024, &m, NULL), 0);
	assert_int_equal(m.pairs[0].host, 65535);
	assert_int_equal(port_map_parse("1-256 65280-65535", 1, &m, NULL), 0);
	assert_int_equal(m.count, PORT_MAP_MAX);
	assert_int_equal(m.pairs[255].guest, 65535);
	assert_int_equal(port_map_parse("1-257 1-257", 1, &m, NULL), -E2BIG);
	assert_int_equal(port_map_parse("1-65535 1-65535", 1, &m, NULL), -E2BIG);
	/* Untouched. */
	assert_int_equal(m.count, PORT_MAP_MAX);
}

static void refused(void **state)
{
	static const struct {
		const char *text;
		int code;
	} cases[] = {
		{" ", -EINVAL},
		{"\n", -EINVAL},
		{"8080 80\n", -EINVAL},
		{"8080", -EINVAL},
		{"8080 80 tcp", -EINVAL},
		{"8080:80", -EINVAL},
		{"x 80", -EINVAL},
		{"8080 +80", -EINVAL},
		{"8080 -80", -EINVAL},
		{"8080- 80", -EINVAL},
		{"8080 80-", -EINVAL},
		{"8080-8081-8082 1-3", -EINVAL},
		{"8081-8080 2-1", -EINVAL},
		{"8080-8081 80", -EINVAL},
		{"8080-8081 80-82", -EINVAL},
		{"0 80", -ERANGE},
		{"8080 0", -ERANGE},
		{"65536 80", -ERANGE},
		{"8080 99999999999999999999", -ERANGE},
		{"1023 80", -EACCES},
		{"8080 80\n8080 81", -EEXIST},
		{"8080-8090 80-90\n8085 1", -EEXIST},
		{"auto", -EINVAL},
		{"auto 9-8", -EINVAL},
		{"auto 1023-2000", -EACCES},
		{"auto 2000\nauto 3000", -EEXIST},
	};
	struct port_map m;

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_err_ struct err e = {0};

		if (port_map_parse(cases[i].text, 1024, &m, &e) != cases[i].code)
			fail_msg("'%s': %s", cases[i].text, err_text(&e));
		assert_non_null(e.text);
	}
}

static void automatic(void **state)
{
	struct port_map m = {0};

	(void)state;
	assert_int_equal(port_map_parse("auto 3000-4000\n8080 3000", 1024, &m, NULL), 0);
	assert_int_equal(m.auto_first, 3000);
	assert_int_equal(m.auto_last, 4000);
	assert_int_equal(m.count, 1);
	assert_int_equal(port_map_parse("auto 3000", 1024, &m, NULL), 0);
	assert_int_equal(m.auto_last, 3000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs),
		cmocka_unit_test(nothing),
		cmocka_unit_test(edges),
		cmocka_unit_test(refused),
		cmocka_unit_test(automatic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
