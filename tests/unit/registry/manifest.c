/* Indexes and manifests: what registries serve, and what must not pass, each with the error and the field that it names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "registry/manifest.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define D     "\"digest\":\"sha256:" HEX64 "\""

#define OCI_INDEX    "application/vnd.oci.image.index.v1+json"
#define OCI_IMAGE    "application/vnd.oci.image.manifest.v1+json"
#define DOCKER_INDEX "application/vnd.docker.distribution.manifest.list.v2+json"
#define DOCKER_IMAGE "application/vnd.docker.distribution.manifest.v2+json"
#define SCHEMA_1     "application/vnd.docker.distribution.manifest.v1+prettyjws"

#define TYPE(t)      "\"mediaType\":\"" t "\""
#define CONFIG       "\"config\":{" TYPE("application/vnd.oci.image.config.v1+json") "," D ",\"size\":7}"
#define LAYER_TYPE   TYPE("application/vnd.oci.image.layer.v1.tar+gzip")
#define LAYER        "{" LAYER_TYPE "," D ",\"size\":32654}"
#define LAYERS       "\"layers\":[" LAYER "]"
#define ENTRY        "{" TYPE(OCI_IMAGE) "," D ",\"size\":7}"
#define V2           "\"schemaVersion\":2"
#define IMAGE(layer) "{" V2 "," CONFIG ",\"layers\":[" layer "]}"
#define INDEX(entry) "{" V2 ",\"manifests\":[" entry "]}"
/* A layer with something else in the place of its size. */
#define SIZED(size) IMAGE("{" LAYER_TYPE "," D ",\"size\":" size "}")

static const struct {
	const char *text, *content_type;
	enum manifest_kind kind;
	size_t count;
	const char *media_type;
} good[] = {
	{"{" V2 "," CONFIG "," LAYERS "}", NULL, MANIFEST_IMAGE, 1, OCI_IMAGE},
	{"{" V2 "," CONFIG "," LAYERS "}\n", DOCKER_IMAGE, MANIFEST_IMAGE, 1, DOCKER_IMAGE},
	{"{" V2 "," TYPE(OCI_IMAGE) "," CONFIG "," LAYERS "}", OCI_IMAGE, MANIFEST_IMAGE, 1, OCI_IMAGE},
	{"{" V2 "," TYPE(OCI_IMAGE) "," CONFIG "," LAYERS "}",
		"Application/VND.oci.image.manifest.v1+json; charset=utf-8", MANIFEST_IMAGE, 1, OCI_IMAGE},
	{"{" V2 "," TYPE(OCI_IMAGE) "," CONFIG "," LAYERS "}", "application/json", MANIFEST_IMAGE, 1,
		OCI_IMAGE},
	{"{" V2 "," TYPE(OCI_IMAGE) "," CONFIG "," LAYERS "}", "text/plain; charset=utf-8", MANIFEST_IMAGE, 1,
		OCI_IMAGE},
	{"{" V2 "," TYPE("") "," CONFIG "," LAYERS "}", "", MANIFEST_IMAGE, 1, OCI_IMAGE},
	{"{" V2 ",\"mediaType\":null," CONFIG "," LAYERS ",\"manifests\":null}", NULL, MANIFEST_IMAGE, 1,
		OCI_IMAGE},
	{"{" V2 "," CONFIG ",\"layers\":[]}", NULL, MANIFEST_IMAGE, 0, OCI_IMAGE},
	/* Unknown fields, and of two with one name the last. */
	{"{" V2 "," CONFIG "," LAYERS ",\"subject\":{\"x\":[1,2.5,true,null]},\"annotations\":{}}", NULL,
		MANIFEST_IMAGE, 1, OCI_IMAGE},
	{"{" V2 "," CONFIG ",\"layers\":[]," LAYERS "}", NULL, MANIFEST_IMAGE, 1, OCI_IMAGE},
	{"{" V2 "," TYPE(DOCKER_IMAGE) ",\"config\":{" TYPE(
		 "application/octet-stream") "," D
					     ",\"size\":7},\"layers\":[{" TYPE(
						     "application/"
						     "vnd.docker.image.rootfs.foreign.diff."
						     "tar.gzip") "," D ",\"size\":0,\"urls\":"
								 "[\"https://h/l\"]}]}",
		NULL, MANIFEST_IMAGE, 1, DOCKER_IMAGE},
	{SIZED("9223372036854775807"), NULL, MANIFEST_IMAGE, 1, OCI_IMAGE},
	{INDEX(ENTRY), NULL, MANIFEST_INDEX, 1, OCI_INDEX},
	{INDEX(""), OCI_INDEX, MANIFEST_INDEX, 0, OCI_INDEX},
	{"{" V2 "," TYPE(DOCKER_INDEX) ",\"manifests\":[" ENTRY "," ENTRY "]}", DOCKER_INDEX, MANIFEST_INDEX,
		2, DOCKER_INDEX},
	/* What an index's entries are is decided when one is chosen. */
	{INDEX("{" TYPE("application/x-what") "," D ",\"size\":99999999}"), NULL, MANIFEST_INDEX, 1,
		OCI_INDEX},
};

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(good); i++) {
		_cleanup_(manifest_freep) struct manifest *m = NULL;
		_cleanup_err_ struct err e = {0};

		if (manifest_parse(good[i].text, strlen(good[i].text), good[i].content_type, &m, &e) < 0)
			fail_msg("row %zu: %s", i, err_text(&e));
		assert_int_equal(m->kind, good[i].kind);
		assert_int_equal(m->count, good[i].count);
		assert_string_equal(m->media_type, good[i].media_type);
		if (m->kind == MANIFEST_IMAGE)
			assert_string_equal(m->config.digest, "sha256:" HEX64);
	}
}

