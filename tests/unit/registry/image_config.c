/* Configurations: what is kept of them and how, and what must not pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "registry/manifest.h"

#define HEX64   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIFF    "\"sha256:" HEX64 "\""
#define ROOTFS  "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[" DIFF "]}"
#define RUN(x)  "{\"config\":{" x "}," ROOTFS "}"
#define WITH(x) "{" x "," ROOTFS "}"

static struct image_config *parse(const char *text)
{
	_cleanup_err_ struct err e = {0};
	struct image_config *c = NULL;

	if (image_config_parse(text, strlen(text), &c, &e) < 0)
		fail_msg("%s: %s", text, err_text(&e));
	return c;
}

static void assert_list(char **list, const char *const *want)
{
	size_t i;

	assert_non_null(list);
	for (i = 0; want[i]; i++) {
		assert_non_null(list[i]);
		assert_string_equal(list[i], want[i]);
	}
	assert_null(list[i]);
}

#define assert_strings(list, ...) assert_list(list, (const char *const[]){__VA_ARGS__, NULL})
#define assert_none(list)         assert_list(list, (const char *const[]){NULL})

static void test_full(void **state)
{
	static const char text[] =
		"{\"architecture\":\"arm64\",\"os\":\"linux\",\"variant\":\"v8\",\"created\":\"2024-05-22T18:"
		"18:12.052034407Z\","
		"\"container_config\":{\"User\":\"nobody\"},\"history\":[{\"empty_layer\":true}],\"config\":{"
		"\"User\":\"1000:1000\",\"ExposedPorts\":{\"8080/udp\":{},\"80/tcp\":{}},"
		"\"Env\":[\"PATH=/bin\",\"LINES=a\\nb\\u0001\",\"EMPTY=\",\"CAFE=caf\xc3\xa9\"],"
		"\"Entrypoint\":[\"/bin/sh\",\"-c\"],\"Cmd\":[\"\",\"echo\"],"
		"\"Volumes\":{\"/b\":{},\"/../../a\":null},\"WorkingDir\":\"/srv/"
		"x\",\"StopSignal\":\"SIGQUIT\","
		"\"Labels\":{\"z\":\"1\",\"a\":\"one\\ntwo=three\",\"n\":null},\"Healthcheck\":{\"Test\":["
		"\"CMD\"]}},"
		"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[" DIFF "," DIFF "]}}";
	_cleanup_(image_config_freep) struct image_config *c = parse(text);

	(void)state;
	assert_string_equal(c->platform.os, "linux");
	assert_string_equal(c->platform.arch, "arm64");
	assert_string_equal(c->platform.variant, "v8");
	assert_string_equal(c->created, "2024-05-22T18:18:12.052034407Z");
	assert_string_equal(c->user, "1000:1000");
	assert_string_equal(c->workdir, "/srv/x");
	assert_string_equal(c->stop_signal, "SIGQUIT");
	assert_strings(c->env, "PATH=/bin", "LINES=a\nb\x01", "EMPTY=", "CAFE=caf\xc3\xa9");
	assert_strings(c->entrypoint, "/bin/sh", "-c");
	assert_strings(c->cmd, "", "echo");
	assert_strings(c->ports, "80/tcp", "8080/udp");
	/* CVE-2022-23648: a volume's path is text that nobody goes along on the host. */
	assert_strings(c->volumes, "/../../a", "/b");
	assert_strings(c->labels, "a=one\ntwo=three", "n=", "z=1");
	assert_strings(c->diff_ids, "sha256:" HEX64, "sha256:" HEX64);
	assert_int_equal(c->diff_count, 2);
}

