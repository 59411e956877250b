/* Which image of a layout or of docker's archive is meant, and what is said where none is. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "registry/layout.h"

#define DIFF  "sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define LAYER "sha256:2222222222222222222222222222222222222222222222222222222222222222"

struct file {
	char *name, *text;
};

/* The files of an archive, by name. */
struct bench {
	struct file files[20];
	size_t n;
};

static int read_file(void *user, const char *name, size_t max, char **ret, size_t *ret_n, struct err *e)
{
	struct bench *b = user;

	for (size_t i = b->n; i > 0; i--)
		if (strcmp(b->files[i - 1].name, name) == 0) {
			*ret = strdup(b->files[i - 1].text);
			*ret_n = strlen(*ret);
			assert_true(*ret_n <= max);
			return 0;
		}
	return err_set(e, -ENOENT, "%s isn't there", name);
}

static int look(void *user, const char *name, struct layout_file *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r = read_file(user, name, SIZE_MAX, &text, &n, e);

	if (r < 0)
		return r;
	*ret = (struct layout_file){.size = n, .packing = ""};
	digest_of(text, n, ret->digest);
	return 0;
}

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct bench));
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	for (size_t i = 0; i < b->n; i++) {
		free(b->files[i].name);
		free(b->files[i].text);
	}
	free(b);
	return 0;
}

static void put(struct bench *b, const char *name, const char *text)
{
	assert_true(b->n < ELEMENTSOF(b->files));
	b->files[b->n++] = (struct file){strdup(name), strdup(text)};
}

/* A blob; its digest goes to RET. */
static void put_blob(struct bench *b, const char *text, char ret[DIGEST_TEXT_MAX])
{
	_cleanup_free_ char *name = NULL;

	digest_of(text, strlen(text), ret);
	assert_true(asprintf(&name, "blobs/sha256/%s", ret + 7) > 0);
	put(b, name, text);
}

/* An image for linux/ARCH: its manifest as an index's entry. MORE: fields of the entry. The caller's. */
static char *put_image(struct bench *b, const char *arch, const char *more)
{
	char digest[DIGEST_TEXT_MAX], *entry = NULL;
	_cleanup_free_ char *config = NULL, *manifest = NULL;

	assert_true(
		asprintf(&config,
			"{\"architecture\":\"%s\",\"os\":\"linux\",\"config\":{\"User\":\"%s\"},\"rootfs\":{"
			"\"type\":\"layers\",\"diff_ids\":[\"" DIFF "\"]}}",
			arch, arch) > 0);
	put_blob(b, config, digest);
	assert_true(asprintf(&manifest,
			    "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/"
			    "vnd.oci.image.config.v1+json\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[{"
			    "\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"" LAYER
			    "\",\"size\":5}]}",
			    digest, strlen(config)) > 0);
	put_blob(b, manifest, digest);
	assert_true(asprintf(&entry,
			    "{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"%s\","
			    "\"size\":%zu%s}",
			    digest, strlen(manifest), more) > 0);
	return entry;
}

static void put_index(struct bench *b, const char *name, const char *first, const char *second)
{
	_cleanup_free_ char *text = NULL;

	assert_true(asprintf(&text, "{\"schemaVersion\":2,\"manifests\":[%s%s%s]}", first, second ? "," : "",
			    second ? second : "") > 0);
	put(b, name, text);
}

static int try(struct bench *b, const char *tag, const char *platform, struct layout **ret, struct err *e)
{
	const struct layout_files files = {.read = read_file, .look = look, .user = b};

	return layout_open(&files, tag, platform, ret, e);
}

/* What becomes of it: the user that the configuration names, which is the architecture; or the error. */
static void expect(struct bench *b, const char *tag, const char *platform, const char *user)
{
	_cleanup_(layout_freep) struct layout *l = NULL;
	_cleanup_err_ struct err e = {0};

	if (try(b, tag, platform, &l, &e) < 0)
		fail_msg("%s", err_text(&e));
	assert_string_equal(layout_config(l)->user, user);
	assert_int_equal(layout_manifest(l)->count, 1);
	assert_int_equal(digest_check(layout_digest(l), NULL), 0);
	assert_int_equal(digest_check(layout_ref_digest(l), NULL), 0);
	assert_non_null(layout_layer(l, 0));
}

static void expect_error(struct bench *b, const char *tag, int code, const char *says)
{
	struct layout *l = NULL;
	_cleanup_err_ struct err e = {0};
	int r = try(b, tag, "linux/amd64", &l, &e);

	if (r != code || !strstr(err_text(&e), says))
		fail_msg("%d: %s", r, err_text(&e));
	assert_null(l);
}