static const struct {
	const char *text, *content_type;
	int want;
	const char *names; /* is in the message */
} bad[] = {
	/* No JSON. */
	{"", NULL, -EBADMSG, "JSON"},
	{"x", NULL, -EBADMSG, "JSON"},
	{"null", NULL, -EBADMSG, "JSON"},
	{"[]", NULL, -EBADMSG, "JSON"},
	{"\"a\"", NULL, -EBADMSG, "JSON"},
	{"{" V2 "," CONFIG "," LAYERS, NULL, -EBADMSG, "middle"},
	{"{" V2 "," CONFIG "," LAYERS "}}", NULL, -EBADMSG, "JSON"},
	{"{" V2 "," CONFIG "," LAYERS "}{}", NULL, -EBADMSG, "JSON"},
	{"{" V2 "," CONFIG "," LAYERS ",}", NULL, -EBADMSG, "JSON"},
	{"/* c */{" V2 "," CONFIG "," LAYERS "}", NULL, -EBADMSG, "JSON"},
	{"{'schemaVersion':2," CONFIG "," LAYERS "}", NULL, -EBADMSG, "JSON"},
	{"{" V2 "," CONFIG "," LAYERS ",\"a\":\"\xff\"}", NULL, -EBADMSG, "JSON"},
	{"{" V2 "," CONFIG "," LAYERS ",\"a\":\"\\u0000\"}", NULL, -EBADMSG, "NUL"},
	{"{" V2 "," CONFIG "," LAYERS ",\"manifests\\u0000\":[]}", NULL, -EBADMSG, "NUL"},
	/* CVE-2021-41190: both, or called another than it is. */
	{"{" V2 "," CONFIG "," LAYERS ",\"manifests\":[" ENTRY "]}", NULL, -EBADMSG, "both"},
	{"{" V2 "," CONFIG "," LAYERS ",\"manifests\":[]}", OCI_IMAGE, -EBADMSG, "both"},
	{"{" V2 "," TYPE(OCI_INDEX) "," LAYERS ",\"manifests\":[]}", OCI_INDEX, -EBADMSG, "both"},
	{"{" V2 "," CONFIG ",\"manifests\":[]}", NULL, -EBADMSG, "both"},
	{"{" V2 "," TYPE(OCI_INDEX) "," CONFIG "," LAYERS "}", NULL, -EBADMSG, "index"},
	{"{" V2 "," TYPE(OCI_IMAGE) ",\"manifests\":[]}", NULL, -EBADMSG, "image"},
	{"{" V2 "," CONFIG "," LAYERS "}", OCI_INDEX, -EBADMSG, "index"},
	{INDEX(ENTRY), DOCKER_IMAGE, -EBADMSG, "image"},
	{"{" V2 "," TYPE(OCI_IMAGE) "," CONFIG "," LAYERS "}", DOCKER_IMAGE, -EBADMSG, "mediaType"},
	{"{" V2 "," TYPE(OCI_IMAGE) "," CONFIG "," LAYERS "}", OCI_INDEX, -EBADMSG, "mediaType"},
	{"{" V2 "," TYPE(OCI_IMAGE) "," CONFIG "," LAYERS "}", "text/html", -EBADMSG, "text/html"},
	{"{" V2 "," CONFIG "," LAYERS ",\"fsLayers\":[]}", NULL, -EBADMSG, "fsLayers"},
	/* Schema 1, artifacts. */
	{"{\"schemaVersion\":1,\"name\":\"a\",\"fsLayers\":[]}", NULL, -EOPNOTSUPP, "schema 1"},
	{"{\"schemaVersion\":1,\"fsLayers\":[]}", SCHEMA_1, -EOPNOTSUPP, "schema 1"},
	{"{\"name\":\"a\"," TYPE(SCHEMA_1) "}", NULL, -EOPNOTSUPP, "schema 1"},
	{"{" TYPE("application/vnd.oci.artifact.manifest.v1+json") ",\"blobs\":[]}", NULL, -EOPNOTSUPP,
		"artifact.manifest"},
	{"{" V2 ",\"config\":{" TYPE("application/vnd.cncf.helm.config.v1+json") "," D ",\"size\":7}," LAYERS
										 "}",
		NULL, -EOPNOTSUPP, "vnd.cncf.helm.config"},
	{"{" V2 ",\"artifactType\":\"a/b\",\"config\":{" TYPE(
		 "application/vnd.oci.empty.v1+json") "," D ",\"size\":2}," LAYERS "}",
		NULL, -EOPNOTSUPP, "vnd.oci.empty"},
	{IMAGE("{" TYPE("application/vnd.in-toto+json") "," D ",\"size\":7}"), NULL, -EOPNOTSUPP,
		"layers[0].mediaType"},
	{IMAGE("{" TYPE("application/vnd.oci.image.layer.v1.tar+gzip+encrypted") "," D ",\"size\":7}"), NULL,
		-EOPNOTSUPP, "encrypted"},
	/* Fields. */
	{"{}", NULL, -EBADMSG, "schemaVersion: missing"},
	{"{" V2 "}", NULL, -EBADMSG, "manifests"},
	{"{" V2 "}", OCI_IMAGE, -EBADMSG, "config: missing"},
	{"{" V2 "}", OCI_INDEX, -EBADMSG, "manifests: missing"},
	{"{" CONFIG "," LAYERS "}", NULL, -EBADMSG, "schemaVersion: missing"},
	{"{\"schemaVersion\":\"2\"," CONFIG "," LAYERS "}", NULL, -EBADMSG, "schemaVersion: not"},
	{"{\"schemaVersion\":3," CONFIG "," LAYERS "}", NULL, -EBADMSG, "schemaVersion"},
	{"{" V2 "," TYPE("a\\nb") "," CONFIG "," LAYERS "}", NULL, -EBADMSG, "mediaType: there are control"},
	{"{" V2 ",\"mediaType\":5," CONFIG "," LAYERS "}", NULL, -EBADMSG, "mediaType: not a string"},
	{"{" V2 "," CONFIG "}", NULL, -EBADMSG, "layers: missing"},
	{"{" V2 "," CONFIG ",\"layers\":null}", NULL, -EBADMSG, "layers: missing"},
	{"{" V2 "," CONFIG ",\"layers\":{}}", NULL, -EBADMSG, "layers: not a list"},
	{"{" V2 ",\"config\":[]," LAYERS "}", NULL, -EBADMSG, "config: not an object"},
	{"{" V2 "," LAYERS "}", NULL, -EBADMSG, "config: missing"},
	{"{" V2 ",\"config\":{}," LAYERS "}", NULL, -EBADMSG, "config.mediaType: missing"},
	{"{" V2 ",\"config\":{" TYPE("application/json") "," D ",\"size\":8388609}," LAYERS "}", NULL, -EFBIG,
		"config.size"},
	{IMAGE(LAYER ",null"), NULL, -EBADMSG, "layers[1]: not an object"},
	{IMAGE(LAYER ",[]"), NULL, -EBADMSG, "layers[1]: not an object"},
	{IMAGE(LAYER "," LAYER ",{" D ",\"size\":1}"), NULL, -EBADMSG, "layers[2].mediaType: missing"},
	{IMAGE("{" LAYER_TYPE ",\"size\":1}"), NULL, -EBADMSG, "layers[0].digest: missing"},
	{IMAGE("{" LAYER_TYPE ",\"digest\":\"\",\"size\":1}"), NULL, -EBADMSG, "layers[0].digest: missing"},
	{IMAGE("{" LAYER_TYPE ",\"digest\":\"sha256:../../x\",\"size\":1}"), NULL, -EBADMSG,
		"layers[0].digest: not"},
	{IMAGE("{" LAYER_TYPE ",\"digest\":\"sha256:" HEX64 "\\n\",\"size\":1}"), NULL, -EBADMSG,
		"layers[0].digest"},
	{IMAGE("{" LAYER_TYPE ",\"digest\":\"md5:d41d8cd98f00b204e9800998ecf8427e\",\"size\":1}"), NULL,
		-EBADMSG, "md5"},
	{IMAGE("{" LAYER_TYPE "," D "}"), NULL, -EBADMSG, "layers[0].size: missing"},
	{SIZED("null"), NULL, -EBADMSG, "layers[0].size: missing"},
	{SIZED("-1"), NULL, -EBADMSG, "layers[0].size: negative"},
	{SIZED("-9223372036854775808"), NULL, -EBADMSG, "layers[0].size: negative"},
	{SIZED("-99999999999999999999"), NULL, -EBADMSG, "layers[0].size: negative"},
	{SIZED("9223372036854775808"), NULL, -EBADMSG, "layers[0].size: more"},
	{SIZED("18446744073709551615"), NULL, -EBADMSG, "layers[0].size: more"},
	{SIZED("18446744073709551617"), NULL, -EBADMSG, "layers[0].size: more"},
	{SIZED("1.0"), NULL, -EBADMSG, "layers[0].size: not"},
	{SIZED("1e3"), NULL, -EBADMSG, "layers[0].size: not"},
	{SIZED("\"1\""), NULL, -EBADMSG, "layers[0].size: not"},
	{SIZED("true"), NULL, -EBADMSG, "layers[0].size: not"},
	{SIZED("[1]"), NULL, -EBADMSG, "layers[0].size: not"},
	{IMAGE("{" LAYER_TYPE "," D ",\"size\":9223372036854775807}," LAYER), NULL, -EFBIG, "layers[1].size"},
	{IMAGE("{" LAYER_TYPE "," D ",\"size\":1,\"urls\":[\"https://h\",5]}"), NULL, -EBADMSG,
		"layers[0].urls[1]"},
	{IMAGE("{" LAYER_TYPE "," D ",\"size\":1,\"urls\":[\"https://h\\r\\nX:y\"]}"), NULL, -EBADMSG,
		"layers[0].urls[0]"},
	{INDEX("{" TYPE(OCI_IMAGE) "," D ",\"size\":4194305}"), NULL, -EFBIG, "manifests[0].size"},
	{INDEX("{" TYPE(OCI_IMAGE) "," D ",\"size\":1,\"annotations\":[]}"), NULL, -EBADMSG,
		"manifests[0].annotations"},
	{INDEX("{" TYPE(OCI_IMAGE) "," D ",\"size\":1,\"platform\":\"linux\"}"), NULL, -EBADMSG,
		"manifests[0].platform: not"},
	{INDEX("{" TYPE(OCI_IMAGE) "," D ",\"size\":1,\"platform\":{\"os\":\"a\\tb\"}}"), NULL, -EBADMSG,
		"manifests[0].platform.os"},
	{INDEX("{" TYPE(OCI_IMAGE) "," D ",\"size\":1,\"platform\":{\"architecture\":\"a\\u0085b\"}}"), NULL,
		-EBADMSG, "manifests[0].platform.architecture"},
	{INDEX("{" TYPE(OCI_IMAGE) "," D ",\"size\":1,\"platform\":{\"variant\":7}}"), NULL, -EBADMSG,
		"manifests[0].platform.variant"},
	{INDEX("{" TYPE(OCI_IMAGE) "," D ",\"size\":1,\"platform\":{\"variant\":\"\x7f\"}}"), NULL, -EBADMSG,
		"manifests[0].platform.variant"},
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		struct manifest *m = NULL;
		_cleanup_err_ struct err e = {0};
		int r = manifest_parse(bad[i].text, strlen(bad[i].text), bad[i].content_type, &m, &e);

		if (r != bad[i].want || !e.text || !strstr(e.text, bad[i].names) || strchr(e.text, '\n'))
			fail_msg("row %zu, %s: %d, %s", i, bad[i].text, r, r < 0 ? err_text(&e) : "passes");
		assert_null(m);
	}
}

