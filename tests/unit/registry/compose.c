/* The documents of images that are made here: what others make of them, and that the same input makes the same bytes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "banger/cleanup.h"
#include "registry/compose.h"
#include "registry/digest.h"
#include "registry/manifest.h"

#define ONE "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define TWO "sha256:2222222222222222222222222222222222222222222222222222222222222222"
#define SIX "sha256:6666666666666666666666666666666666666666666666666666666666666666"

static const char *const two[] = {ONE, TWO};

static char *config(const char *base, size_t count, size_t fresh)
{
	struct compose c = {.base = base,
		.platform = "linux/arm64/v8",
		.diff_ids = two,
		.count = count,
		.fresh = fresh,
		.created_by = "a test",
		.created = 1700000000000000};
	_cleanup_err_ struct err e = {0};
	char *text = NULL;

	if (compose_config(&c, &text, &e) < 0)
		fail_msg("%s", err_text(&e));
	return text;
}

static void test_from_nothing(void **state)
{
	_cleanup_free_ char *text = config("", 1, 1);

	(void)state;
	assert_string_equal(text,
		"{\"os\":\"linux\",\"architecture\":\"arm64\",\"variant\":\"v8\",\"created\":\"2023-11-14T22:"
		"13:20Z\","
		"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" ONE "\"]},"
		"\"history\":[{\"created\":\"2023-11-14T22:13:20Z\",\"created_by\":\"a test\"}]}");
}

static void test_on_top(void **state)
{
	_cleanup_free_ char *text = config(
		"{\"os\":\"linux\",\"architecture\":\"amd64\",\"created\":\"then\",\"container\":\"x\","
		"\"config\":{\"Cmd\":[\"a/b\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" ONE "\"]},"
		"\"history\":[{\"created_by\":\"x\"},{\"created_by\":\"y\",\"empty_layer\":true}]}",
		2, 1);

	(void)state;
	assert_string_equal(text,
		"{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Cmd\":[\"a/b\"]},"
		"\"created\":\"2023-11-14T22:13:20Z\","
		"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" ONE "\",\"" TWO "\"]},"
		"\"history\":[{\"created_by\":\"x\"},{\"created_by\":\"y\",\"empty_layer\":true},"
		"{\"created\":\"2023-11-14T22:13:20Z\",\"created_by\":\"a test\"}]}");
}

/* One that tells of two layers, or of none, where there is one. */
static void test_history_that_does_not_fit(void **state)
{
	static const char *const bases[] = {
		"{\"os\":\"linux\",\"architecture\":\"amd64\",\"history\":[{},{}]}",
		"{\"os\":\"linux\",\"architecture\":\"amd64\"}",
		"{\"os\":\"linux\",\"architecture\":\"amd64\",\"history\":[1]}",
		"{\"os\":\"linux\",\"architecture\":\"amd64\",\"history\":{}}",
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(bases); i++) {
		_cleanup_free_ char *text = config(bases[i], 2, 1);

		assert_non_null(
			strstr(text, "\"history\":[{\"created_by\":\"a layer of the image below\"},"
				     "{\"created\":\"2023-11-14T22:13:20Z\",\"created_by\":\"a test\"}]"));
	}
}

static void test_base_that_is_none(void **state)
{
	struct compose c = {
		.base = "[", .platform = "", .diff_ids = two, .count = 1, .fresh = 1, .created_by = ""};
	_cleanup_err_ struct err e = {0};
	char *text = NULL;

	(void)state;
	assert_int_equal(compose_config(&c, &text, &e), -EBADMSG);
	assert_null(text);
}

static void test_manifest(void **state)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	_cleanup_err_ struct err e = {0};
	char digest[DIGEST_TEXT_MAX];

	(void)state;
	if (compose_manifest("{}",
		    ONE " 10 application/vnd.docker.image.rootfs.diff.tar.gzip\n" TWO
			" 5000000000 application/vnd.oci.image.layer.v1.tar+zstd\n" SIX " 0 " COMPOSE_LAYER
			"\n",
		    &text, &e) < 0 ||
		manifest_parse(text, strlen(text), COMPOSE_IMAGE, &m, &e) < 0)
		fail_msg("%s", err_text(&e));
	digest_of("{}", 2, digest);
	assert_string_equal(m->config.digest, digest);
	assert_int_equal(m->config.size, 2);
	assert_int_equal(m->count, 3);
	assert_string_equal(m->entries[0].media_type, COMPOSE_LAYER);
	assert_string_equal(m->entries[1].media_type, "application/vnd.oci.image.layer.v1.tar+zstd");
	assert_int_equal(m->entries[1].size, 5000000000);
	assert_string_equal(m->entries[2].digest, SIX);
}

static void test_layers_that_are_none(void **state)
{
	static const char *const lines[] = {
		"x\n", ONE "\n", ONE " 1\n", ONE " -1 type\n", "sha256:../x 1 type\n"};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(lines); i++) {
		_cleanup_err_ struct err e = {0};
		char *text = NULL;

		assert_int_equal(compose_manifest("{}", lines[i], &text, &e), -EBADMSG);
		assert_null(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from_nothing),
		cmocka_unit_test(test_on_top),
		cmocka_unit_test(test_history_that_does_not_fit),
		cmocka_unit_test(test_base_that_is_none),
		cmocka_unit_test(test_manifest),
		cmocka_unit_test(test_layers_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
