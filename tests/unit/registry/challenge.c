/* WWW-Authenticate: RFC 9110's grammar, what registries send, and what is broken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "registry/challenge.h"

/* WANT: "basic(realm,service,scope,error)" for each, "-" where a parameter isn't given. */
static const struct {
	const char *value, *want;
} good[] = {
	{"", ""},
	{" , ,", ""},
	{"Basic", "basic(-,-,-,-)"},
	{"Basic realm=\"simple\"", "basic(simple,-,-,-)"},
	{"bAsIc REALM=simple", "basic(simple,-,-,-)"},
	{"Basic realm=\"\"", "basic(,-,-,-)"},
	{"Basic  realm = \"a\"  ", "basic(a,-,-,-)"},
	{"Basic ,, realm=a,,", "basic(a,-,-,-)"},
	{"Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:"
	 "library/alpine:pull\"",
		"bearer(https://auth.docker.io/token,registry.docker.io,repository:library/alpine:pull,-)"},
	{"Bearer scope=\"repository:a:pull,push\", realm=\"https://h/t?a=b,c\"",
		"bearer(https://h/t?a=b,c,-,repository:a:pull,push,-)"},
	{"Bearer realm=\"r\",error=\"invalid_token\",charset=UTF-8", "bearer(r,-,-,invalid_token)"},
	{"Basic realm=\"a \\\"b\\\" \\\\ \\c\"", "basic(a \"b\" \\ c,-,-,-)"},
	{"Basic realm=\"one\", Realm=\"two\"", "basic(one,-,-,-)"},
	{"Basic realm=\"Basic x=y, Bearer realm=z\"", "basic(Basic x=y, Bearer realm=z,-,-,-)"},
	{"Negotiate", ""},
	{"Negotiate, Basic realm=\"x\"", "basic(x,-,-,-)"},
	{"Negotiate YII=, Basic realm=\"x\"", "basic(x,-,-,-)"},
	{"Negotiate a87421000492aa874209af8bc028==", ""},
	{"Basic YWJj", "basic(-,-,-,-)"},
	{"Basic realm=\"x\", Negotiate", "basic(x,-,-,-)"},
	{"Basic realm=\"x\", Negotiate abc/+~==,Bearer realm=r", "basic(x,-,-,-)bearer(r,-,-,-)"},
	{"Newauth realm=\"apps\", type=1, title=\"Login to \\\"apps\\\"\", Basic realm=\"simple\"",
		"basic(simple,-,-,-)"},
	{"Bearer realm=\"r\",service=s,Basic realm=\"b\"", "bearer(r,s,-,-)basic(b,-,-,-)"},
	{"Basic,Bearer", "basic(-,-,-,-)bearer(-,-,-,-)"},
	{"Basic realm=\"caf\xc3\xa9\ttab\"", "basic(caf\xc3\xa9\ttab,-,-,-)"},
	{"Basicx realm=a", ""},
};

static const char *const bad[] = {
	"\"",
	"=",
	"Basic=x",
	"Basic \"x\"",
	"Basic realm=\"x",
	"Basic realm=\"x\\",
	"Basic realm=\"x\\\"",
	"Basic realm=\"a\nb\"",
	"Basic realm=\"a\\\rb\"",
	"Basic realm=\"a\x7f\"",
	"Basic realm=a b",
	"Basic realm=a service=b",
	"Basic realm=\"a\"service=b",
	"Basic realm=\"a\" Bearer realm=b",
	"Basic Bearer realm=b",
	"Basic realm=https://x/",
	"Basic realm=a, service=",
	"Basic realm=a, =b",
	"Negotiate abc, x=y",
	"Negotiate abc def",
	"Basic realm=a; service=b",
	"Basic r\xc3\xa9=a",
	"Basic\r\nX: y",
	"(Basic)",
};

