/* Pulls that are led elsewhere: where to, how often, and what is said there. */
#include "lib/pull_bench.h"

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

/* CVE-2020-15157: where a manifest itself leads, with `urls`, nobody goes; the registry has the layer, or nobody has. */
static void test_foreign_urls(void **state)
{
	for (int missing = 0; missing < 2; missing++) {
		struct bench *b = missing ? again(state) : *state;
		const struct text *layer = &b->layers[0];
		char *text = b->manifest.text, *at = strstr(text, layer->digest) + strlen(layer->digest) + 1;

		text = format(b, "%.*s,\"urls\":[\"http://%s/layer\"]%s", (int)(at - text), text,
			b->other->host, at);
		set_text(b, &b->manifest, text, strlen(text), "manifests");
		log_in(b, "me:word");
		scripted_rule(b->server, (struct scripted_rule){.path = TAG,
						 .authorization = "",
						 .status = 401,
						 .headers = "WWW-Authenticate: Basic realm=\"x\"\r\n"});
		if (missing)
			scripted_rule(b->server, (struct scripted_rule){.path = layer->path, .status = 404});
		serve(b);
		if (missing)
			assert_refused(b, -ENOENT, layer->digest);
		else
			assert_pulled(b);
		assert_int_equal(scripted_count(b->other, NULL), 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_from_elsewhere),
		TEST(test_may_follow),
		TEST(test_redirect),
		TEST(test_redirect_challenge),
		TEST(test_redirect_nowhere),
		TEST(test_redirect_endless),
		TEST(test_foreign_urls),
	};

	return run_pulls(tests);
}