static void test_nul(void **state)
{
	static const char text[] = "{" V2 "," CONFIG "," LAYERS "}\0{}";
	struct manifest *m = NULL;

	(void)state;
	assert_int_equal(manifest_parse(text, sizeof(text) - 1, NULL, &m, NULL), -EBADMSG);
}

/* HEAD, N times ITEM with commas between, TAIL. */
static char *repeat(const char *head, const char *item, size_t n, const char *tail)
{
	char *text = NULL;
	size_t length;
	FILE *f = open_memstream(&text, &length);

	assert_non_null(f);
	fputs(head, f);
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%s%s", i ? "," : "", item);
	fputs(tail, f);
	fclose(f);
	return text;
}

static void test_bounds(void **state)
{
	static const char image[] = "{" V2 "," CONFIG ",\"layers\":[", index[] = "{" V2 ",\"manifests\":[";
	static const struct {
		const char *head, *item;
		size_t n;
		const char *tail;
		int want;
	} rows[] = {
		{image, LAYER, 500, "]}", 0},
		{image, LAYER, 501, "]}", -EFBIG},
		{index, ENTRY, 1000, "]}", 0},
		{index, ENTRY, 1001, "]}", -EFBIG},
		{"{\"a\":[", "{}", 100001, "]}", -EFBIG},
		{"{\"a\":[", "1", 100001, "]}", -EFBIG},
		{"{" V2 "," CONFIG "," LAYERS ",\"a\":\"", "{[", 100001, "\"}", 0},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		_cleanup_free_ char *text = repeat(rows[i].head, rows[i].item, rows[i].n, rows[i].tail);
		_cleanup_(manifest_freep) struct manifest *m = NULL;
		_cleanup_err_ struct err e = {0};
		int r = manifest_parse(text, strlen(text), NULL, &m, &e);

		if (r != rows[i].want)
			fail_msg("row %zu: %d, %s", i, r, err_text(&e));
	}
}