static void test_little(void **state)
{
	static const char *const rows[] = {
		"{\"rootfs\":{}}",
		"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":null},\"config\":null,\"created\":null,\"os\":"
		"null}",
		"{\"rootfs\":{\"diff_ids\":[]},\"config\":{}}",
		"{\"rootfs\":{},\"config\":{\"Env\":null,\"Entrypoint\":null,\"Cmd\":null,\"Labels\":null,"
		"\"Volumes\":null,"
		"\"ExposedPorts\":null,\"User\":null,\"WorkingDir\":\"\",\"StopSignal\":null}}",
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		_cleanup_(image_config_freep) struct image_config *c = parse(rows[i]);

		assert_string_equal(c->platform.os, "");
		assert_string_equal(c->platform.arch, "");
		assert_string_equal(c->platform.variant, "");
		assert_string_equal(c->created, "");
		assert_string_equal(c->user, "");
		assert_string_equal(c->workdir, "");
		assert_string_equal(c->stop_signal, "");
		assert_none(c->env);
		assert_none(c->entrypoint);
		assert_none(c->cmd);
		assert_none(c->ports);
		assert_none(c->volumes);
		assert_none(c->labels);
		assert_none(c->diff_ids);
		assert_int_equal(c->diff_count, 0);
	}
}

static void test_bad(void **state)
{
	static const struct {
		const char *text, *names;
	} rows[] = {
		{"", "JSON"},
		{"[]", "JSON"},
		{"{" ROOTFS, "middle"},
		{"{" ROOTFS "}x", "JSON"},
		{"{}", "rootfs: missing"},
		{"{\"rootfs\":null}", "rootfs: missing"},
		{"{\"rootfs\":[]}", "rootfs: not an object"},
		{"{\"rootfs\":{\"type\":\"tree\"}}", "rootfs.type"},
		{"{\"rootfs\":{\"type\":\"a\\nb\"}}", "rootfs.type"},
		{"{\"rootfs\":{\"diff_ids\":{}}}", "rootfs.diff_ids: not a list"},
		{"{\"rootfs\":{\"diff_ids\":[" DIFF ",null]}}", "rootfs.diff_ids[1]"},
		{"{\"rootfs\":{\"diff_ids\":[" DIFF ",\"sha256:../../x\"]}}", "rootfs.diff_ids[1]"},
		{"{\"rootfs\":{\"diff_ids\":[\"\"]}}", "rootfs.diff_ids[0]"},
		{WITH("\"os\":5"), "os: not a string"},
		{WITH("\"os\":\"a\\nb\""), "os: there are control"},
		{WITH("\"architecture\":\"a\\u001bb\""), "architecture: there are control"},
		{WITH("\"variant\":\"a\\u009bb\""), "variant: there are control"},
		{WITH("\"created\":\"yesterday\""), "created"},
		{WITH("\"created\":\"2024-05-22\""), "created"},
		{WITH("\"created\":\"2024-05-22T18:18:12\""), "created"},
		{WITH("\"created\":\"2024-05-22T18:18:12.Z\""), "created"},
		{WITH("\"created\":\"2024-05-22T18:18:12Zx\""), "created"},
		{WITH("\"created\":\"2024-05-22T18:18:12+01:00x\""), "created"},
		{WITH("\"config\":[]"), "config: not an object"},
		{RUN("\"User\":\"root\\nx\""), "config.User"},
		{RUN("\"User\":0"), "config.User: not a string"},
		{RUN("\"User\":\"a\\u0000b\""), "NUL"},
		{RUN("\"WorkingDir\":\"/a\\tb\""), "config.WorkingDir"},
		{RUN("\"StopSignal\":\"9\\r\""), "config.StopSignal"},
		{RUN("\"StopSignal\":9"), "config.StopSignal: not a string"},
		{RUN("\"Env\":\"A=b\""), "config.Env: not a list"},
		{RUN("\"Env\":[\"A=b\",5]"), "config.Env[1]: not a string"},
		{RUN("\"Env\":[\"A=b\",null]"), "config.Env[1]: not a string"},
		{RUN("\"Env\":[\"A=b\",\"PATH\"]"), "config.Env[1]: not NAME=VALUE"},
		{RUN("\"Env\":[\"=b\"]"), "config.Env[0]: not NAME=VALUE"},
		{RUN("\"Env\":[\"A=\\u0000\"]"), "NUL"},
		{RUN("\"Entrypoint\":{}"), "config.Entrypoint: not a list"},
		{RUN("\"Cmd\":[[\"a\"]]"), "config.Cmd[0]: not a string"},
		{RUN("\"ExposedPorts\":[\"80\"]"), "config.ExposedPorts: not an object"},
		{RUN("\"ExposedPorts\":{\"80/tcp\\nx\":{}}"), "config.ExposedPorts: there are control"},
		{RUN("\"Volumes\":[]"), "config.Volumes: not an object"},
		{RUN("\"Volumes\":{\"/a\\nb\":{}}"), "config.Volumes: there are control"},
		{RUN("\"Labels\":[\"a=b\"]"), "config.Labels: not an object"},
		{RUN("\"Labels\":{\"a\":5}"), "config.Labels"},
		{RUN("\"Labels\":{\"a\":{\"b\":\"c\"}}"), "config.Labels"},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		struct image_config *c = NULL;
		_cleanup_err_ struct err e = {0};
		int r = image_config_parse(rows[i].text, strlen(rows[i].text), &c, &e);

		if (r != -EBADMSG || !e.text || !strstr(e.text, rows[i].names) || strchr(e.text, '\n'))
			fail_msg("row %zu, %s: %d, %s", i, rows[i].text, r, r < 0 ? err_text(&e) : "passes");
		assert_null(c);
	}
}

