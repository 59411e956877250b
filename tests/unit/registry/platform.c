/* Platforms: what people write, and which entry of an index serves whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/utsname.h>

#include <cmocka.h>

#include "registry/manifest.h"

#define INDEX_TYPE "application/vnd.oci.image.index.v1+json"
#define IMAGE_TYPE "application/vnd.oci.image.manifest.v1+json"

static void test_parse(void **state)
{
	static const struct {
		const char *text, *os, *arch, *variant;
	} good[] = {
		{"linux/amd64", "linux", "amd64", ""},
		{"linux/amd64/v3", "linux", "amd64", "v3"},
		{"linux/arm64/v8", "linux", "arm64", "v8"},
		{"linux/arm64/v8.2", "linux", "arm64", "v8.2"},
		{"linux/arm/v7", "linux", "arm", "v7"},
		{"windows/amd64", "windows", "amd64", ""},
	};
	static const char *const bad[] = {"/", "linux", "amd64", "linux/", "/amd64", "linux//v8",
		"linux/arm/", "linux/arm/v7/", "linux/arm/v7/x", "linux/arm\n", "linux/ARM", " linux/arm",
		"linux/arm v7", "linux/../x/y", "linux/0123456789abcdef0123456789abcdef0"};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(good); i++) {
		_cleanup_(platform_clear) struct platform p = {0};
		_cleanup_free_ char *text = NULL;

		assert_int_equal(platform_parse(good[i].text, &p, NULL), 0);
		assert_string_equal(p.os, good[i].os);
		assert_string_equal(p.arch, good[i].arch);
		assert_string_equal(p.variant, good[i].variant);
		assert_int_equal(platform_text(&p, &text, NULL), 0);
		assert_string_equal(text, good[i].text);
	}
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		_cleanup_err_ struct err e = {0};
		struct platform p = {0};

		if (platform_parse(bad[i], &p, &e) != -EINVAL)
			fail_msg("'%s' passes", bad[i]);
		assert_null(p.os);
		assert_non_null(strstr(e.text, "linux/amd64"));
	}
}

static void test_machine(void **state)
{
	_cleanup_(platform_clear) struct platform p = {0};
	struct utsname machine;

	(void)state;
	assert_int_equal(uname(&machine), 0);
	assert_int_equal(platform_parse("", &p, NULL), 0);
	assert_string_equal(p.os, "linux");
	if (strcmp(machine.machine, "x86_64") == 0) {
		assert_string_equal(p.arch, "amd64");
		assert_true(!p.variant[0] ||
			    (p.variant[0] == 'v' && strchr("234", p.variant[1]) && !p.variant[2]));
	} else if (strcmp(machine.machine, "aarch64") == 0) {
		assert_string_equal(p.arch, "arm64");
		assert_string_equal(p.variant, "v8");
	} else {
		assert_true(p.arch[0]);
	}
}

/*
 * ENTRIES: platforms, blanks between; "-" is an entry without one, "+" before it an index, "!" an attestation, "?" of a type that nobody knows.
 * WANT: numbers of entries, best first; "" is -ENOENT.
 */
