/* What a pull makes of a registry: documents, indexes, layers, mirrors, and what is damaged or missing. */
#include "lib/pull_bench.h"

static void test_pull(void **state)
{
	struct bench *b = *state;
	_cleanup_(reference_freep) struct reference *ref = NULL;
	struct pull_request request = {.hosts = {.insecure = "", .mirrors = ""}};
	_cleanup_free_ char *digest = NULL;
	unsigned before;

	serve(b);
	assert_pulled(b);
	assert_int_equal(b->server->foreign, 1);
	assert_int_equal(scripted_count(b->server, NULL), 2 + LAYERS);
	for (size_t i = 0; i < LAYERS; i++)
		assert_int_equal(scripted_count(b->server, b->layers[i].path), 1);
	assert_int_equal(reference_parse(format(b, "%s/team/app:1", b->host), &ref, NULL), 0);
	request.ref = ref;

	/* A tag that hasn't moved costs one request, be it that the registry says no digest. */
	before = scripted_count(b->server, NULL);
	assert_pulled(b);
	assert_int_equal(scripted_count(b->server, NULL), before + 1);
	assert_int_equal(pull_resolve(b->registry, &request, b->op, &digest, NULL), 0);
	assert_string_equal(digest, b->manifest.digest);
	/* By digest it is all there. */
	before = scripted_count(b->server, NULL);
	assert_int_equal(pull_as(b, format(b, "@%s", b->manifest.digest), b->op, NULL), 0);
	assert_int_equal(scripted_count(b->server, NULL), before);
}

static void test_resolve(void **state)
{
	struct bench *b = *state;
	_cleanup_(reference_freep) struct reference *ref = NULL;
	struct pull_request request = {.hosts = {.insecure = "", .mirrors = ""}};
	_cleanup_free_ char *digest = NULL;

	scripted_rule(b->server,
		(struct scripted_rule){.path = TAG,
			.method = "HEAD",
			.status = 200,
			.headers = format(b, "Docker-Content-Digest: %s\r\n", b->manifest.digest)});
	assert_int_equal(reference_parse(format(b, "%s/team/app:1", b->host), &ref, NULL), 0);
	request.ref = ref;
	assert_int_equal(pull_resolve(b->registry, &request, b->op, &digest, NULL), 0);
	assert_string_equal(digest, b->manifest.digest);
	assert_int_equal(scripted_count(b->server, NULL), 1);
	assert_int_equal(count_whole(b), 0);
}

static void test_layers(void **state)
{
	struct bench *b = *state;
	_cleanup_(reference_freep) struct reference *ref = NULL;
	_cleanup_(pull_freep) struct pull *p = NULL;
	struct pull_request request = {.platform = "", .hosts = {.insecure = "", .mirrors = ""}};
	_cleanup_free_ char *data = malloc(LAYER_BYTES);

	serve(b);
	assert_int_equal(reference_parse(format(b, "%s/team/app:1", b->host), &ref, NULL), 0);
	request.ref = ref;
	assert_int_equal(pull_begin(b->registry, &request, b->op, &p, NULL), 0);
	assert_string_equal(pull_digest(p), b->manifest.digest);
	assert_string_equal(pull_ref_digest(p), b->manifest.digest);
	assert_string_equal(pull_config_text(p), b->config.text);
	for (size_t i = 0; i < LAYERS; i++) {
		_cleanup_close_ int fd = -EBADF, grow = -EBADF;
		uint64_t told = 0, last = 1;

		assert_int_equal(pull_layer(p, i, &fd, &grow, NULL), 0);
		while (grow >= 0 && told != last) {
			last = told;
			assert_int_equal(io_read_full(grow, &told, sizeof(told)), 0);
		}
		assert_int_equal(io_read_full(fd, data, LAYER_BYTES), 0);
		assert_memory_equal(data, b->layers[i].text, LAYER_BYTES);
	}
	assert_int_equal(pull_wait(p, NULL), 0);
}