#define NAMED(name) ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"" name "\"}"
#define NAMED_BOTH(tag, full)                                                                                \
	",\"annotations\":{\"org.opencontainers.image.ref.name\":\"" tag                                     \
	"\",\"io.containerd.image.name\":\"" full "\"}"
#define FOR(arch) ",\"platform\":{\"os\":\"linux\",\"architecture\":\"" arch "\"}"

static void one(void **state)
{
	_cleanup_free_ char *image = put_image(*state, "amd64", NAMED("latest"));
	_cleanup_(layout_freep) struct layout *l = NULL;

	put_index(*state, "index.json", image, NULL);
	expect(*state, NULL, "linux/amd64", "amd64");
	expect(*state, "latest", "linux/amd64", "amd64");
	expect_error(*state, "other", -ENOENT, "it has latest");
	assert_int_equal(try(*state, NULL, "linux/arm64", &l, NULL), -ENOENT);
	assert_int_equal(try(*state, NULL, "linux/amd64", &l, NULL), 0);
	assert_true(strncmp(layout_layer(l, 0), "blobs/sha256/2222", 17) == 0);
	assert_string_equal(layout_digest(l), layout_ref_digest(l));
	/* By its digest. */
	expect(*state, layout_digest(l), "linux/amd64", "amd64");
}

static void two(void **state)
{
	_cleanup_free_ char *a = put_image(
				    *state, "amd64", NAMED_BOTH("latest", "docker.io/library/a:latest")),
			    *b = put_image(*state, "386", NAMED_BOTH("latest", "docker.io/library/b:latest"));

	put_index(*state, "index.json", a, b);
	expect_error(*state, NULL, -EINVAL,
		"there are 2 images in it: docker.io/library/a:latest, docker.io/library/b:latest: say which "
		"by "
		"`import PATH tag docker.io/library/a:latest as NAME`");
	expect_error(*state, "latest", -EINVAL, "there are 2 images");
	expect(*state, "docker.io/library/a:latest", "linux/amd64", "amd64");
	expect(*state, "docker.io/library/b:latest", "linux/386", "386");
}

static void platforms(void **state)
{
	_cleanup_free_ char *a = put_image(*state, "arm64", FOR("arm64")),
			    *b = put_image(*state, "amd64", FOR("amd64"));
	_cleanup_free_ char *nested = NULL;
	char digest[DIGEST_TEXT_MAX];
	struct bench *bench = *state;
	const char *text;

	/* No names, but platforms: one image. */
	put_index(bench, "index.json", a, b);
	expect(bench, NULL, "linux/amd64", "amd64");
	expect(bench, NULL, "linux/arm64", "arm64");
	/* An index in the index, as docker and buildx write it, with an attestation beside. */
	text = bench->files[bench->n - 1].text;
	put_blob(bench, text, digest);
	assert_true(asprintf(&nested,
			    "{\"mediaType\":\"application/"
			    "vnd.oci.image.index.v1+json\",\"digest\":\"%s\",\"size\":%zu" NAMED("1") "}",
			    digest, strlen(text)) > 0);
	put_index(bench, "index.json", nested,
		"{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"" DIFF
		"\",\"size\":2,\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}}");
	expect(bench, NULL, "linux/arm64", "arm64");
	expect(bench, "1", "linux/amd64", "amd64");
}

static void nameless(void **state)
{
	_cleanup_free_ char *a = put_image(*state, "arm64", ""), *b = put_image(*state, "amd64", "");

	put_index(*state, "index.json", a, b);
	expect_error(*state, NULL, -EINVAL, "say which by `import PATH tag sha256:");
}

static void damaged(void **state)
{
	_cleanup_free_ char *image = put_image(*state, "amd64", "");
	struct bench *b = *state;
	char *config = b->files[0].text, *manifest = b->files[1].name;

	put_index(b, "index.json", image, NULL);
	config[0] = ' ';
	expect_error(b, NULL, -EBADMSG, "damaged");
	b->files[0].text = NULL;
	free(config);
	b->files[0].text = strdup("");
	expect_error(b, NULL, -EBADMSG, "0 bytes");
	free(manifest);
	b->files[1].name = strdup("elsewhere");
	expect_error(b, NULL, -EBADMSG, "the manifest, blobs/sha256/");
	put(b, "index.json", "{\"schemaVersion\":2,\"manifests\":[]}");
	expect_error(b, NULL, -EBADMSG, "no image in it");
	put(b, "index.json", "{\"schemaVersion\":2,\"config\":{},\"layers\":[]}");
	expect_error(b, NULL, -EBADMSG, "index.json");
	put(b, "index.json", "[]");
	expect_error(b, NULL, -EBADMSG, "index.json: not a JSON object");
	put(b, "oci-layout", "{\"imageLayoutVersion\":\"2.0.0\"}");
	expect_error(b, NULL, -EOPNOTSUPP, "2.0.0");
	put(b, "oci-layout", "{}");
	expect_error(b, NULL, -EBADMSG, "oci-layout: imageLayoutVersion");
}

