/* Pulls whose connections break, stall, or bring something else than was asked for: what is asked for again, and what is kept. */
#include "lib/pull_bench.h"

/* Its answers end after AT bytes: the first TO of them, 0: each. */
static void cut_off(struct bench *b, const struct text *layer, unsigned to, size_t at, bool ranges)
{
	scripted_rule(b->server, (struct scripted_rule){.path = layer->path,
					 .to = to,
					 .status = 200,
					 .body = layer->text,
					 .size = layer->size,
					 .how = SCRIPTED_CUT,
					 .cut = at,
					 .ranges = ranges});
}

static void test_cut(void **state)
{
	for (size_t tenth = 0; tenth < 10; tenth++) {
		struct bench *b = tenth ? again(state) : *state;
		const struct text *layer = &b->layers[1];
		size_t cut = tenth * LAYER_BYTES / 10;

		cut_off(b, layer, 1, cut, false);
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

	cut_off(b, layer, 0, LAYER_BYTES / 10, true);
	serve(b);
	assert_pulled(b);
	assert_int_equal(scripted_count(b->server, layer->path), 10);

	/* A byte each time gets nowhere. */
	b = again(state);
	layer = &b->layers[1];
	cut_off(b, layer, 0, 1, true);
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

	cut_off(b, layer, 1, 123456, false);
	scripted_rule(
		b->server, (struct scripted_rule){.path = layer->path, .from = 2, .to = 2, .status = 403});
	serve(b);
	assert_refused(b, -EACCES, layer->digest);
	assert_false(blobs_has(b->blobs, layer->digest));
	assert_false(blobs_has(b->blobs, b->manifest.digest));
	close_cache(b);
	open_cache(b, 1);
	assert_pulled(b);
	assert_string_equal(scripted_seen(b->server, layer->path, 3).range, "bytes=123456-");
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

		cut_off(b, layer, 1, 100000, false);
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

	cut_off(b, layer, 1, 100000, false);
	scripted_rule(b->server,
		(struct scripted_rule){
			.path = layer->path, .status = 200, .body = layer->text, .size = layer->size});
	serve(b);
	assert_pulled(b);
	assert_int_equal(scripted_count(b->server, layer->path), 2);

	/* Cut for ever by one that never goes on. */
	b = again(state);
	layer = &b->layers[1];
	cut_off(b, layer, 0, 100000, false);
	serve(b);
	assert_refused(b, -ECONNRESET, layer->digest);
	assert_true(scripted_count(b->server, layer->path) <= 2 * TRIES);
}

/* Less than was asked for is a server's right. */
static void test_small_ranges(void **state)
{
	struct bench *b = *state;
	const struct text *layer = &b->layers[1];

	cut_off(b, layer, 1, 100000, false);
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

int main(void)
{
	static const struct CMUnitTest tests[] = {
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
		TEST(test_slow),
		TEST(test_slow_for_ever),
	};

	return run_pulls(tests);
}