static char *say(const struct challenges *list)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	assert_non_null(f);
	for (size_t i = 0; i < list->count; i++) {
		const struct challenge *c = &list->list[i];
		const char *p[] = {c->realm, c->service, c->scope, c->error};

		fputs(c->scheme == CHALLENGE_BASIC ? "basic(" : "bearer(", f);
		for (size_t j = 0; j < ELEMENTSOF(p); j++)
			fprintf(f, "%s%s", p[j] ? p[j] : "-", j + 1 < ELEMENTSOF(p) ? "," : ")");
	}
	fclose(f);
	return text;
}

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(good); i++) {
		_cleanup_(challenges_clear) struct challenges list = {0};
		_cleanup_err_ struct err e = {0};
		_cleanup_free_ char *text = NULL;

		if (challenges_add(&list, good[i].value, strlen(good[i].value), &e) < 0)
			fail_msg("%s: %s", good[i].value, err_text(&e));
		text = say(&list);
		assert_string_equal(text, good[i].want);
	}
}

static void test_bad(void **state)
{
	_cleanup_(challenges_clear) struct challenges list = {0};
	_cleanup_free_ char *before = NULL;

	(void)state;
	assert_int_equal(challenges_add(&list, "Basic realm=kept", 16, NULL), 0);
	before = say(&list);
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		_cleanup_free_ char *after_good = NULL, *text = NULL;
		_cleanup_err_ struct err e = {0};

		if (challenges_add(&list, bad[i], strlen(bad[i]), &e) != -EBADMSG)
			fail_msg("'%s' passes", bad[i]);
		assert_non_null(e.text);
		/* Something good before it doesn't stay; "Basic=x" would be a parameter of it. */
		assert_true(asprintf(&after_good, "Bearer realm=x, %s", bad[i]) > 0);
		if (strcmp(bad[i], "Basic=x") != 0 &&
			challenges_add(&list, after_good, strlen(after_good), NULL) != -EBADMSG)
			fail_msg("'%s' passes", after_good);
		text = say(&list);
		assert_string_equal(text, before);
	}
}

static void test_nul(void **state)
{
	static const struct {
		const char *value;
		size_t n;
	} rows[] = {
		{"\0", 1},
		{"Basic\0", 6},
		{"Basic \0", 7},
		{"Basic realm=\0", 13},
		{"Basic realm=\"\0\"", 15},
		{"Basic realm=\"\\\0\"", 16},
		{"Basic realm=a\0", 14},
	};
	_cleanup_(challenges_clear) struct challenges list = {0};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++)
		if (challenges_add(&list, rows[i].value, rows[i].n, NULL) != -EBADMSG)
			fail_msg("row %zu passes", i);
	assert_int_equal(list.count, 0);
}

static void test_lines(void **state)
{
	_cleanup_(challenges_clear) struct challenges list = {0};
	_cleanup_free_ char *text = NULL;

	(void)state;
	assert_int_equal(challenges_add(&list, "Negotiate", 9, NULL), 0);
	assert_int_equal(challenges_add(&list, "Basic realm=a", 13, NULL), 0);
	assert_int_equal(challenges_add(&list, "Bearer realm=bXX", 14, NULL), 0);
	text = say(&list);
	assert_string_equal(text, "basic(a,-,-,-)bearer(b,-,-,-)");
}

static void test_bounds(void **state)
{
	_cleanup_(challenges_clear) struct challenges list = {0};
	_cleanup_free_ char *blanks = malloc(8193);

	(void)state;
	assert_non_null(blanks);
	memset(blanks, ' ', 8193);
	assert_int_equal(challenges_add(&list, blanks, 8192, NULL), 0);
	assert_int_equal(challenges_add(&list, blanks, 8193, NULL), -EFBIG);
	for (int i = 0; i < 16; i++)
		assert_int_equal(challenges_add(&list, "Basic", 5, NULL), 0);
	assert_int_equal(challenges_add(&list, "Basic", 5, NULL), -EFBIG);
	assert_int_equal(challenges_add(&list, "Negotiate", 9, NULL), 0);
	assert_int_equal(list.count, 16);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