#define CONFIG                                                                                               \
	"{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"User\":\"amd64\"},\"rootfs\":{\"type\":" \
	"\"layers\",\"diff_ids\":[\"" DIFF "\"]}}"

static void docker(void **state)
{
	_cleanup_(layout_freep) struct layout *l = NULL;
	struct bench *b = *state;

	expect_error(b, NULL, -ENOENT, "manifest.json");
	put(b, "c.json", CONFIG);
	put(b, "a/layer.tar", "layer");
	put(b, "manifest.json",
		"[{\"Config\":\"c.json\",\"RepoTags\":[\"a:1\",\"a:2\"],\"Layers\":[\"a/layer.tar\"]}]");
	expect(b, NULL, "linux/amd64", "amd64");
	expect(b, "a:2", "linux/amd64", "amd64");
	expect_error(b, "a:3", -ENOENT, "it has a:1");
	assert_int_equal(try(b, NULL, "", &l, NULL), 0);
	assert_string_equal(layout_layer(l, 0), "a/layer.tar");
	assert_int_equal(layout_manifest(l)->entries[0].size, 5);
	put(b, "manifest.json", "[{\"Config\":\"c.json\",\"RepoTags\":null,\"Layers\":[\"a/layer.tar\"]}]");
	expect(b, NULL, "linux/amd64", "amd64");
	put(b, "manifest.json",
		"[{\"Config\":\"c.json\",\"RepoTags\":[\"a:1\"],\"Layers\":[]},"
		"{\"Config\":\"c.json\",\"RepoTags\":[\"b:1\"],\"Layers\":[\"a/layer.tar\"]}]");
	expect_error(b, NULL, -EINVAL, "2 images in it: a:1, b:1");
	expect(b, "b:1", "linux/amd64", "amd64");
	expect_error(b, "a:1", -EBADMSG, "diff_ids");
}

static void docker_hostile(void **state)
{
	static const struct {
		const char *text, *says;
		int code;
	} rows[] = {
		{"", "manifest.json", -EBADMSG},
		{"{}", "manifest.json", -EBADMSG},
		{"[]", "no image in it", -EBADMSG},
		{"[1]", "no object", -EBADMSG},
		{"[{}]", "Config", -EBADMSG},
		{"[{\"Config\":\"../c\",\"Layers\":[]}]", "no file inside", -EBADMSG},
		{"[{\"Config\":\"/c\",\"Layers\":[]}]", "no file inside", -EBADMSG},
		{"[{\"Config\":\"a//c\",\"Layers\":[]}]", "no file inside", -EBADMSG},
		{"[{\"Config\":\"c.json\",\"Layers\":[\"a/../../x\"]}]", "'a/../../x', which is no file",
			-EBADMSG},
		{"[{\"Config\":\"c.json\",\"Layers\":[\"..\"]}]", "no file inside", -EBADMSG},
		{"[{\"Config\":\"c.json\",\"Layers\":[\"\"]}]", "no file inside", -EBADMSG},
		{"[{\"Config\":\"c.json\",\"Layers\":[\"x\\ny\"]}]", "Layers", -EBADMSG},
		{"[{\"Config\":\"c.json\",\"Layers\":[\"none\"]}]", "layer 1, none, is missing", -EBADMSG},
		{"[{\"Config\":\"none\",\"Layers\":[\"c.json\"]}]", "configuration, none, is missing",
			-EBADMSG},
		{"[],\"images\":[]", "no image in it", -EBADMSG},
		{"[]}{", "manifest.json", -EBADMSG},
	};
	struct bench *b = *state;

	put(b, "c.json", CONFIG);
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		put(b, "manifest.json", rows[i].text);
		expect_error(b, NULL, rows[i].code, rows[i].says);
		b->n--;
		free(b->files[b->n].name);
		free(b->files[b->n].text);
	}
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	static const struct CMUnitTest tests[] = {TEST(one), TEST(two), TEST(platforms), TEST(nameless),
		TEST(damaged), TEST(docker), TEST(docker_hostile)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
