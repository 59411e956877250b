/* Several pulls at once of the same layers, and those that are stopped. */
#include "lib/pull_bench.h"

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
		be_patient(b);
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

	be_patient(b);
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

	be_patient(b);
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

	be_patient(b);
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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_cancel),
		TEST(test_shared),
		TEST(test_shared_ends),
		TEST(test_shared_failure),
	};

	return run_pulls(tests);
}
