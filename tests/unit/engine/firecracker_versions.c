/* Releases of Firecracker and its jailer: how they are read, asked for, and which are of use. */
#include "tests/unit/engine/firecracker.h"

static void versions(void **state)
{
	static const char *const bad[] = {"", "1", "1.5", "1.5.", "a.b.c", "1.5.x", "1.5.0.1", "-1.5.0",
		"1..5", "99999.1.1", " 1.5.0", "1.5.0 "};
	struct fc_version v = {7, 7, 7};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		assert_int_equal(fc_version_parse(bad[i], &v), -EINVAL);
	assert_int_equal(v.patch, 7);
	assert_int_equal(fc_version_parse("1.17.0-dev", &v), 0);
	assert_int_equal(v.minor, 17);
	assert_true(fc_version_is(&v, 1, 17));
	assert_true(fc_version_is(&v, 0, 99));
	assert_false(fc_version_is(&v, 1, 18));
	assert_false(fc_version_is(&v, 2, 0));
}

static void versions_of_use(void **state)
{
	static const struct {
		const char *vmm, *jailer, *why; /* NULL: of use */
	} rows[] = {
		{"1.16.1", "1.16.1", NULL},
		{"1.14.1", "1.14.1", NULL},
		{"1.13.2", "1.13.2", NULL},
		{"2.0.0", "2.0.0", NULL},
		{"1.14.0", "1.14.0", "CVE-2026-1386"},
		{"1.13.1", "1.13.1", "CVE-2026-1386"},
		{"1.12.1", "1.12.1", "CVE-2026-1386"},
		{"1.4.1", "1.4.1", "too old"},
		{"1.16.1", "1.16.0", "one release"},
		{"1.15.1", "1.16.1", "one release"},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		_cleanup_err_ struct err e = {0};
		struct fc_version vmm, jailer;
		int r;

		assert_int_equal(fc_version_parse(rows[i].vmm, &vmm), 0);
		assert_int_equal(fc_version_parse(rows[i].jailer, &jailer), 0);
		r = fc_version_check(&vmm, &jailer, &e);
		assert_int_equal(r, rows[i].why ? -EPROTONOSUPPORT : 0);
		assert_true(!rows[i].why || strstr(err_text(&e), rows[i].why));
	}
}

static void version_asked(void **state)
{
	static const struct {
		const char *answer;
		int code;
		const char *text; /* of the note, or of the error */
	} cases[] = {
		{JSON("200", "{\"firecracker_version\":\"1.16.1\"}"), 0, NULL},
		{JSON("200", "{\"firecracker_version\":\"1.8.0\"}"), 0, NULL},
		{JSON("200", "{\"firecracker_version\":\"1.5.0\"}"), 0, "no ACPI"},
		{JSON("200", "{\"firecracker_version\":\"1.17.0\"}"), 0, "newer than any"},
		{JSON("200", "{\"firecracker_version\":\"2.0.0\"}"), 0, "newer than any"},
		{JSON("200", "{\"firecracker_version\":\"1.4.1\"}"), -EPROTONOSUPPORT,
			"Firecracker 1.4.1 is too old"},
		{JSON("200", "{\"firecracker_version\":16}"), -EPROTO, "cannot be read"},
		{JSON("200", "{\"firecracker_version\":\"new\"}"), -EPROTO, "cannot be read"},
		{JSON("200", "{}"), -EPROTO, "cannot be read"},
		{NO_CONTENT, -EPROTO, "cannot be read"},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		const char *script[] = {cases[i].answer, NULL};
		_cleanup_(fc_api_freep) struct fc_api *a = NULL;
		_cleanup_err_ struct err e = {0};
		_cleanup_free_ char *note = NULL;
		struct fc_version v = {0};
		struct server s;
		const char *text;

		begin(&s, script);
		assert_int_equal(fc_api_new(s.dir, NULL, &a, NULL), 0);
		assert_int_equal(fc_version_get(a, &v, &note, &e), cases[i].code);
		text = cases[i].code ? err_text(&e) : note;
		if (cases[i].text ? !text || !strstr(text, cases[i].text) : text != NULL)
			fail_msg("case %zu: %s", i, text ? text : "nothing");
		finish(&s);
		assert_string_equal(s.log, "GET /version\n");
		end(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions),
		cmocka_unit_test(versions_of_use),
		cmocka_unit_test(version_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
