/* Pulls, from registries that are friendly, broken, slow and hostile: what comes of them, what they cost, and what they leave. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>

#include <openssl/evp.h>

#include "job/op.h"
#include "lib/scripted_http.h"
#include "registry/digest.h"
#include "registry/http_redirect.h"
#include "registry/pull.h"

#define LAYERS      3
#define LAYER_BYTES 200000
#define RETRY_MSEC  2
#define TRIES       5 /* what is given up after so many */

#define TAG       "/v2/team/app/manifests/1"
#define TYPE      "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n"
#define INDEX     "Content-Type: application/vnd.oci.image.index.v1+json\r\n"
#define CHALLENGE "WWW-Authenticate: Bearer realm=\"http://%s/token\""

struct text {
	char *text, *path, digest[DIGEST_TEXT_MAX];
	size_t size;
};

struct bench {
	char root[40];
	int state;
	struct scripted *server, *other;
	struct blobs *blobs;
	struct registry *registry;
	struct ops *ops;
	struct op *op;
	struct text layers[LAYERS], config, manifest;
	const char *insecure, *mirrors, *host;
	char *texts[64]; /* to be freed */
	size_t text_count;
	struct err e;
};

/* Kept until the end of the test. */
static char *keep(struct bench *b, char *text)
{
	assert_non_null(text);
	assert_true(b->text_count < ELEMENTSOF(b->texts));
	return b->texts[b->text_count++] = text;
}