static const struct {
	const char *wanted, *entries, *want;
} choices[] = {
	{"linux/amd64", "linux/arm64 linux/amd64 linux/386", "1"},
	{"linux/amd64", "linux/amd64 linux/amd64", "01"},
	{"linux/amd64", "windows/amd64 linux/386 linux/arm64", ""},
	{"linux/amd64", "", ""},
	{"linux/amd64", "linux/x86_64", "0"},
	{"linux/amd64", "linux/amd64/v1 linux/amd64", "01"},
	{"linux/amd64", "linux/amd64/v2 linux/amd64/v3", ""},
	{"linux/amd64/v1", "linux/amd64/v2 linux/amd64", "1"},
	{"linux/amd64/v3", "linux/amd64 linux/amd64/v2 linux/amd64/v4 linux/amd64/v3", "310"},
	{"linux/amd64/v4", "linux/amd64/v3 linux/amd64/v1 linux/amd64/v5", "01"},
	{"linux/arm64", "linux/arm64/v8 linux/arm64", "01"},
	{"linux/arm64/v8", "linux/arm64 linux/arm64/v8", "01"},
	{"linux/arm64", "linux/aarch64", "0"},
	{"linux/arm64", "linux/arm64/v9 linux/arm64/v8.1 linux/arm/v7", ""},
	{"linux/arm64/v8.2", "linux/arm64/v8.3 linux/arm64/v8 linux/arm64/v8.1 linux/arm64/v8.2", "321"},
	{"linux/arm64/v9", "linux/arm64/v9.1 linux/arm64/v8 linux/arm64/v9 linux/arm64/v8.6", "21"},
	{"linux/arm/v7", "linux/arm/v5 linux/arm/v6 linux/arm/v7 linux/arm/v8", "210"},
	{"linux/arm/v6", "linux/arm/v7 linux/arm/v5 linux/arm/v6", "21"},
	{"linux/arm/v5", "linux/arm/v7 linux/arm/v6", ""},
	{"linux/arm/v6", "linux/arm", ""},
	{"linux/arm", "linux/arm/v7", "0"},
	{"linux/arm/v6", "linux/armel", "0"},
	{"linux/mips64le", "linux/mips64le/hardfloat linux/mips64le", "1"},
	{"linux/mips64le/hardfloat", "linux/mips64le linux/mips64le/hardfloat", "1"},
	{"linux/riscv64", "linux/riscv64", "0"},
	{"linux/amd64/weird", "linux/amd64 linux/amd64/weird", "1"},
	{"linux/amd64", "!linux/amd64 linux/amd64", "1"},
	{"linux/amd64", "unknown/unknown linux/amd64 unknown/unknown", "1"},
	{"linux/amd64", "unknown/unknown !-", ""},
	{"linux/amd64", "?linux/amd64 ?- linux/amd64", "2"},
	{"linux/amd64", "- linux/amd64", "10"},
	{"linux/amd64", "-", "0"},
	{"linux/amd64", "+- linux/amd64/v1 - linux/amd64", "1302"},
	{"linux/amd64", "+linux/amd64 linux/amd64", "10"},
	{"linux/amd64", "+linux/arm64 linux/amd64", "1"},
	{"linux/amd64", "!+- +-", "1"},
};

static struct manifest *make(const char *entries)
{
	_cleanup_free_ char *copy = strdup(entries), *text = NULL;
	_cleanup_err_ struct err e = {0};
	struct manifest *m = NULL;
	char *rest = copy, *p;
	size_t n = 0;
	bool first = true;
	FILE *f = open_memstream(&text, &n);

	assert_non_null(copy);
	assert_non_null(f);
	fputs("{\"schemaVersion\":2,\"manifests\":[", f);
	while ((p = strsep(&rest, " "))) {
		const char *type = IMAGE_TYPE;
		bool attestation = false;
		char *arch, *variant;

		if (!*p)
			continue;
		for (; strchr("!+?", *p); p++) {
			attestation = attestation || *p == '!';
			type = *p == '+' ? INDEX_TYPE : *p == '?' ? "application/x-what" : type;
		}
		fprintf(f,
			"%s{\"mediaType\":\"%s\",\"size\":1,\"digest\":"
			"\"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"",
			first ? "" : ",", type);
		first = false;
		if (attestation)
			fputs(",\"annotations\":{\"vnd.docker.reference.type\":\"attestation-manifest\"}", f);
		arch = strchr(p, '/');
		if (arch) {
			*arch++ = '\0';
			variant = strchr(arch, '/');
			if (variant)
				*variant++ = '\0';
			fprintf(f, ",\"platform\":{\"os\":\"%s\",\"architecture\":\"%s\"", p, arch);
			if (variant)
				fprintf(f, ",\"variant\":\"%s\"", variant);
			fputc('}', f);
		}
		fputc('}', f);
	}
	fputs("]}", f);
	fclose(f);
	if (manifest_parse(text, n, NULL, &m, &e) < 0)
		fail_msg("%s: %s", text, err_text(&e));
	return m;
}

