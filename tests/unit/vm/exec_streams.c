/* Jobs' streams in bulk: input, output, both at once, readers that are slow and none. */
#include "tests/unit/vm/exec.h"

static void input(void **state)
{
	struct bench *b = *state;
	struct exec *x = run(b, "sha256sum\n", true);
	_cleanup_free_ char *data = calloc(1, 2000000);
	size_t at = 0;
	uint64_t end = io_now_usec() + PATIENCE;

	assert_non_null(data);
	while (at < 2000000 && io_now_usec() < end) {
		ssize_t n = exec_stdin(x, data + at, 2000000 - at, NULL);

		assert_true(n >= 0);
		at += (size_t)n;
		if (n == 0)
			sd_event_run(b->event, 50000);
	}
	assert_int_equal(at, 2000000);
	assert_int_equal(exec_stdin_close(x), 0);
	assert_int_equal(exec_stdin(x, "x", 1, NULL), -EPIPE);
	UNTIL(b, state_of(x) == EXEC_EXITED);
	/* head -c 2000000 /dev/zero | sha256sum */
	expect_output(x, 1, "13aea96040f2133033d103008d5d96cfe98b3361f7202d77bea97b2424a7a6cd  -\n", 68);
}

/* What goes in comes out, both at once. */
static void both_ways(void **state)
{
	struct bench *b = *state;
	struct exec *x = run(b, "cat\n", true);
	_cleanup_free_ uint8_t *data = malloc(3000000), *back = malloc(3000000);
	uint64_t reader, offset = 0, lost = 0, end = io_now_usec() + PATIENCE;
	size_t at = 0;
	bool eof = false;

	assert_true(data && back);
	for (size_t i = 0; i < 3000000; i++)
		data[i] = (uint8_t)(i * i / 251);
	assert_int_equal(exec_reader_add(x, 1, &reader), 0);
	while (!eof && io_now_usec() < end) {
		ssize_t in = 0, out;

		if (at < 3000000) {
			in = exec_stdin(x, data + at, 3000000 - at < 100000 ? 3000000 - at : 100000, NULL);
			assert_true(in >= 0);
			at += (size_t)in;
			if (at == 3000000)
				exec_stdin_close(x);
		}
		out = exec_read(x, 1, &offset, back + offset,
			3000000 - offset < 60000 ? 3000000 - offset : 60000, &eof, &lost, NULL);
		assert_true(out >= 0);
		assert_int_equal(lost, 0);
		offset += (uint64_t)out;
		exec_reader_at(x, reader, offset);
		sd_event_run(b->event, in == 0 && out == 0 && !eof ? 50000 : 0);
	}
	assert_true(eof);
	assert_int_equal(offset, 3000000);
	assert_memory_equal(back, data, 3000000);
}

/* Nobody reads: the job runs on, and only the last of it is kept. */
static void flood_without_reader(void **state)
{
	struct bench *b = *state;
	struct exec *x = run(b, "yes\n0123456\n", false);
	uint64_t offset = 0, lost;
	bool eof;
	char buf[16];

	UNTIL(b, exec_size(x, 1) > 20u << 20);
	assert_true(kept_on_disk(b, "1.1") <= EXEC_KEEP_MAX + 16);
	assert_true(exec_first(x, 1) >= exec_size(x, 1) - EXEC_KEEP_MAX);
	assert_int_equal(exec_read(x, 1, &offset, buf, sizeof(buf), &eof, &lost, NULL), sizeof(buf));
	assert_int_equal(lost, exec_first(x, 1));
	assert_int_equal(offset, exec_first(x, 1));
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], "0123456\n"[(offset + i) % 8]);
	assert_int_equal(exec_delete(x, NULL), 0);
	assert_int_equal(b->gone, 1);
	assert_int_equal(kept_on_disk(b, "1.1"), -1);
	/* The guest's slot of it comes free: others go on. */
	x = run(b, "echo\nhere\n", false);
	UNTIL(b, state_of(x) == EXEC_EXITED);
	expect_output(x, 1, "here\n", 5);
}

/* A reader that stands still stops the job; one that reads gets every byte; when it goes the job flows. */
static void slow_reader(void **state)
{
	struct bench *b = *state;
	struct exec *x = run(b, "yes\n0123456\n", false);
	uint64_t reader, offset = 0, lost = 0, size;
	_cleanup_free_ char *buf = malloc(65536);
	bool eof;

	assert_int_equal(exec_reader_add(x, 1, &reader), 0);
	offset = exec_first(x, 1);
	UNTIL(b, exec_size(x, 1) > offset + EXEC_AHEAD);
	run_for(b, 300000);
	size = exec_size(x, 1);
	assert_true(size - offset <= EXEC_AHEAD + 2 * AGENT_WINDOW);
	run_for(b, 200000);
	assert_int_equal(exec_size(x, 1), size);
	while (offset < 16u << 20) {
		ssize_t n = exec_read(x, 1, &offset, buf, 65536, &eof, &lost, NULL);

		assert_true(n >= 0);
		assert_int_equal(lost, 0);
		for (ssize_t i = 0; i < n; i += 4001)
			assert_int_equal(buf[i], "0123456\n"[(offset + (uint64_t)i) % 8]);
		offset += (uint64_t)n;
		exec_reader_at(x, reader, offset);
		if (n == 0)
			sd_event_run(b->event, 50000);
	}
	exec_reader_remove(x, reader);
	size = exec_size(x, 1);
	UNTIL(b, exec_size(x, 1) > size + (8u << 20));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(input),
		TEST(both_ways),
		TEST(flood_without_reader),
		TEST(slow_reader),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