static void test_created(void **state)
{
	static const char *const good[] = {"0001-01-01T00:00:00Z", "2024-05-22T18:18:12.1Z",
		"2024-05-22T18:18:12-07:00", "2024-05-22T18:18:12.123456789+05:30"};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(good); i++) {
		_cleanup_(image_config_freep) struct image_config *c = NULL;
		_cleanup_free_ char *text = NULL;

		assert_true(asprintf(&text, WITH("\"created\":\"%s\""), good[i]) > 0);
		c = parse(text);
		assert_string_equal(c->created, good[i]);
	}
}

static void test_bounds(void **state)
{
	static const struct {
		size_t n;
		int want;
	} rows[] = {{500, 0}, {501, -EFBIG}};
	_cleanup_free_ char *large = malloc(CONFIG_BYTES_MAX + 1);
	_cleanup_(image_config_freep) struct image_config *whole = NULL;
	struct image_config *none = NULL;

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		_cleanup_(image_config_freep) struct image_config *c = NULL;
		_cleanup_free_ char *text = NULL;
		size_t length;
		FILE *f = open_memstream(&text, &length);

		assert_non_null(f);
		fputs("{\"rootfs\":{\"diff_ids\":[" DIFF, f);
		for (size_t j = 1; j < rows[i].n; j++)
			fputs("," DIFF, f);
		fputs("]}}", f);
		fclose(f);
		assert_int_equal(image_config_parse(text, length, &c, NULL), rows[i].want);
	}

	assert_non_null(large);
	memset(large, ' ', CONFIG_BYTES_MAX + 1);
	memcpy(large, WITH("\"os\":\"linux\""), strlen(WITH("\"os\":\"linux\"")));
	assert_int_equal(image_config_parse(large, CONFIG_BYTES_MAX, &whole, NULL), 0);
	assert_int_equal(image_config_parse(large, CONFIG_BYTES_MAX + 1, &none, NULL), -EFBIG);
}

/* Two names that are one for who ends at a quote of another kind: what json-c is given was counted as json-c counts. */
static void test_quotes(void **state)
{
	static const char text[] = "{'\"':[],\"rootfs\":{}}";
	struct image_config *c = NULL;

	(void)state;
	assert_int_equal(image_config_parse(text, sizeof(text) - 1, &c, NULL), -EBADMSG);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_little),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_created),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_quotes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