static void test_length(void **state)
{
	static const char text[] = "{" V2 "," CONFIG "," LAYERS "}";
	_cleanup_free_ char *long_text = malloc(MANIFEST_BYTES_MAX + 1);
	_cleanup_(manifest_freep) struct manifest *m = NULL;
	struct manifest *none = NULL;

	(void)state;
	assert_non_null(long_text);
	memset(long_text, ' ', MANIFEST_BYTES_MAX + 1);
	memcpy(long_text, text, sizeof(text) - 1);
	assert_int_equal(manifest_parse(long_text, MANIFEST_BYTES_MAX, NULL, &m, NULL), 0);
	assert_int_equal(manifest_parse(long_text, MANIFEST_BYTES_MAX + 1, NULL, &none, NULL), -EFBIG);
}

static void test_depth(void **state)
{
	static const size_t depths[] = {40, 1000, 100000, 1000000};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(depths); i++) {
		struct manifest *m = NULL;
		size_t n = depths[i];
		_cleanup_free_ char *text = malloc(2 * n + 5);
		int r;

		assert_non_null(text);
		memcpy(text, "{\"a\":", 5);
		memset(text + 5, '[', n);
		memset(text + 5 + n, ']', n - 1);
		text[4 + 2 * n] = '}';
		r = manifest_parse(text, 5 + 2 * n, NULL, &m, NULL);
		assert_true(r == -EBADMSG || r == -EFBIG);
	}
}