static void test_damaged_documents(void **state)
{
	struct bench *b = *state;
	char *other = keep(b, strdup(b->manifest.text));

	/* One byte another one, which still makes sense. */
	*strrchr(other, '2') = '3';
	instead(b, b->manifest.path, TYPE, other, strlen(other));
	serve(b);
	assert_int_equal(pull_as(b, format(b, ":1@%s", b->manifest.digest), b->op, &b->e), -EBADMSG);
	assert_non_null(strstr(err_text(&b->e), b->manifest.digest));
	assert_int_equal(count_whole(b), 0);

	for (int i = 0; i < 3; i++) {
		b = again(state);
		other = i == 0   ? format(b, "%s ", b->config.text)
			: i == 1 ? keep(b, strndup(b->config.text, b->config.size - 1))
				 : keep(b, strdup(b->config.text));
		if (i == 2)
			other[2] = 'A';
		instead(b, b->config.path, NULL, other, strlen(other));
		serve(b);
		assert_refused(b, -EBADMSG, b->config.digest);
		assert_int_equal(count_whole(b), 0);
	}
}

static void test_damaged_layer(void **state)
{
	for (int i = 0; i < 4; i++) {
		struct bench *b = i ? again(state) : *state;
		const struct text *layer = &b->layers[1];
		char *data = keep(b, malloc(LAYER_BYTES + 1));
		_cleanup_free_ char *part = format(b, "blobs/%s.part", layer->digest);

		b->text_count--;
		memcpy(data, layer->text, LAYER_BYTES);
		data[LAYER_BYTES] = 'x';
		if (i == 0)
			data[LAYER_BYTES / 2] ^= 1;
		/* Damaged, truncated, with something behind it, nothing at all. */
		instead(b, layer->path, NULL, data,
			i == 0   ? LAYER_BYTES
			: i == 1 ? LAYER_BYTES - 1
			: i == 2 ? LAYER_BYTES + 1
				 : 1);
		serve(b);
		assert_refused(b, -EBADMSG, layer->digest);
		assert_non_null(strstr(err_text(&b->e), "layer 2 "));
		assert_int_equal(scripted_count(b->server, layer->path), 1);
		part[strlen("blobs/sha256")] = '-';
		assert_int_equal(faccessat(b->state, part, F_OK, 0), -1);
		assert_false(blobs_has(b->blobs, b->manifest.digest));
	}
}

static void test_no_image(void **state)
{
	static const struct {
		const char *headers, *body;
		int code;
		const char *word;
	} cases[] = {
		{"Content-Type: application/vnd.docker.distribution.manifest.v1+prettyjws\r\n",
			"{\"schemaVersion\":1,\"name\":\"x\",\"fsLayers\":[]}", -EOPNOTSUPP, "schema"},
		{TYPE, "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[],\"config\":{}}", -EBADMSG, ""},
		{TYPE,
			"{\"schemaVersion\":2,\"mediaType\":\"application/"
			"vnd.oci.image.index.v1+json\",\"manifests\":[]}",
			-EBADMSG, ""},
		{INDEX, "{\"schemaVersion\":2,\"layers\":[],\"config\":{}}", -EBADMSG, ""},
		/* CVE-2024-3727: nobody is asked for what is no digest. */
		{TYPE,
			"{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/"
			"vnd.oci.image.config.v1+json\",\"size\":2,\"digest\":\"sha256:../../x\"},"
			"\"layers\":[]}",
			-EBADMSG, "digest"},
		{TYPE,
			"{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/"
			"vnd.oci.image.config.v1+json\",\"size\":2,\"digest\":\"sha256:"
			"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\"},\"layers\":[{"
			"\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"size\":1,\"digest\":"
			"\"sha256:../../x\"}]}",
			-EBADMSG, "digest"},
		{TYPE, "not JSON", -EBADMSG, ""},
		{TYPE, "", -EBADMSG, ""},
		{INDEX,
			"{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"application/"
			"vnd.oci.image.manifest.v1+json\",\"size\":5,\"digest\":\"sha256:"
			"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\",\"platform\":{"
			"\"os\":\"linux\",\"architecture\":\"s390x\"}},{\"mediaType\":\"application/"
			"vnd.oci.image.manifest.v1+json\",\"size\":5,\"digest\":\"sha256:"
			"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\",\"platform\":{"
			"\"os\":\"windows\",\"architecture\":\"amd64\"}}]}",
			-ENOENT, "linux/s390x, windows/amd64"},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct bench *b = i ? again(state) : *state;

		instead(b, TAG, cases[i].headers, cases[i].body, strlen(cases[i].body));
		serve(b);
		assert_refused(b, cases[i].code, cases[i].word);
		assert_int_equal(scripted_count(b->server, NULL), 1);
		assert_int_equal(count_whole(b), 0);
	}
}