static void test_choose(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(choices); i++) {
		_cleanup_(manifest_freep) struct manifest *m = make(choices[i].entries);
		_cleanup_(platform_clear) struct platform p = {0};
		size_t list[8] = {0}, n = 0;
		char got[9] = "";
		int r;

		assert_true(m->count <= ELEMENTSOF(list));
		assert_int_equal(platform_parse(choices[i].wanted, &p, NULL), 0);
		r = manifest_choose(m, &p, list, &n, NULL);
		assert_int_equal(r, choices[i].want[0] ? 0 : -ENOENT);
		for (size_t j = 0; j < n; j++)
			got[j] = (char)('0' + list[j]);
		if (strcmp(got, choices[i].want) != 0)
			fail_msg("row %zu: %s of %s: got %s", i, choices[i].wanted, choices[i].entries, got);
	}
}

/* "" gets what this machine can run, and nothing else. */
static void test_choose_machine(void **state)
{
	_cleanup_(platform_clear) struct platform p = {0};
	_cleanup_(manifest_freep) struct manifest *m =
		make("linux/amd64 linux/amd64/v9 linux/arm64 linux/riscv64 linux/arm/v5 "
		     "linux/386 linux/s390x linux/ppc64le");
	size_t list[8], n;

	(void)state;
	assert_int_equal(platform_parse("", &p, NULL), 0);
	assert_int_equal(manifest_choose(m, &p, list, &n, NULL), 0);
	assert_int_equal(n, 1);
	assert_string_equal(m->entries[list[0]].platform.arch, p.arch);
}

static void test_none_says_what_there_is(void **state)
{
	_cleanup_(manifest_freep) struct manifest *m = make("linux/amd64 unknown/unknown linux/arm/v7"),
						  *empty = make("");
	_cleanup_(platform_clear) struct platform p = {0};
	_cleanup_err_ struct err e = {0}, e2 = {0};
	size_t list[3], n;

	(void)state;
	assert_int_equal(platform_parse("linux/arm64/v8", &p, NULL), 0);
	assert_int_equal(manifest_choose(m, &p, list, &n, &e), -ENOENT);
	assert_non_null(strstr(e.text, "linux/arm64/v8"));
	assert_non_null(strstr(e.text, "linux/amd64, linux/arm/v7"));
	assert_null(strstr(e.text, "unknown"));
	assert_int_equal(manifest_choose(empty, &p, list, &n, &e2), -ENOENT);
	assert_non_null(strstr(e2.text, "none"));
}

static void test_none_of_many(void **state)
{
	_cleanup_free_ char *entries = NULL;
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	_cleanup_(platform_clear) struct platform p = {0};
	_cleanup_err_ struct err e = {0};
	_cleanup_free_ size_t *list = NULL;
	size_t n;
	FILE *f = open_memstream(&entries, &n);

	(void)state;
	assert_non_null(f);
	for (int i = 0; i < 1000; i++)
		fprintf(f, "plan9/%s%d ",
			"an-architecture-with-a-name-that-is-much-too-long-to-be-shown-in-a-message", i);
	fclose(f);
	m = make(entries);
	list = calloc(m->count, sizeof(*list));
	assert_non_null(list);
	assert_int_equal(platform_parse("linux/amd64", &p, NULL), 0);
	assert_int_equal(manifest_choose(m, &p, list, &n, &e), -ENOENT);
	assert_non_null(strstr(e.text, "980 more"));
	assert_true(strlen(e.text) < 2000);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_machine),
		cmocka_unit_test(test_choose),
		cmocka_unit_test(test_choose_machine),
		cmocka_unit_test(test_none_says_what_there_is),
		cmocka_unit_test(test_none_of_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
