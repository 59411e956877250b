/* References: the grammar of distribution/reference, docker's defaults, and what must never pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "registry/reference.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct {
	const char *text, *full, *name;
} good[] = {
	{"alpine", "docker.io/library/alpine:latest", "alpine"},
	{"alpine:3.20", "docker.io/library/alpine:3.20", "alpine"},
	{"user/app", "docker.io/user/app:latest", "app"},
	{"docker.io/alpine", "docker.io/library/alpine:latest", "alpine"},
	{"index.docker.io/alpine", "docker.io/library/alpine:latest", "alpine"},
	{"test.com/repo:tag", "test.com/repo:tag", "repo"},
	{"test:5000/repo", "test:5000/repo:latest", "repo"},
	{"test:5000/repo:tag@sha256:" HEX64, "test:5000/repo@sha256:" HEX64, "repo"},
	{"a@sha512:" HEX64 HEX64, "docker.io/library/a@sha512:" HEX64 HEX64, "a"},
	{"localhost/a", "localhost/a:latest", "a"},
	{"localhost:5000", "docker.io/library/localhost:5000", "localhost"},
	{"Uppercase/lowercase", "Uppercase/lowercase:latest", "lowercase"},
	{"test_com/foo", "docker.io/test_com/foo:latest", "foo"},
	{"foo_bar.com:8080", "docker.io/library/foo_bar.com:8080", "foo-bar-com"},
	{"foo/foo_bar.com:8080", "docker.io/foo/foo_bar.com:8080", "foo-bar-com"},
	{"sub-dom1.foo.com/bar/baz/quux:some-long-tag", "sub-dom1.foo.com/bar/baz/quux:some-long-tag",
		"quux"},
	{"b.gcr.io/test.example.com/my-app", "b.gcr.io/test.example.com/my-app:latest", "my-app"},
	{"xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com", "myimage"},
	{"192.168.1.1:5000/repo", "192.168.1.1:5000/repo:latest", "repo"},
	{"[2001:db8::1]:5000/repo:tag", "[2001:db8::1]:5000/repo:tag", "repo"},
	{"[::1]/a", "[::1]/a:latest", "a"},
	{"a__b---c", "docker.io/library/a__b---c:latest", "a-b-c"},
	{"x:_t", "docker.io/library/x:_t", "x"},
};

static const char *const bad[] = {
	"",
	":justtag",
	"@sha256:" HEX64,
	"repo@sha256:ffffffff",
	"validname@invaliddigest:" HEX64,
	"a@sha256:../../x",
	"a@sha256:" HEX64 "0",
	"a@sha256:ABCDEF6789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	"a@md5:" HEX64,
	"Uppercase:tag",
	"test:5000/Uppercase/lowercase:tag",
	"aa/asdf$$^/aa",
	"lowercase:Uppercase/x",
	HEX64,
	"a:",
	"a@",
	"a:.t",
	"a:-t",
	"a/../b",
	"../etc",
	"/a",
	"a/",
	"a//b",
	"a..b",
	"a___b",
	"a_-b",
	"-a",
	"a-",
	".",
	"..",
	"a b",
	"a\nb",
	"a%2fb",
	"a?x",
	"a#x",
	"user@host/a",
	"https://host.com/a",
	"h.com:/a",
	"h.com:0/a",
	"h.com:65536/a",
	"h.com:99999999999/a",
	"h.com:x/a",
	"-h.com/a",
	"h-.com/a",
	"h..com/a",
	"[fe80::1%eth0]:5000/a",
	"[fe80::1%@invalidzone]:5000/a",
	"[2001:db8::1/a",
	"[2001:db8::1]",
	"[]/a",
	"[a]/a",
	"[::1]x/a",
	"a@sha256:" HEX64 "@sha256:" HEX64,
	"\xc3\xa9",
};

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(good); i++) {
		_cleanup_(reference_freep) struct reference *r = NULL, *again = NULL;
		_cleanup_free_ char *text = NULL, *name = NULL, *text2 = NULL;
		_cleanup_err_ struct err e = {0};

		if (reference_parse(good[i].text, &r, &e) < 0)
			fail_msg("%s: %s", good[i].text, err_text(&e));
		assert_int_equal(reference_text(r, &text, NULL), 0);
		assert_string_equal(text, good[i].full);
		assert_int_equal(reference_name(r, &name, NULL), 0);
		assert_string_equal(name, good[i].name);
		assert_int_equal(reference_parse(text, &again, NULL), 0);
		assert_int_equal(reference_text(again, &text2, NULL), 0);
		assert_string_equal(text2, text);
	}
}

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		struct reference *r = NULL;
		_cleanup_err_ struct err e = {0};

		if (reference_parse(bad[i], &r, &e) != -EINVAL)
			fail_msg("'%s' passes", bad[i]);
		assert_null(r);
		assert_non_null(e.text);
	}
}

static void test_lengths(void **state)
{
	static const struct {
		const char *prefix;
		size_t n;
		int want;
	} rows[] = {
		{"a/", 253, 0},
		{"a/", 254, -EINVAL},
		{"", 247, 0},
		{"", 248, -EINVAL},
		{"h.com/", 255, 0},
		{"h.com/", 256, -EINVAL},
		{"a:", 128, 0},
		{"a:", 129, -EINVAL},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		_cleanup_(reference_freep) struct reference *r = NULL;
		_cleanup_free_ char *text = NULL;
		size_t n = strlen(rows[i].prefix);

		text = calloc(1, n + rows[i].n + 1);
		assert_non_null(text);
		memcpy(text, rows[i].prefix, n);
		memset(text + n, 'a', rows[i].n);
		if (reference_parse(text, &r, NULL) != rows[i].want)
			fail_msg("row %zu", i);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