static void test_missing(void **state)
{
	struct bench *b = *state;

	scripted_rule(b->server,
		(struct scripted_rule){.status = 404,
			.body = "{\"errors\":[{\"code\":\"NAME_UNKNOWN\",\"message\":\"no such thing\"}]}"});
	assert_refused(b, -ENOENT, "team/app:1: NAME_UNKNOWN: no such thing");
	assert_int_equal(scripted_count(b->server, NULL), 1);

	b = again(state);
	scripted_rule(b->server, (struct scripted_rule){.path = b->layers[2].path, .status = 404});
	serve(b);
	assert_refused(b, -ENOENT, b->layers[2].digest);
	assert_false(blobs_has(b->blobs, b->manifest.digest));

	/* More layers than the configuration knows of. */
	b = again(state);
	make_manifest(b, b->layers, LAYERS - 1);
	serve(b);
	assert_refused(b, -EBADMSG, "diff_ids");
	assert_int_equal(count_whole(b), 0);
}

/* An index that leads to T, called TYPE. */
static struct text index_of(struct bench *b, const struct text *t, const char *type)
{
	struct text index = {0};
	char *text = format(b,
		"{\"schemaVersion\":2,\"mediaType\":\"application/"
		"vnd.oci.image.index.v1+json\",\"manifests\":[{"
		"\"mediaType\":\"application/vnd.oci.image.%s.v1+json\",\"size\":%zu,\"digest\":\"%s\"}]}",
		type, t->size, t->digest);

	set_text(b, &index, text, strlen(text), "manifests");
	return index;
}

static void test_index(void **state)
{
	struct bench *b = *state;
	struct text inner = index_of(b, &b->manifest, "manifest"), outer = index_of(b, &inner, "index");

	serve_text(b->server, &inner, INDEX);
	instead(b, TAG, INDEX, outer.text, outer.size);
	serve(b);
	assert_int_equal(pull(b), 0);
	assert_int_equal(count_whole(b), LAYERS + 4);

	/* It calls itself another thing than what led to it. */
	b = again(state);
	inner = index_of(b, &b->manifest, "index");
	scripted_rule(b->server,
		(struct scripted_rule){.path = b->manifest.path, .status = 200, .body = b->manifest.text});
	instead(b, TAG, INDEX, inner.text, inner.size);
	serve(b);
	assert_refused(b, -EBADMSG, b->manifest.digest);
	assert_int_equal(count_whole(b), 0);

	/* Of another size than what led to it says. */
	b = again(state);
	inner = b->manifest;
	inner.size++;
	outer = index_of(b, &inner, "manifest");
	instead(b, TAG, INDEX, outer.text, outer.size);
	serve(b);
	assert_refused(b, -EBADMSG, "bytes");
	assert_int_equal(count_whole(b), 0);

	/* Deeper and deeper. */
	b = again(state);
	inner = b->manifest;
	for (int i = 0; i < 8; i++) {
		inner = index_of(b, &inner, i ? "index" : "manifest");
		serve_text(b->server, &inner, INDEX);
	}
	instead(b, TAG, INDEX, inner.text, inner.size);
	serve(b);
	assert_refused(b, -EBADMSG, "indexes in indexes");
	assert_true(scripted_count(b->server, NULL) <= 6);
	assert_int_equal(count_whole(b), 0);
}