static void test_fields(void **state)
{
	static const char text[] = INDEX("{" TYPE(
		OCI_IMAGE) "," D ",\"size\":7,\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\","
			   "\"variant\":\"v8\","
			   "\"os.version\":\"1\"}},"
			   "{" TYPE(
				   OCI_IMAGE) "," D ",\"size\":8,\"platform\":{\"os\":\"linux\","
					      "\"architecture\":\"amd64\"}},"
					      "{" TYPE(
						      OCI_IMAGE) "," D ",\"size\":9,\"platform\":{\"os\":"
								 "\"unknown\",\"architecture\":\"unknown\"},"
								 "\"annotations\":{\"vnd.docker.reference."
								 "type\":\"attestation-manifest\"}},"
								 "{" TYPE(
									 OCI_IMAGE) "," D ",\"size\":9,"
										    "\"platform\":{\"os\":"
										    "\"unknown\","
										    "\"architecture\":"
										    "\"unknown\"}},"
										    "{" TYPE(
											    OCI_IMAGE) "," D
												       ",\"si"
												       "ze\":"
												       "9,"
												       "\"ann"
												       "otati"
												       "ons\""
												       ":{"
												       "\"vnd"
												       ".dock"
												       "er."
												       "refer"
												       "ence."
												       "type"
												       "\":"
												       "\"att"
												       "estat"
												       "ion-"
												       "manif"
												       "est\""
												       "}},"
												       "{" TYPE(
													       OCI_IMAGE) "," D
															  ",\"size\":9,\"annotations\":{\"a\":\"b\"},\"platform\":null},"
															  "{" TYPE(
																  OCI_IMAGE) "," D
																	     ",\"size\":9,\"platform\":{\"os\":\"\",\"architecture\":\"\"},\"urls\":[\"a\",\"b\"]},"
																	     "{" TYPE(
																		     OCI_IMAGE) "," D
																				",\"size\":9,\"platform\":{\"os\":\"unknown\",\"architecture\":\"amd64\"}},"
																				"{" TYPE(
																					OCI_IMAGE) "," D
																						   ",\"size\":9,\"platform\":{\"os\":\"linux\",\"architecture\":\"unknown\"}}");
	static const bool attestation[] = {false, false, true, true, true, false, false, true, true};
	_cleanup_(manifest_freep) struct manifest *m = NULL;

	(void)state;
	assert_int_equal(manifest_parse(text, sizeof(text) - 1, NULL, &m, NULL), 0);
	assert_int_equal(m->count, ELEMENTSOF(attestation));
	for (size_t i = 0; i < m->count; i++)
		assert_int_equal(m->entries[i].attestation, attestation[i]);
	assert_int_equal(m->entries[0].size, 7);
	assert_string_equal(m->entries[0].platform.os, "linux");
	assert_string_equal(m->entries[0].platform.arch, "arm64");
	assert_string_equal(m->entries[0].platform.variant, "v8");
	assert_string_equal(m->entries[1].platform.variant, "");
	assert_null(m->entries[5].platform.os);
	assert_null(m->entries[5].urls);
	assert_null(m->entries[6].platform.os);
	assert_null(m->entries[6].platform.variant);
	assert_string_equal(m->entries[6].urls[1], "b");
	assert_null(m->entries[6].urls[2]);
}

static void test_accept(void **state)
{
	(void)state;
	assert_string_equal(manifest_accept, OCI_INDEX ", " OCI_IMAGE ", " DOCKER_INDEX ", " DOCKER_IMAGE);
	assert_true(media_type_is_index(OCI_INDEX) && media_type_is_index(DOCKER_INDEX));
	assert_false(media_type_is_index(OCI_IMAGE) || media_type_is_index(""));
	assert_true(media_type_is_image(OCI_IMAGE) && media_type_is_image(DOCKER_IMAGE));
	assert_false(media_type_is_image(OCI_INDEX) || media_type_is_image(""));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_accept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