static char *format(struct bench *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static char *format(struct bench *b, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	assert_true(vasprintf(&text, fmt, ap) >= 0);
	va_end(ap);
	return keep(b, text);
}

static void set_text(struct bench *b, struct text *t, char *text, size_t size, const char *kind)
{
	t->text = text;
	t->size = size;
	digest_of(text, size, t->digest);
	t->path = format(b, "/v2/team/app/%s/%s", kind, t->digest);
}

static char *manifest_text(struct bench *b, const struct text *config, const struct text *layers, size_t n)
{
	char *list = format(b, "%s", "");

	for (size_t i = 0; i < n; i++)
		list = format(b,
			"%s%s{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"size\":%zu,"
			"\"digest\":\"%s\"}",
			list, i ? "," : "", layers[i].size, layers[i].digest);
	return format(b,
		"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
		"\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"size\":%zu,"
		"\"digest\":\"%s\"},\"layers\":[%s]}",
		config->size, config->digest, list);
}

static void make_config(struct bench *b, const struct text *layers, size_t n)
{
	_cleanup_(platform_clear) struct platform here = {0};
	char *list = format(b, "%s", "");

	assert_int_equal(platform_parse("", &here, NULL), 0);
	for (size_t i = 0; i < n; i++)
		list = format(b, "%s%s\"%s\"", list, i ? "," : "", layers[i].digest);
	list = format(b,
		"{\"architecture\":\"%s\",\"os\":\"linux\",\"config\":{},\"rootfs\":{\"type\":\"layers\","
		"\"diff_ids\":[%s]}}",
		here.arch, list);
	set_text(b, &b->config, list, strlen(list), "blobs");
}

static void make_manifest(struct bench *b, const struct text *layers, size_t n)
{
	char *text = manifest_text(b, &b->config, layers, n);

	set_text(b, &b->manifest, text, strlen(text), "manifests");
}

static void make_image(struct bench *b)
{
	for (size_t i = 0; i < LAYERS; i++) {
		char *data = keep(b, malloc(LAYER_BYTES));

		for (size_t j = 0; j < LAYER_BYTES; j++)
			data[j] = (char)((j + i * 7919) * 2654435761u >> 15);
		set_text(b, &b->layers[i], data, LAYER_BYTES, "blobs");
	}
	make_config(b, b->layers, LAYERS);
	make_manifest(b, b->layers, LAYERS);
}

static void open_cache(struct bench *b)
{
	struct registry_config config = {.limits = {.slow_sec = 1, .retry_msec = RETRY_MSEC}};

	assert_int_equal(blobs_new(b->state, &b->blobs, NULL), 0);
	config.blobs = b->blobs;
	config.places = (struct credentials_places){.state_fd = b->state};
	assert_int_equal(registry_new(&config, &b->registry, NULL), 0);
}

static void close_cache(struct bench *b)
{
	b->registry = registry_free(b->registry);
	b->blobs = blobs_free(b->blobs);
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	memcpy(b->root, "/tmp/banger-pull-XXXXXX", sizeof("/tmp/banger-pull-XXXXXX"));
	assert_non_null(mkdtemp(b->root));
	b->state = open(b->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b->server = scripted_new();
	b->other = scripted_new();
	b->host = b->server->host;
	b->insecure = b->mirrors = "";
	open_cache(b);
	assert_int_equal(ops_new(1, &b->ops, NULL), 0);
	assert_int_equal(op_begin(b->ops, "pull", "images/x", &b->op, NULL), 0);
	make_image(b);
	*state = b;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct bench *b = *state;

	close_cache(b);
	op_end(b->op);
	op_unref(b->op);
	ops_free(b->ops);
	scripted_free(b->server);
	scripted_free(b->other);
	for (size_t i = 0; i < b->text_count; i++)
		free(b->texts[i]);
	err_clear(&b->e);
	close_fd(b->state);
	assert_int_equal(nftw(b->root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(b);
	return 0;
}

/* The case once more, from nothing. */
static struct bench *again(void **state)
{
	teardown(state);
	setup(state);
	return *state;
}

static void serve_text(struct scripted *s, const struct text *t, const char *headers)
{
	scripted_rule(s, (struct scripted_rule){.path = t->path,
				 .status = 200,
				 .headers = headers,
				 .body = t->text,
				 .size = t->size,
				 .ranges = true});
}

/* What nothing else was said of. */
static void serve_at(struct bench *b, struct scripted *s)
{
	struct text tag = b->manifest;

	tag.path = (char *)TAG;
	serve_text(s, &tag, TYPE);
	serve_text(s, &b->manifest, TYPE);
	serve_text(s, &b->config, NULL);
	for (size_t i = 0; i < LAYERS; i++)
		serve_text(s, &b->layers[i], NULL);
}

static void serve(struct bench *b)
{
	serve_at(b, b->server);
}

static int pull_as(struct bench *b, const char *name, struct op *op, struct err *e)
{
	_cleanup_(reference_freep) struct reference *ref = NULL;
	_cleanup_(pull_freep) struct pull *p = NULL;
	struct pull_request request = {
		.platform = "", .hosts = {.insecure = b->insecure, .mirrors = b->mirrors}};
	_cleanup_free_ char *text = NULL;
	int r;

	assert_true(asprintf(&text, "%s/team/app%s", b->host, name) > 0);
	assert_int_equal(reference_parse(text, &ref, e), 0);
	request.ref = ref;
	r = pull_begin(b->registry, &request, op, &p, e);
	return r < 0 ? r : pull_wait(p, e);
}

static int pull(struct bench *b)
{
	err_clear(&b->e);
	return pull_as(b, ":1", b->op, &b->e);
}

/* What is in the cache: all of it is whole and good, but for parts. The number of those that are whole. */
static size_t count_whole(struct bench *b)
{
	int fd = openat(b->state, "blobs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	size_t n = 0;

	while (dir && (d = readdir(dir))) {
		size_t length = strlen(d->d_name), size;
		_cleanup_free_ char *data = NULL, *digest = strdup(d->d_name);

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 ||
			(length > 5 && strcmp(d->d_name + length - 5, ".part") == 0))
			continue;
		*strchr(digest, '-') = ':';
		assert_int_equal(io_read_file(dirfd(dir), d->d_name, 1 << 24, &data, &size, NULL), 0);
		assert_int_equal(digest_verify(digest, data, size, "it", NULL), 0);
		n++;
	}
	return n;
}

static void assert_all_there(struct bench *b)
{
	assert_int_equal(count_whole(b), LAYERS + 2);
	for (size_t i = 0; i < LAYERS; i++)
		assert_true(blobs_has(b->blobs, b->layers[i].digest));
}

#define assert_pulled(b)                                                                                     \
	do {                                                                                                 \
		int _r = pull(b);                                                                            \
		if (_r < 0)                                                                                  \
			print_message("# %s\n", err_text(&(b)->e));                                          \
		assert_int_equal(_r, 0);                                                                     \
		assert_all_there(b);                                                                         \
	} while (0)

/* The pull ends with CODE, and words that have WORD in them. */
#define assert_refused(b, code, word)                                                                        \
	do {                                                                                                 \
		assert_int_equal(pull(b), code);                                                             \
		if (!strstr(err_text(&(b)->e), word))                                                        \
			print_message("# %s\n", err_text(&(b)->e));                                          \
		assert_non_null(strstr(err_text(&(b)->e), word));                                            \
	} while (0)

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

/* Everything wants TOKEN but the realm, which answers REPLY. */
static void want_token(struct bench *b, const char *challenge, const char *reply)
{
	scripted_rule(b->server, (struct scripted_rule){.path = "/token", .status = 200, .body = reply});
	scripted_rule(
		b->server, (struct scripted_rule){.authorization = "", .status = 401, .headers = challenge});
}

static void test_token(void **state)
{
	static const struct {
		const char *challenge, *reply, *query;
	} cases[] = {
		{CHALLENGE ",service=\"reg.example\",scope=\"repository:team/app:pull\"\r\n",
			"{\"token\":\"t1\"}",
			"/token?service=reg.example&scope=repository%3Ateam%2Fapp%3Apull"},
		{CHALLENGE "\r\n", "{\"access_token\":\"t1\",\"expires_in\":300}",
			"/token?scope=repository%3Ateam%2Fapp%3Apull"},
		{CHALLENGE ",service=\"a b&c=d\"\r\n", "{\"token\":\"\",\"access_token\":\"t1\"}",
			"/token?service=a%20b%26c%3Dd&scope=repository%3Ateam%2Fapp%3Apull"},
		{CHALLENGE ",scope=\"other\"\r\n",
			"{\"token\":\"t1\",\"access_token\":\"no\",\"expires_in\":9223372036854775807}",
			"/token?scope=other&scope=repository%3Ateam%2Fapp%3Apull"},
		{"WWW-Authenticate: Bearer realm=\"http://%s/token?a=b\"\r\n", "{\"token\":\"t1\"}",
			"/token?a=b&scope=repository%3Ateam%2Fapp%3Apull"},
		{"WWW-Authenticate: Negotiate, Basic realm=\"x, y\", Bearer realm=\"http://%s/token\"\r\n",
			"{\"token\":\"t1\",\"expires_in\":-5}",
			"/token?scope=repository%3Ateam%2Fapp%3Apull"},
		{"WWW-Authenticate: Basic realm=\"x\"\r\nWWW-Authenticate: bEARER "
		 "Realm=\"http://%s/token\"\r\n",
			"{\"token\":\"t1\"}", "/token?scope=repository%3Ateam%2Fapp%3Apull"},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct bench *b = i ? again(state) : *state;

		want_token(b, cases[i].challenge, cases[i].reply);
		scripted_rule(b->server, (struct scripted_rule){.path = TAG,
						 .authorization = "Bearer t1",
						 .status = 200,
						 .headers = TYPE,
						 .body = b->manifest.text});
		serve(b);
		assert_pulled(b);
		assert_int_equal(scripted_count(b->server, "/token"), 1);
		assert_string_equal(scripted_seen(b->server, "/token", 1).target, cases[i].query);
		assert_null(scripted_seen(b->server, "/token", 1).authorization);
		assert_string_equal(
			scripted_seen(b->server, b->layers[2].path, 1).authorization, "Bearer t1");
	}
}

static void test_token_renewed(void **state)
{
	struct bench *b = *state;

	scripted_rule(b->server,
		(struct scripted_rule){
			.path = "/token", .from = 1, .to = 1, .status = 200, .body = "{\"token\":\"t1\"}"});
	want_token(b, CHALLENGE "\r\n", "{\"token\":\"t2\"}");
	for (size_t i = 0; i < LAYERS; i++)
		scripted_rule(b->server, (struct scripted_rule){.path = b->layers[i].path,
						 .authorization = "Bearer t1",
						 .status = 401,
						 .headers = CHALLENGE ",error=\"invalid_token\"\r\n"});
	serve(b);
	assert_pulled(b);
	/* Once for all of them, side by side as they are. */
	assert_int_equal(scripted_count(b->server, "/token"), 2);
	/* Those that knew of it already needn't have tried the old one. */
	assert_string_equal(
		scripted_seen(b->server, b->layers[0].path, scripted_count(b->server, b->layers[0].path))
			.authorization,
		"Bearer t2");
}

static void test_insufficient_scope(void **state)
{
	struct bench *b = *state;

	scripted_rule(b->server,
		(struct scripted_rule){
			.path = "/token", .from = 1, .to = 1, .status = 200, .body = "{\"token\":\"t1\"}"});
	want_token(b, CHALLENGE ",scope=\"small\"\r\n", "{\"token\":\"t2\"}");
	scripted_rule(
		b->server, (struct scripted_rule){.path = TAG,
				   .authorization = "Bearer t1",
				   .status = 401,
				   .headers = CHALLENGE ",scope=\"large\",error=\"insufficient_scope\"\r\n"});
	serve(b);
	assert_pulled(b);
	assert_string_equal(scripted_seen(b->server, "/token", 2).target,
		"/token?scope=large&scope=repository%3Ateam%2Fapp%3Apull");
	assert_int_equal(scripted_count(b->server, "/token"), 2);
}

/* Never enough: asked for once more, and no more. */
static void test_insufficient_for_ever(void **state)
{
	struct bench *b = *state;

	want_token(b, CHALLENGE ",scope=\"small\"\r\n", "{\"token\":\"t1\"}");
	scripted_rule(
		b->server, (struct scripted_rule){.status = 401,
				   .headers = CHALLENGE ",scope=\"l\",error=\"insufficient_scope\"\r\n"});
	assert_refused(b, -EACCES, "banger image login");
	assert_true(scripted_count(b->server, NULL) <= 6);
	assert_int_equal(count_whole(b), 0);
}

static void put_auth(struct bench *b, const char *text)
{
	assert_int_equal(io_replace_file(b->state, "auth.json", text, strlen(text), 0600, NULL), 0);
}

static void log_in(struct bench *b, const char *plain)
{
	char *auth = keep(b, calloc(1, 200));

	assert_true(strlen(plain) < 100);
	EVP_EncodeBlock((unsigned char *)auth, (const unsigned char *)plain, (int)strlen(plain));
	put_auth(b, format(b, "{\"auths\":{\"%s\":{\"auth\":\"%s\"}}}", b->host, auth));
}

static void test_token_login(void **state)
{
	struct bench *b = *state;

	log_in(b, "me:secret:word");
	scripted_rule(b->server, (struct scripted_rule){.path = "/token",
					 .authorization = "Basic bWU6c2VjcmV0OndvcmQ=",
					 .status = 200,
					 .body = "{\"token\":\"t1\"}"});
	scripted_rule(b->server, (struct scripted_rule){.path = "/token", .status = 401});
	scripted_rule(b->server,
		(struct scripted_rule){.authorization = "", .status = 401, .headers = CHALLENGE "\r\n"});
	serve(b);
	assert_pulled(b);
	assert_non_null(strstr(scripted_seen(b->server, "/token", 1).target, "&account=me"));
	assert_null(strstr(scripted_seen(b->server, "/token", 1).target, "secret"));

	/* Somebody else is nobody there. */
	b = again(state);
	log_in(b, "me:wrong");
	scripted_rule(b->server, (struct scripted_rule){.path = "/token", .status = 401});
	scripted_rule(b->server, (struct scripted_rule){.status = 401, .headers = CHALLENGE "\r\n"});
	assert_refused(b, -EACCES, "refuses the login of \"me\"");
	assert_non_null(strstr(err_text(&b->e), format(b, "banger image login %s", b->host)));
	assert_null(strstr(err_text(&b->e), "wrong"));
	assert_int_equal(scripted_count(b->server, NULL), 2);
}

static void test_identity_token(void **state)
{
	struct bench *b = *state;

	put_auth(b, format(b, "{\"auths\":{\"%s\":{\"identitytoken\":\"re&fresh\"}}}", b->host));
	scripted_rule(b->server, (struct scripted_rule){.path = "/token",
					 .method = "POST",
					 .status = 200,
					 .body = "{\"access_token\":\"t1\"}"});
	scripted_rule(b->server,
		(struct scripted_rule){
			.authorization = "", .status = 401, .headers = CHALLENGE ",service=\"s\"\r\n"});
	serve(b);
	assert_pulled(b);
	assert_string_equal(scripted_seen(b->server, "/token", 1).body,
		"grant_type=refresh_token&refresh_token=re%26fresh&client_id=banger&service=s&scope="
		"repository%3Ateam%2Fapp%3Apull");
	assert_null(scripted_seen(b->server, "/token", 1).authorization);
}

static void test_basic(void **state)
{
	struct bench *b = *state;
	const char *challenge = "WWW-Authenticate: Negotiate abc=, Basic realm=\"x\"\r\n";

	log_in(b, "me:word");
	scripted_rule(
		b->server, (struct scripted_rule){.authorization = "", .status = 401, .headers = challenge});
	serve(b);
	assert_pulled(b);
	assert_string_equal(scripted_seen(b->server, TAG, 2).authorization, "Basic bWU6d29yZA==");
	/* From then on it says at once who it is. */
	assert_int_equal(scripted_count(b->server, NULL), 3 + LAYERS);

	b = again(state);
	scripted_rule(b->server, (struct scripted_rule){.status = 401, .headers = challenge});
	assert_refused(b, -EACCES, format(b, "banger image login %s", b->host));
	assert_int_equal(scripted_count(b->server, NULL), 1);

	b = again(state);
	log_in(b, "me:wrong");
	scripted_rule(b->server, (struct scripted_rule){.status = 401, .headers = challenge});
	assert_refused(b, -EACCES, format(b, "banger image login %s", b->host));
	assert_int_equal(scripted_count(b->server, NULL), 2);
	/* Corrected elsewhere, it counts at once. */
	log_in(b, "me:word");
	assert_int_equal(pull(b), -EACCES);
	assert_string_equal(scripted_seen(b->server, TAG, 4).authorization, "Basic bWU6d29yZA==");
}

static void test_refused_for_ever(void **state)
{
	static const char *const challenges[] = {CHALLENGE "\r\n", "WWW-Authenticate: Basic realm=x\r\n",
		"WWW-Authenticate: Digest realm=x\r\n", "WWW-Authenticate: \"\r\n", "",
		CHALLENGE "\r\n" CHALLENGE "\r\n" CHALLENGE "\r\n"};

	for (size_t i = 0; i < ELEMENTSOF(challenges); i++) {
		struct bench *b = i ? again(state) : *state;

		log_in(b, "me:word");
		scripted_rule(
			b->server, (struct scripted_rule){
					   .path = "/token", .status = 200, .body = "{\"token\":\"t1\"}"});
		scripted_rule(b->server, (struct scripted_rule){.status = 401, .headers = challenges[i]});
		assert_refused(b, -EACCES, "banger image login");
		assert_true(scripted_count(b->server, NULL) <= 4);
		assert_int_equal(count_whole(b), 0);
	}
}

static void test_hostile_realm(void **state)
{
	static const struct {
		const char *realm;
		int code;
	} cases[] = {
		{"file:///etc/passwd", -EPERM},
		{"ftp://127.0.0.1/token", -EPERM},
		{"gopher://127.0.0.1:6379/_FLUSHALL", -EPERM},
		{"not an address", -EPERM},
		{"http://[::1", -EPERM},
		{"/token", -EPERM},
		{"", -EPERM},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct bench *b = i ? again(state) : *state;

		log_in(b, "me:word");
		scripted_rule(
			b->server, (struct scripted_rule){.status = 401,
					   .headers = format(b, "WWW-Authenticate: Bearer realm=\"%s\"\r\n",
						   cases[i].realm)});
		assert_int_equal(pull(b), cases[i].code);
		assert_int_equal(scripted_count(b->server, NULL), 1);
		assert_int_equal(count_whole(b), 0);
	}
}

static void test_token_answers(void **state)
{
	static const struct {
		int status;
		const char *body;
		int code;
	} cases[] = {
		{200, "", -EBADMSG},
		{200, "{}", -EBADMSG},
		{200, "[]", -EBADMSG},
		{200, "{\"token\":5}", -EBADMSG},
		{200, "{\"token\":\"a\\r\\nHost: evil\"}", -EBADMSG},
		{200, "<html>", -EBADMSG},
		{404, "{}", -EIO},
		{400, "{}", -EIO},
		{302, "{}", -EIO},
		{401, "{}", -EACCES},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct bench *b = i ? again(state) : *state;

		scripted_rule(b->server,
			(struct scripted_rule){
				.path = "/token", .status = cases[i].status, .body = cases[i].body});
		scripted_rule(b->server, (struct scripted_rule){.status = 401, .headers = CHALLENGE "\r\n"});
		assert_int_equal(pull(b), cases[i].code);
		assert_int_equal(scripted_count(b->server, NULL), 2);
	}
}

/* 0.0.0.0 reaches this machine, but isn't known as it: as good as a stranger. */
static void test_from_elsewhere(void **state)
{
	struct bench *b = *state;

	b->host = format(b, "0.0.0.0:%u", b->server->port);
	serve(b);
	/* Without TLS nothing is asked there. */
	assert_refused(b, -EPROTO, b->host);
	assert_int_equal(scripted_count(b->server, NULL), 0);
	b->insecure = b->host;
	assert_pulled(b);

	b = again(state);
	b->insecure = b->host = format(b, "0.0.0.0:%u", b->server->port);
	scripted_rule(b->server, (struct scripted_rule){.status = 401, .headers = CHALLENGE "\r\n"});
	assert_refused(b, -EPERM, "internal network");
	assert_int_equal(scripted_count(b->server, NULL), 1);

	b = again(state);
	b->insecure = b->host = format(b, "0.0.0.0:%u", b->server->port);
	scripted_rule(
		b->server, (struct scripted_rule){.path = b->layers[0].path,
				   .status = 307,
				   .headers = format(b, "Location: http://%s/blob\r\n", b->other->host)});
	serve(b);
	assert_refused(b, -EPERM, "internal network");
	assert_int_equal(scripted_count(b->other, NULL), 0);
}

static void test_may_follow(void **state)
{
	static const struct {
		const char *from, *to;
		bool plain, may;
	} cases[] = {
		{"https://registry-1.docker.io", "https://auth.docker.io/token", false, true},
		{"https://r.example", "http://r.example/x", false, false},
		{"https://r.example", "http://r.example/x", true, true},
		{"http://r.example", "http://cdn.example/x", true, true},
		{"https://r.example", "https://127.0.0.1/", false, false},
		{"https://r.example", "https://127.1/", false, false},
		{"https://r.example", "https://2130706433/", false, false},
		{"https://r.example", "https://0x7f000001/", false, false},
		{"https://r.example", "https://0177.0.0.1/", false, false},
		{"https://r.example", "https://[::1]/", false, false},
		{"https://r.example", "https://[::ffff:127.0.0.1]:5000/", false, false},
		{"https://r.example", "https://localhost/", false, false},
		{"https://r.example", "https://LOCALHOST.:6443/", false, false},
		{"https://r.example", "https://x.localhost/", false, false},
		{"https://r.example", "https://0.0.0.0/", false, false},
		{"https://r.example", "https://169.254.169.254/latest/meta-data", false, false},
		{"https://r.example", "https://10.0.0.1/", false, false},
		{"https://r.example", "https://[fd00::1]/", false, false},
		{"https://r.example", "https://[fe80::1]/", false, false},
		{"https://r.example", "https://8.8.8.8/", false, true},
		{"https://r.example", "file:///etc/shadow", false, false},
		{"https://r.example", "FILE:///etc/shadow", false, false},
		{"https://r.example", "ftp://r.example/", false, false},
		{"https://r.example", "dict://r.example/", false, false},
		{"https://r.example", "", false, false},
		{"https://10.0.0.1:5000", "https://10.0.0.2/", false, true},
		{"https://10.0.0.1:5000", "https://127.0.0.1/", false, false},
		{"https://10.0.0.1:5000", "https://localhost/", false, false},
		{"https://10.0.0.1:5000", "https://169.254.169.254/", false, false},
		{"https://10.0.0.1:5000", "https://[::ffff:169.254.169.254]/", false, false},
		{"https://10.0.0.1:5000", "https://10.0.0.1/", false, true},
		{"https://[fd00::1]", "https://[fe80::1]/", false, false},
		{"http://127.0.0.1:5000", "http://10.0.0.1/", false, true},
		{"http://localhost:5000", "http://127.0.0.1:6000/", false, true},
		{"https://localhost:5000", "http://localhost:5000/", false, false},
	};

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct endpoint at = {.base = (char *)cases[i].from, .insecure = cases[i].plain};
		_cleanup_err_ struct err e = {0};
		int r = url_may_follow(&at, cases[i].from, cases[i].to, &e);

		if (r != (cases[i].may ? 0 : -EPERM))
			print_message("# %s to %s: %s\n", cases[i].from, cases[i].to, err_text(&e));
		assert_int_equal(r, cases[i].may ? 0 : -EPERM);
	}
	assert_true(url_same_origin("https://a.example/x", "HTTPS://A.example:443/y"));
	assert_false(url_same_origin("https://a.example/x", "https://a.example:444/x"));
	assert_false(url_same_origin("https://a.example/x", "http://a.example:443/x"));
	assert_false(url_same_origin("file:///x", "file:///x"));
}

static void test_redirect(void **state)
{
	struct bench *b = *state;
	struct text elsewhere = b->layers[0];

	log_in(b, "me:word");
	scripted_rule(b->server, (struct scripted_rule){.authorization = "",
					 .status = 401,
					 .headers = "WWW-Authenticate: Basic realm=\"x\"\r\n"});
	scripted_rule(b->server,
		(struct scripted_rule){.path = b->layers[0].path,
			.status = 307,
			.headers = format(b, "Location: http://%s/a?sig=signed\r\n", b->other->host)});
	/* And back again: whoever was left isn't told any more. */
	scripted_rule(b->other,
		(struct scripted_rule){.path = "/a",
			.status = 302,
			.headers = format(b, "Location: http://%s/b?sig=signed\r\n", b->server->host)});
	scripted_rule(b->server,
		(struct scripted_rule){.path = "/b",
			.authorization = "",
			.status = 302,
			.headers = format(b, "Location: http://%s/c?sig=signed\r\n", b->other->host)});
	elsewhere.path = (char *)"/c";
	serve_text(b->other, &elsewhere, NULL);
	serve(b);
	/* The rule for nobody comes before: "/b" is asked by nobody, and refused with a challenge that nobody answers. */
	assert_refused(b, -EACCES, b->layers[0].digest);
	assert_null(strstr(err_text(&b->e), "signed"));
	assert_null(scripted_seen(b->other, "/a", 1).authorization);
	assert_null(scripted_seen(b->server, "/b", 1).authorization);
	assert_int_equal(scripted_count(b->server, "/b"), 1);

	b = again(state);
	log_in(b, "me:word");
	scripted_rule(b->server, (struct scripted_rule){.path = TAG,
					 .authorization = "",
					 .status = 401,
					 .headers = "WWW-Authenticate: Basic realm=\"x\"\r\n"});
	for (size_t i = 0; i < LAYERS; i++) {
		scripted_rule(
			b->server, (struct scripted_rule){.path = b->layers[i].path,
					   .status = 307,
					   .headers = format(b, "Location: http://%s/%zu?sig=signed\r\n",
						   b->other->host, i)});
		elsewhere = b->layers[i];
		elsewhere.path = format(b, "/%zu", i);
		scripted_rule(b->other, (struct scripted_rule){.path = elsewhere.path,
						.to = 1,
						.status = 200,
						.body = elsewhere.text,
						.size = elsewhere.size,
						.how = SCRIPTED_CUT,
						.cut = 70000});
		serve_text(b->other, &elsewhere, NULL);
	}
	serve(b);
	assert_pulled(b);
	for (size_t i = 0; i < LAYERS; i++) {
		const char *path = format(b, "/%zu", i);

		/* The registry says anew where: what it signed may have ended. */
		assert_int_equal(scripted_count(b->server, b->layers[i].path), 2);
		assert_int_equal(scripted_count(b->other, path), 2);
		assert_null(scripted_seen(b->other, path, 1).authorization);
		assert_null(scripted_seen(b->other, path, 2).authorization);
		assert_string_equal(scripted_seen(b->other, path, 2).range, "bytes=70000-");
		assert_string_equal(
			scripted_seen(b->server, b->layers[i].path, 1).authorization, "Basic bWU6d29yZA==");
	}
}

/* A host that the registry leads to wants to know who asks: that is none of its business. */
static void test_redirect_challenge(void **state)
{
	struct bench *b = *state;

	log_in(b, "me:word");
	scripted_rule(b->server, (struct scripted_rule){.path = b->layers[1].path,
					 .status = 307,
					 .headers = format(b, "Location: http://%s/a\r\n", b->other->host)});
	scripted_rule(b->other, (struct scripted_rule){.status = 401,
					.headers = "WWW-Authenticate: Basic realm=\"x\", Bearer "
						   "realm=\"http://%s/token\"\r\n"});
	serve(b);
	assert_refused(b, -EACCES, b->layers[1].digest);
	assert_int_equal(scripted_count(b->other, NULL), 1);
	assert_null(scripted_seen(b->other, "/a", 1).authorization);
}

static void test_redirect_nowhere(void **state)
{
	static const struct {
		const char *location;
		int code;
	} cases[] = {
		{"Location: file:///etc/passwd\r\n", -EPERM},
		{"Location: ftp://127.0.0.1/x\r\n", -EPERM},
		{"Location: http://[::1/\r\n", -EPERM},
		{"", -EIO},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct bench *b = i ? again(state) : *state;

		scripted_rule(b->server,
			(struct scripted_rule){
				.path = b->layers[1].path, .status = 302, .headers = cases[i].location});
		serve(b);
		assert_refused(b, cases[i].code, b->layers[1].digest);
		assert_int_equal(scripted_count(b->server, b->layers[1].path), 1);
		assert_false(blobs_has(b->blobs, b->layers[1].digest));
		assert_false(blobs_has(b->blobs, b->manifest.digest));
	}
}

static void test_redirect_endless(void **state)
{
	struct bench *b = *state;

	scripted_rule(b->server,
		(struct scripted_rule){
			.path = TAG, .status = 307, .headers = "Location: http://%s" TAG "?again\r\n"});
	assert_refused(b, -ELOOP, b->host);
	assert_true(scripted_count(b->server, NULL) <= 11);
	assert_int_equal(count_whole(b), 0);
}

static void test_cut(void **state)
{
	for (size_t tenth = 0; tenth < 10; tenth++) {
		struct bench *b = tenth ? again(state) : *state;
		const struct text *layer = &b->layers[1];
		size_t cut = tenth * LAYER_BYTES / 10;

		scripted_rule(b->server, (struct scripted_rule){.path = layer->path,
						 .to = 1,
						 .status = 200,
						 .body = layer->text,
						 .size = layer->size,
						 .how = SCRIPTED_CUT,
						 .cut = cut});
		serve(b);
		assert_pulled(b);
		assert_int_equal(scripted_count(b->server, layer->path), 2);
		if (cut)
			assert_string_equal(
				scripted_seen(b->server, layer->path, 2).range, format(b, "bytes=%zu-", cut));
		else
			assert_null(scripted_seen(b->server, layer->path, 2).range);
	}
}

static void test_cut_each_time(void **state)
{
	struct bench *b = *state;
	const struct text *layer = &b->layers[1];

	scripted_rule(b->server, (struct scripted_rule){.path = layer->path,
					 .status = 200,
					 .body = layer->text,
					 .size = layer->size,
					 .how = SCRIPTED_CUT,
					 .cut = LAYER_BYTES / 10,
					 .ranges = true});
	serve(b);
	assert_pulled(b);
	assert_int_equal(scripted_count(b->server, layer->path), 10);

	/* A byte each time gets nowhere. */
	b = again(state);
	layer = &b->layers[1];
	scripted_rule(b->server, (struct scripted_rule){.path = layer->path,
					 .status = 200,
					 .body = layer->text,
					 .size = layer->size,
					 .how = SCRIPTED_CUT,
					 .cut = 1,
					 .ranges = true});
	serve(b);
	assert_refused(b, -ECONNRESET, layer->digest);
	assert_int_equal(scripted_count(b->server, layer->path), TRIES);
	assert_false(blobs_has(b->blobs, layer->digest));
}

/* What one pull got, another one, of another daemon, goes on with. */
static void test_resume(void **state)
{
	struct bench *b = *state;
	const struct text *layer = &b->layers[2];

	scripted_rule(b->server, (struct scripted_rule){.path = layer->path,
					 .to = 1,
					 .status = 200,
					 .body = layer->text,
					 .size = layer->size,
					 .how = SCRIPTED_CUT,
					 .cut = 123456});
	scripted_rule(
		b->server, (struct scripted_rule){.path = layer->path, .from = 2, .to = 2, .status = 403});
	serve(b);
	assert_refused(b, -EACCES, layer->digest);
	assert_false(blobs_has(b->blobs, layer->digest));
	assert_false(blobs_has(b->blobs, b->manifest.digest));
	close_cache(b);
	open_cache(b);
	assert_pulled(b);
	assert_string_equal(scripted_seen(b->server, layer->path, 3).range, "bytes=123456-");
}

static void cut_first(struct bench *b, const struct text *layer)
{
	scripted_rule(b->server, (struct scripted_rule){.path = layer->path,
					 .to = 1,
					 .status = 200,
					 .body = layer->text,
					 .size = layer->size,
					 .how = SCRIPTED_CUT,
					 .cut = 100000});
}

static void test_range_answers(void **state)
{
	static const struct {
		int status;
		const char *headers;
	} cases[] = {
		{206, "Content-Range: bytes 5-199999/200000\r\n"},
		{206, "Content-Range: nonsense\r\n"},
		{206, ""},
		{416, "Content-Range: bytes */200000\r\n"},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct bench *b = i ? again(state) : *state;
		const struct text *layer = &b->layers[1];

		cut_first(b, layer);
		scripted_rule(b->server, (struct scripted_rule){.path = layer->path,
						 .from = 2,
						 .to = 2,
						 .status = cases[i].status,
						 .headers = cases[i].headers,
						 .body = layer->text,
						 .size = 1000});
		serve(b);
		assert_pulled(b);
		assert_string_equal(scripted_seen(b->server, layer->path, 2).range, "bytes=100000-");
		/* It can't go on: it starts over. */
		assert_null(scripted_seen(b->server, layer->path, 3).range);
		assert_int_equal(scripted_count(b->server, layer->path), 3);
	}
}

static void test_no_ranges(void **state)
{
	struct bench *b = *state;
	const struct text *layer = &b->layers[1];

	cut_first(b, layer);
	scripted_rule(b->server,
		(struct scripted_rule){
			.path = layer->path, .status = 200, .body = layer->text, .size = layer->size});
	serve(b);
	assert_pulled(b);
	assert_int_equal(scripted_count(b->server, layer->path), 2);

	/* Cut for ever by one that never goes on. */
	b = again(state);
	layer = &b->layers[1];
	scripted_rule(b->server, (struct scripted_rule){.path = layer->path,
					 .status = 200,
					 .body = layer->text,
					 .size = layer->size,
					 .how = SCRIPTED_CUT,
					 .cut = 100000});
	serve(b);
	assert_refused(b, -ECONNRESET, layer->digest);
	assert_true(scripted_count(b->server, layer->path) <= 2 * TRIES);
}

/* Less than was asked for is a server's right. */
static void test_small_ranges(void **state)
{
	struct bench *b = *state;
	const struct text *layer = &b->layers[1];

	cut_first(b, layer);
	for (unsigned i = 0; i < 4; i++)
		scripted_rule(b->server, (struct scripted_rule){.path = layer->path,
						 .from = i + 2,
						 .to = i + 2,
						 .status = 206,
						 .headers = format(b, "Content-Range: bytes %u-%u/200000\r\n",
							 100000 + i * 25000, 124999 + i * 25000),
						 .body = layer->text + 100000 + i * 25000,
						 .size = 25000});
	serve(b);
	assert_pulled(b);
	assert_int_equal(scripted_count(b->server, layer->path), 5);
}

/* A part that is none of the blob's: refused, and forgotten for the next time. */
static void test_wrong_part(void **state)
{
	struct bench *b = *state;
	const struct text *layer = &b->layers[1];
	struct blob *blob = NULL;

	assert_int_equal(blob_begin(b->blobs, layer->digest, layer->size, NULL, &blob, NULL), 0);
	assert_int_equal(blob_write(blob, "rubbish", 7, NULL), 0);
	blob_end(blob, false);
	serve(b);
	assert_refused(b, -EBADMSG, layer->digest);
	assert_false(blobs_has(b->blobs, layer->digest));
	assert_pulled(b);
}

static void test_again_later(void **state)
{
	static const struct {
		int status;
		const char *headers;
	} cases[] = {{500, ""}, {503, ""}, {429, ""}, {429, "Retry-After: 0\r\n"},
		{429, "Retry-After: soon\r\n"}, {503, "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n"}};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct bench *b = i ? again(state) : *state;
		const char *const paths[] = {
			TAG, b->config.path, b->layers[0].path, b->layers[2].path, "/token"};

		for (size_t j = 0; j < ELEMENTSOF(paths); j++)
			scripted_rule(
				b->server, (struct scripted_rule){.path = paths[j],
						   .from = j < 4 ? 2 : 0, /* the first one has no token */
						   .to = j < 4 ? 4 : 2,
						   .status = cases[i].status,
						   .headers = cases[i].headers});
		want_token(b, CHALLENGE "\r\n", "{\"token\":\"t1\"}");
		serve(b);
		assert_pulled(b);
		assert_int_equal(scripted_count(b->server, TAG), 5);
		assert_int_equal(scripted_count(b->server, "/token"), 3);
	}
}

static void test_retry_after(void **state)
{
	struct bench *b = *state;
	uint64_t began = io_now_usec();

	scripted_rule(b->server,
		(struct scripted_rule){.path = TAG, .to = 1, .status = 429, .headers = "Retry-After: 1\r\n"});
	serve(b);
	assert_pulled(b);
	assert_true(io_now_usec() - began >= 1000000);

	/* Nobody waits for an hour. */
	b = again(state);
	began = io_now_usec();
	scripted_rule(b->server, (struct scripted_rule){.path = TAG,
					 .status = 429,
					 .headers = "Retry-After: 3600\r\n",
					 .body = "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":"
						 "\"slow\\u001bdown\"}]}"});
	assert_refused(b, -EBUSY, "TOOMANYREQUESTS: slow?down");
	assert_int_equal(scripted_count(b->server, NULL), 1);
	b = again(state);
	scripted_rule(b->server,
		(struct scripted_rule){
			.path = b->layers[1].path, .status = 429, .headers = "Retry-After: 3600\r\n"});
	serve(b);
	assert_refused(b, -EBUSY, "too many requests");
	assert_int_equal(scripted_count(b->server, b->layers[1].path), 1);
	assert_true(io_now_usec() - began < 5000000);
}

static void test_broken_for_ever(void **state)
{
	for (size_t i = 0; i < 5; i++) {
		struct bench *b = i ? again(state) : *state;
		const char *const paths[] = {
			TAG, b->config.path, b->layers[0].path, b->layers[2].path, "/token"};

		scripted_rule(b->server, (struct scripted_rule){.path = paths[i], .status = 500});
		if (i == 4)
			scripted_rule(b->server,
				(struct scripted_rule){.status = 401, .headers = CHALLENGE "\r\n"});
		serve(b);
		assert_refused(b, -EIO, "500");
		assert_int_equal(scripted_count(b->server, paths[i]), TRIES);
		assert_false(blobs_has(b->blobs, b->manifest.digest));
		assert_false(blobs_has(b->blobs, b->config.digest));
	}
}

static void test_hangs_up(void **state)
{
	for (size_t i = 0; i < 3; i++) {
		struct bench *b = i ? again(state) : *state;
		const char *const paths[] = {TAG, b->config.path, b->layers[1].path};

		scripted_rule(
			b->server, (struct scripted_rule){.path = paths[i], .to = 2, .how = SCRIPTED_HANGUP});
		serve(b);
		assert_pulled(b);
		b = again(state);
		scripted_rule(b->server, (struct scripted_rule){.path = i == 0   ? TAG
									: i == 1 ? b->config.path
										 : b->layers[1].path,
						 .how = SCRIPTED_HANGUP});
		serve(b);
		assert_int_equal(pull(b), -ECONNRESET);
		assert_true(scripted_count(b->server, NULL) <= 20);
	}
}

static void test_nobody(void **state)
{
	struct bench *b = *state;
	uint64_t began = io_now_usec();

	/* Reserved, and nobody listens (RFC 1700: tcpmux). */
	b->host = "127.0.0.1:1";
	assert_refused(b, -ECONNREFUSED, "127.0.0.1:1");
	assert_true(io_now_usec() - began < 2000000);
}

/* NAME is served with BODY instead. */
static void instead(struct bench *b, const char *path, const char *headers, const char *body, size_t size)
{
	scripted_rule(b->server,
		(struct scripted_rule){
			.path = path, .status = 200, .headers = headers, .body = body, .size = size});
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

struct puller {
	struct bench *b;
	const char *name;
	struct op *op;
	int code;
	struct err e;
	pthread_t thread;
};

static void *run_puller(void *data)
{
	struct puller *p = data;

	p->code = pull_as(p->b, p->name, p->op, &p->e);
	return NULL;
}

static void puller_start(struct puller *p, struct bench *b, const char *name)
{
	*p = (struct puller){.b = b, .name = name, .code = 1};
	assert_int_equal(op_begin(b->ops, "pull", "images/y", &p->op, NULL), 0);
	assert_int_equal(pthread_create(&p->thread, NULL, run_puller, p), 0);
}

/* How it ended. */
static int puller_end(struct puller *p)
{
	assert_int_equal(pthread_join(p->thread, NULL), 0);
	err_clear(&p->e);
	op_end(p->op);
	op_unref(p->op);
	return p->code;
}

static const enum scripted_how slow[] = {SCRIPTED_STALL, SCRIPTED_DRIBBLE, SCRIPTED_SILENT};

/* They go on where they got stuck. */
static void test_slow(void **state)
{
	struct bench *b = *state;

	for (size_t i = 0; i < LAYERS; i++)
		scripted_rule(b->server, (struct scripted_rule){.path = b->layers[i].path,
						 .to = 1,
						 .status = 200,
						 .body = b->layers[i].text,
						 .size = b->layers[i].size,
						 .how = slow[i],
						 .cut = 1000});
	serve(b);
	assert_pulled(b);
	for (size_t i = 0; i < LAYERS; i++) {
		assert_int_equal(scripted_count(b->server, b->layers[i].path), 2);
		assert_true(!scripted_seen(b->server, b->layers[i].path, 2).range ==
			    (slow[i] == SCRIPTED_SILENT));
	}
}

static void test_slow_for_ever(void **state)
{
	struct bench *b = *state;
	struct puller pullers[LAYERS];
	static const char *const names[] = {":a", ":b", ":c"};

	for (size_t i = 0; i < LAYERS; i++) {
		scripted_rule(b->server,
			(struct scripted_rule){.path = format(b, "/v2/team/app/manifests/%s", names[i] + 1),
				.status = 200,
				.headers = TYPE,
				.body = b->manifest.text,
				.how = slow[i],
				.cut = 10});
		puller_start(&pullers[i], b, names[i]);
	}
	for (size_t i = 0; i < LAYERS; i++)
		assert_int_equal(puller_end(&pullers[i]), -ETIMEDOUT);
	assert_int_equal(count_whole(b), 0);
}

static void test_cancel(void **state)
{
	enum { PHASES = 8 };

	for (size_t i = 0; i < PHASES; i++) {
		struct bench *b = i ? again(state) : *state;
		const char *const paths[PHASES] = {TAG, b->config.path, b->layers[0].path, b->layers[1].path,
			"/token", TAG, b->layers[2].path, "/token"};
		struct scripted_rule rule = {.path = paths[i], .how = SCRIPTED_SILENT};
		struct puller p;
		uint64_t began;

		/* Nobody answers; it got stuck in the middle; it waits to try again. */
		if (i == 3)
			rule = (struct scripted_rule){.path = paths[i],
				.status = 200,
				.body = b->layers[1].text,
				.size = LAYER_BYTES,
				.how = SCRIPTED_STALL,
				.cut = 100000};
		else if (i > 4)
			rule = (struct scripted_rule){
				.path = paths[i], .status = 503, .headers = "Retry-After: 50\r\n"};
		/* Nobody is given up as slow before. */
		close_cache(b);
		open_cache(b);
		scripted_rule(b->server, rule);
		if (strcmp(paths[i], "/token") == 0)
			scripted_rule(b->server,
				(struct scripted_rule){.status = 401, .headers = CHALLENGE "\r\n"});
		serve(b);
		puller_start(&p, b, ":1");
		scripted_await(b->server, paths[i], 1);
		began = io_now_usec();
		op_cancel(p.op);
		assert_int_equal(puller_end(&p), -EINTR);
		assert_true(io_now_usec() - began < 1000000);
		assert_false(blobs_has(b->blobs, b->manifest.digest));
		assert_false(blobs_has(b->blobs, b->config.digest));
	}
}

static int gate_new(void)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	assert_true(fd > 0);
	return fd;
}

static void gate_layer(struct bench *b, size_t i, int gate)
{
	scripted_rule(b->server, (struct scripted_rule){.path = b->layers[i].path,
					 .status = 200,
					 .body = b->layers[i].text,
					 .size = LAYER_BYTES,
					 .ranges = true,
					 .gate = gate});
}

/* A second tag for another image, of layer I and no other. */
static void serve_second(struct bench *b, size_t i)
{
	struct text first = b->manifest;
	static const char path[] = "/v2/team/app/manifests/2";

	make_config(b, &b->layers[i], 1);
	make_manifest(b, &b->layers[i], 1);
	serve_text(b->server, &b->config, NULL);
	instead(b, path, TYPE, b->manifest.text, b->manifest.size);
	b->manifest = first;
}

static void test_shared(void **state)
{
	struct bench *b = *state;
	_cleanup_close_ int gate = gate_new();
	struct puller one, two, three;

	gate_layer(b, 0, gate);
	serve(b);
	serve_second(b, 0);
	puller_start(&one, b, ":1");
	scripted_await(b->server, b->layers[0].path, 1);
	puller_start(&two, b, ":2");
	puller_start(&three, b, ":1");
	scripted_await(b->server, b->config.path, 1);
	eventfd_write(gate, 1);
	assert_int_equal(puller_end(&one), 0);
	assert_int_equal(puller_end(&two), 0);
	assert_int_equal(puller_end(&three), 0);
	for (size_t i = 0; i < LAYERS; i++)
		assert_int_equal(scripted_count(b->server, b->layers[i].path), 1);
	assert_int_equal(count_whole(b), LAYERS + 4);
}

/* Who waits for another pull's layer is stopped by his own cancel, and by his own other layers; and inherits it when that one is cancelled. */
static void test_shared_ends(void **state)
{
	struct bench *b = *state;
	_cleanup_close_ int gate = gate_new();
	struct puller one, two;
	uint64_t began;

	gate_layer(b, 0, gate);
	serve(b);
	serve_second(b, 0);
	puller_start(&one, b, ":1");
	scripted_await(b->server, b->layers[0].path, 1);
	puller_start(&two, b, ":2");
	scripted_await(b->server, b->config.path, 1);
	began = io_now_usec();
	op_cancel(two.op);
	assert_int_equal(puller_end(&two), -EINTR);
	assert_true(io_now_usec() - began < 1000000);

	puller_start(&two, b, ":2");
	scripted_await(b->server, b->config.path, 2);
	op_cancel(one.op);
	assert_int_equal(puller_end(&one), -EINTR);
	scripted_await(b->server, b->layers[0].path, 2);
	eventfd_write(gate, 1);
	assert_int_equal(puller_end(&two), 0);
	assert_int_equal(scripted_count(b->server, b->layers[0].path), 2);
}

static void test_shared_failure(void **state)
{
	struct bench *b = *state;
	_cleanup_close_ int gate = gate_new();
	struct puller one;

	gate_layer(b, 0, gate);
	scripted_rule(b->server, (struct scripted_rule){.path = b->layers[2].path, .status = 404});
	serve(b);
	serve_second(b, 0);
	puller_start(&one, b, ":2");
	scripted_await(b->server, b->layers[0].path, 1);
	assert_refused(b, -ENOENT, b->layers[2].digest);
	eventfd_write(gate, 1);
	assert_int_equal(puller_end(&one), 0);
}

/* A realm that doesn't answer holds up nobody who asks elsewhere, and nobody who stops. */
static void test_slow_realm(void **state)
{
	struct bench *b = *state;
	struct puller one, two;
	uint64_t began;

	scripted_rule(b->server, (struct scripted_rule){.path = "/token", .gate = b->server->stop});
	scripted_rule(b->server, (struct scripted_rule){.status = 401, .headers = CHALLENGE "\r\n"});
	want_token(b, CHALLENGE "\r\n", "");
	scripted_rule(b->other,
		(struct scripted_rule){.path = "/token", .status = 200, .body = "{\"token\":\"t1\"}"});
	scripted_rule(b->other,
		(struct scripted_rule){.authorization = "", .status = 401, .headers = CHALLENGE "\r\n"});
	serve_at(b, b->other);
	puller_start(&one, b, ":1");
	scripted_await(b->server, "/token", 1);
	puller_start(&two, b, ":1");
	scripted_await(b->server, TAG, 2);
	began = io_now_usec();
	op_cancel(two.op);
	assert_int_equal(puller_end(&two), -EINTR);
	b->host = b->other->host;
	assert_pulled(b);
	op_cancel(one.op);
	assert_int_equal(puller_end(&one), -EINTR);
	assert_true(io_now_usec() - began < 1000000);
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

static int login(struct bench *b, const char *user, const char *password)
{
	struct credentials c = {.user = (char *)user, .password = (char *)password};
	struct hosts_config hosts = {
		.insecure = "", .mirrors = format(b, "%s=http://%s", b->host, b->other->host)};

	err_clear(&b->e);
	return registry_login(b->registry, &hosts, b->host, &c, b->op, &b->e);
}

static void test_login(void **state)
{
	struct bench *b = *state;

	scripted_rule(b->server,
		(struct scripted_rule){
			.path = "/v2/", .authorization = "Basic bWU6d29yZA==", .status = 200, .body = "{}"});
	scripted_rule(b->server,
		(struct scripted_rule){.status = 401, .headers = "WWW-Authenticate: Basic realm=x\r\n"});
	assert_int_equal(login(b, "me", "word"), 0);
	assert_int_equal(login(b, "me", "other"), -EACCES);
	assert_non_null(strstr(err_text(&b->e), "\"me\""));
	assert_null(strstr(err_text(&b->e), "other"));
	/* What was tried is nothing that was granted. */
	assert_int_equal(pull(b), -EACCES);
	assert_null(scripted_seen(b->server, TAG, 1).authorization);
	/* No mirror hears a password. */
	assert_int_equal(scripted_count(b->other, NULL), 0);

	b = again(state);
	scripted_rule(b->server, (struct scripted_rule){.path = "/token",
					 .authorization = "Basic bWU6d29yZA==",
					 .status = 200,
					 .body = "{\"token\":\"t1\"}"});
	scripted_rule(b->server, (struct scripted_rule){.path = "/token", .status = 401});
	scripted_rule(b->server,
		(struct scripted_rule){
			.path = "/v2/", .authorization = "Bearer t1", .status = 200, .body = "{}"});
	scripted_rule(b->server, (struct scripted_rule){.status = 401, .headers = CHALLENGE "\r\n"});
	assert_int_equal(login(b, "me", "word"), 0);
	assert_int_equal(login(b, "me", "other"), -EACCES);
	assert_int_equal(login(b, "you", "word"), -EACCES);

	b = again(state);
	assert_int_equal(login(b, "me", "word"), -ENOENT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_pull),
		TEST(test_resolve),
		TEST(test_layers),
		TEST(test_token),
		TEST(test_token_renewed),
		TEST(test_insufficient_scope),
		TEST(test_insufficient_for_ever),
		TEST(test_token_login),
		TEST(test_identity_token),
		TEST(test_basic),
		TEST(test_refused_for_ever),
		TEST(test_hostile_realm),
		TEST(test_token_answers),
		TEST(test_from_elsewhere),
		TEST(test_may_follow),
		TEST(test_redirect),
		TEST(test_redirect_challenge),
		TEST(test_redirect_nowhere),
		TEST(test_redirect_endless),
		TEST(test_cut),
		TEST(test_cut_each_time),
		TEST(test_resume),
		TEST(test_range_answers),
		TEST(test_no_ranges),
		TEST(test_small_ranges),
		TEST(test_wrong_part),
		TEST(test_again_later),
		TEST(test_retry_after),
		TEST(test_broken_for_ever),
		TEST(test_hangs_up),
		TEST(test_nobody),
		TEST(test_damaged_documents),
		TEST(test_damaged_layer),
		TEST(test_no_image),
		TEST(test_missing),
		TEST(test_index),
		TEST(test_large_document),
		TEST(test_same_layer_twice),
		TEST(test_slow),
		TEST(test_slow_for_ever),
		TEST(test_cancel),
		TEST(test_shared),
		TEST(test_shared_ends),
		TEST(test_shared_failure),
		TEST(test_slow_realm),
		TEST(test_mirrors),
		TEST(test_login),
	};

	signal(SIGPIPE, SIG_IGN);
	/* The machine's own proxy is none of this. */
	unsetenv("http_proxy");
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
