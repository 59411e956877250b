/*
 * A registry with an image of three layers on a scripted server, and a cache that pulls fill from it: what the tests of pulls have in common. To be
 * included by one program each.
 */
#ifndef BANGER_TESTS_PULL_BENCH_H
#define BANGER_TESTS_PULL_BENCH_H

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
static inline char *keep(struct bench *b, char *text)
{
	assert_non_null(text);
	assert_true(b->text_count < ELEMENTSOF(b->texts));
	return b->texts[b->text_count++] = text;
}

static inline char *format(struct bench *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline char *format(struct bench *b, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	assert_true(vasprintf(&text, fmt, ap) >= 0);
	va_end(ap);
	return keep(b, text);
}

static inline void set_text(struct bench *b, struct text *t, char *text, size_t size, const char *kind)
{
	t->text = text;
	t->size = size;
	digest_of(text, size, t->digest);
	t->path = format(b, "/v2/team/app/%s/%s", kind, t->digest);
}

static inline char *manifest_text(
	struct bench *b, const struct text *config, const struct text *layers, size_t n)
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

static inline void make_config(struct bench *b, const struct text *layers, size_t n)
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

static inline void make_manifest(struct bench *b, const struct text *layers, size_t n)
{
	char *text = manifest_text(b, &b->config, layers, n);

	set_text(b, &b->manifest, text, strlen(text), "manifests");
}

static inline void make_image(struct bench *b)
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

static inline void open_cache(struct bench *b, unsigned slow_sec)
{
	struct registry_config config = {.limits = {.slow_sec = slow_sec, .retry_msec = RETRY_MSEC}};

	assert_int_equal(blobs_new(b->state, &b->blobs, NULL), 0);
	config.blobs = b->blobs;
	config.places = (struct credentials_places){.state_fd = b->state};
	assert_int_equal(registry_new(&config, &b->registry, NULL), 0);
}

static inline void close_cache(struct bench *b)
{
	b->registry = registry_free(b->registry);
	b->blobs = blobs_free(b->blobs);
}

/* Nobody is given up as slow before the test is over. */
static inline void be_patient(struct bench *b)
{
	close_cache(b);
	open_cache(b, 60);
}

static inline int setup(void **state)
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
	open_cache(b, 1);
	assert_int_equal(ops_new(1, &b->ops, NULL), 0);
	assert_int_equal(op_begin(b->ops, "pull", "images/x", &b->op, NULL), 0);
	make_image(b);
	*state = b;
	return 0;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static inline int teardown(void **state)
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
static inline struct bench *again(void **state)
{
	teardown(state);
	setup(state);
	return *state;
}

static inline void serve_text(struct scripted *s, const struct text *t, const char *headers)
{
	scripted_rule(s, (struct scripted_rule){.path = t->path,
				 .status = 200,
				 .headers = headers,
				 .body = t->text,
				 .size = t->size,
				 .ranges = true});
}

/* What nothing else was said of. */
static inline void serve_at(struct bench *b, struct scripted *s)
{
	struct text tag = b->manifest;

	tag.path = (char *)TAG;
	serve_text(s, &tag, TYPE);
	serve_text(s, &b->manifest, TYPE);
	serve_text(s, &b->config, NULL);
	for (size_t i = 0; i < LAYERS; i++)
		serve_text(s, &b->layers[i], NULL);
}

static inline void serve(struct bench *b)
{
	serve_at(b, b->server);
}

/* NAME is served with BODY instead. */
static inline void instead(
	struct bench *b, const char *path, const char *headers, const char *body, size_t size)
{
	scripted_rule(b->server,
		(struct scripted_rule){
			.path = path, .status = 200, .headers = headers, .body = body, .size = size});
}

/* Everything wants TOKEN but the realm, which answers REPLY. */
static inline void want_token(struct bench *b, const char *challenge, const char *reply)
{
	scripted_rule(b->server, (struct scripted_rule){.path = "/token", .status = 200, .body = reply});
	scripted_rule(
		b->server, (struct scripted_rule){.authorization = "", .status = 401, .headers = challenge});
}

static inline void put_auth(struct bench *b, const char *text)
{
	assert_int_equal(io_replace_file(b->state, "auth.json", text, strlen(text), 0600, NULL), 0);
}

static inline void log_in(struct bench *b, const char *plain)
{
	char *auth = keep(b, calloc(1, 200));

	assert_true(strlen(plain) < 100);
	EVP_EncodeBlock((unsigned char *)auth, (const unsigned char *)plain, (int)strlen(plain));
	put_auth(b, format(b, "{\"auths\":{\"%s\":{\"auth\":\"%s\"}}}", b->host, auth));
}

static inline int pull_as(struct bench *b, const char *name, struct op *op, struct err *e)
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

static inline int pull(struct bench *b)
{
	err_clear(&b->e);
	return pull_as(b, ":1", b->op, &b->e);
}

/* What is in the cache: all of it is whole and good, but for parts. The number of those that are whole. */
static inline size_t count_whole(struct bench *b)
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

static inline void assert_all_there(struct bench *b)
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

struct puller {
	struct bench *b;
	const char *name;
	struct op *op;
	int code;
	struct err e;
	pthread_t thread;
};

static inline void *run_puller(void *data)
{
	struct puller *p = data;

	p->code = pull_as(p->b, p->name, p->op, &p->e);
	return NULL;
}

static inline void puller_start(struct puller *p, struct bench *b, const char *name)
{
	*p = (struct puller){.b = b, .name = name, .code = 1};
	assert_int_equal(op_begin(b->ops, "pull", "images/y", &p->op, NULL), 0);
	assert_int_equal(pthread_create(&p->thread, NULL, run_puller, p), 0);
}

/* How it ended. */
static inline int puller_end(struct puller *p)
{
	assert_int_equal(pthread_join(p->thread, NULL), 0);
	err_clear(&p->e);
	op_end(p->op);
	op_unref(p->op);
	return p->code;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Of an array of TEST(). The machine's own proxy is none of this. */
#define run_pulls(tests)                                                                                     \
	(signal(SIGPIPE, SIG_IGN), unsetenv("http_proxy"), cmocka_run_group_tests(tests, NULL, NULL))

#endif