static void test_large_document(void **state)
{
	struct bench *b = *state;
	size_t size = MANIFEST_BYTES_MAX + 1;
	char *large = keep(b, malloc(size));

	memset(large, ' ', size);
	instead(b, TAG, TYPE, large, size);
	assert_refused(b, -EFBIG, "bytes");
	assert_int_equal(count_whole(b), 0);
}

static void test_same_layer_twice(void **state)
{
	struct bench *b = *state;

	b->layers[2] = b->layers[0];
	make_config(b, b->layers, LAYERS);
	make_manifest(b, b->layers, LAYERS);
	serve(b);
	assert_int_equal(pull(b), 0);
	assert_int_equal(count_whole(b), LAYERS - 1 + 2);
	assert_int_equal(scripted_count(b->server, b->layers[0].path), 1);
}

static void test_mirrors(void **state)
{
	struct bench *b = *state;
	uint64_t began;

	/* The first one has nothing, the second isn't there, the third has it. */
	b->mirrors = format(b,
		"registry.invalid=http://%s registry.invalid=http://127.0.0.1:1 registry.invalid=http://%s",
		b->other->host, b->server->host);
	b->host = "registry.invalid";
	serve(b);
	assert_pulled(b);
	assert_int_equal(scripted_count(b->other, TAG), 1);
	assert_string_equal(scripted_seen(b->other, TAG, 1).target, TAG "?ns=registry.invalid");
	assert_string_equal(scripted_seen(b->server, TAG, 1).target, TAG "?ns=registry.invalid");
	assert_non_null(strstr(scripted_seen(b->server, b->layers[0].path, 1).target, "?ns="));
	/* What it hadn't of the image it isn't asked for again. */
	assert_int_equal(scripted_count(b->other, NULL), 1);

	/* It has the manifest and some of the layers; one breaks off; the rest the registry has. */
	b = again(state);
	b->mirrors = format(b, "%s=http://%s", b->server->host, b->other->host);
	scripted_rule(b->other, (struct scripted_rule){.path = b->layers[1].path, .status = 404});
	scripted_rule(b->other, (struct scripted_rule){.path = b->layers[2].path,
					.status = 200,
					.body = b->layers[2].text,
					.size = LAYER_BYTES,
					.how = SCRIPTED_CUT,
					.cut = 50000});
	serve_at(b, b->other);
	serve(b);
	assert_pulled(b);
	assert_int_equal(scripted_count(b->server, TAG), 0);
	assert_int_equal(scripted_count(b->server, b->layers[0].path), 0);
	assert_string_equal(scripted_seen(b->server, b->layers[1].path, 1).target, b->layers[1].path);
	assert_string_equal(scripted_seen(b->server, b->layers[2].path, 1).range, "bytes=50000-");

	/* Nobody waits for a mirror that is out of order. */
	b = again(state);
	began = io_now_usec();
	b->mirrors = format(b, "%s=http://%s", b->server->host, b->other->host);
	log_in(b, "me:word");
	scripted_rule(b->other,
		(struct scripted_rule){.path = TAG, .status = 503, .headers = "Retry-After: 30\r\n"});
	serve(b);
	assert_pulled(b);
	assert_true(io_now_usec() - began < 2000000);
	/* A mirror is told nothing of who one is at the registry. */
	b = again(state);
	b->mirrors = format(b, "%s=http://%s", b->server->host, b->other->host);
	log_in(b, "me:word");
	scripted_rule(b->other,
		(struct scripted_rule){.status = 401, .headers = "WWW-Authenticate: Basic realm=x\r\n"});
	serve(b);
	assert_pulled(b);
	assert_null(scripted_seen(b->other, TAG, 1).authorization);
	assert_int_equal(scripted_count(b->other, TAG), 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_pull),
		TEST(test_resolve),
		TEST(test_layers),
		TEST(test_damaged_documents),
		TEST(test_damaged_layer),
		TEST(test_no_image),
		TEST(test_missing),
		TEST(test_index),
		TEST(test_large_document),
		TEST(test_same_layer_twice),
		TEST(test_mirrors),
	};

	return run_pulls(tests);
}
