/* The agent's client against a peer that keeps the protocol, and one that doesn't: jobs, and the credit of their streams. */
#include "tests/unit/guest/agent.h"

static struct agent_header hear(struct bench *b, void *data, size_t max)
{
	struct agent_header h;

	assert_int_equal(io_read_full(b->peer, &h, sizeof(h)), 0);
	assert_true(h.length <= max);
	assert_int_equal(io_read_full(b->peer, data, h.length), 0);
	return h;
}

static void on_started(void *user, int code)
{
	struct bench *b = user;

	b->started++;
	b->started_code = code;
}

static void on_output(void *user, int stream, const void *data, size_t n)
{
	struct bench *b = user;

	(void)data;
	b->got[stream] += n;
	b->eof[stream] = n == 0;
	if (b->free_in_output)
		b->agent = agent_free(b->agent);
}

static void on_writable(void *user)
{
	((struct bench *)user)->writable++;
}

static void on_ended(void *user, uint32_t kind, uint32_t code)
{
	struct bench *b = user;

	b->ended++;
	b->kind = kind;
	b->exit_code = code;
}

static const struct agent_job_events events = {
	.started = on_started, .output = on_output, .writable = on_writable, .ended = on_ended};

static struct agent_job *start(struct bench *b, uint32_t *ret_id)
{
	const struct agent_exec what = {.argv = (const char *const[]){"a", "", "b\nc", NULL}, .cwd = "/tmp"};
	struct agent_job *j;
	char payload[256];
	struct agent_header h;

	assert_int_equal(agent_exec(b->agent, &what, &events, b, &j, NULL), 0);
	h = hear(b, payload, sizeof(payload));
	assert_int_equal(h.type, AGENT_EXEC);
	assert_memory_equal(payload + 16, "a\0\0b\nc\0/tmp\0\0", 13);
	assert_int_equal(h.length, 16 + 13);
	*ret_id = h.id;
	return j;
}

static struct agent_job *run(struct bench *b, uint32_t *ret_id)
{
	struct agent_job *j = start(b, ret_id);

	say(b, AGENT_REPLY, 0, *ret_id, NULL, 0);
	settle(b);
	assert_int_equal(b->started, 1);
	return j;
}

static void job_lives(void **state)
{
	struct bench *b = *state;
	uint32_t id, v[2] = {0, 7};

	run(b, &id);
	say(b, AGENT_STDOUT, 0, id, "hello", 5);
	say(b, AGENT_STDERR, 0, id, "no", 2);
	say(b, AGENT_STDOUT, 0, id, NULL, 0);
	say(b, AGENT_STDERR, 0, id, NULL, 0);
	say(b, AGENT_EXIT, 0, id, v, sizeof(v));
	settle(b);
	assert_int_equal(b->got[1], 5);
	assert_int_equal(b->got[2], 2);
	assert_true(b->eof[1] && b->eof[2]);
	assert_int_equal(b->ended, 1);
	assert_int_equal(b->exit_code, 7);
	assert_int_equal(b->lost, 0);
}

/* The errno of a lost channel out of the guest's mouth is an answer as any other. */
static void job_refused(void **state)
{
	struct bench *b = *state;
	uint32_t id;

	start(b, &id);
	say(b, AGENT_REPLY, ENOTCONN, id, NULL, 0);
	settle(b);
	assert_int_equal(b->started, 1);
	assert_int_equal(b->started_code, -ENOTCONN);
	b->agent = agent_free(b->agent);
	assert_int_equal(b->started, 1);
	assert_int_equal(b->ended, 0);
}

static void job_lost(void **state)
{
	struct bench *b = *state;
	uint32_t id;

	run(b, &id);
	b->peer = close_fd(b->peer);
	settle(b);
	assert_int_equal(b->ended, 1);
	assert_int_equal(b->kind, 2);
	assert_int_equal(b->lost, 1);
}

static void flood(struct bench *b, uint32_t id, size_t n)
{
	static const uint8_t chunk[32768];

	for (; n > 0; n -= n < sizeof(chunk) ? n : sizeof(chunk)) {
		say(b, AGENT_STDOUT, 0, id, chunk, n < sizeof(chunk) ? (uint32_t)n : sizeof(chunk));
		settle(b);
	}
}

static void credit_is_kept_to(void **state)
{
	struct bench *b = *state;
	struct agent_job *j;
	struct agent_header h;
	uint32_t id, v[2];

	j = run(b, &id);
	flood(b, id, AGENT_WINDOW);
	assert_int_equal(b->lost, 0);
	assert_int_equal(b->got[1], AGENT_WINDOW);
	agent_job_consumed(j, 1, 100000);
	h = hear(b, v, sizeof(v));
	assert_int_equal(h.type, AGENT_CREDIT);
	assert_int_equal(v[0], 1);
	assert_int_equal(v[1], 100000);
	flood(b, id, 100000);
	assert_int_equal(b->lost, 0);
	say(b, AGENT_STDOUT, 0, id, "x", 1);
	expect_protocol_error(b);
	assert_int_equal(b->ended, 1);
}

static void credit_overflows(void **state)
{
	struct bench *b = *state;
	uint32_t id, v[2] = {0, 1};
	struct agent_job *j = run(b, &id);

	assert_int_equal(agent_job_room(j), AGENT_WINDOW);
	say(b, AGENT_CREDIT, 0, id, v, sizeof(v));
	expect_protocol_error(b);
}

static void input_needs_credit(void **state)
{
	struct bench *b = *state;
	static uint8_t data[AGENT_WINDOW];
	uint32_t id, v[2] = {0, 1000};
	struct agent_job *j = run(b, &id);

	assert_int_equal(agent_job_stdin(j, data, 1000), 0);
	assert_int_equal(agent_job_stdin(j, data, AGENT_WINDOW), -EAGAIN);
	say(b, AGENT_CREDIT, 0, id, v, sizeof(v));
	settle(b);
	assert_int_equal(b->writable, 1);
	assert_int_equal(agent_job_room(j), AGENT_WINDOW);
}

/* Refused for want of room in the queue; told when there is some. */
static void input_stalls(void **state)
{
	struct bench *b = *state;
	_cleanup_free_ uint8_t *big = calloc(1, AGENT_PAYLOAD_MAX), *there = malloc(1 << 20);
	uint32_t id;
	struct agent_job *j = run(b, &id);
	int r;

	do
		r = agent_request(b->agent, AGENT_FS_WRITE, 0,
			(struct agent_part[]){{big, AGENT_PAYLOAD_MAX}}, 1, 0, on_reply, b, NULL, NULL);
	while (r == 0);
	do
		r = agent_request(b->agent, AGENT_PING, 0, (struct agent_part[]){{big, 1000}}, 1, 0, on_reply,
			b, NULL, NULL);
	while (r == 0);
	assert_int_equal(agent_job_stdin(j, big, 1000), -EAGAIN);
	assert_int_equal(b->writable, 0);
	for (int i = 0; i < 100000 && b->writable == 0; i++) {
		(void)!read(b->peer, there, 1 << 20);
		sd_event_run(b->event, 0);
	}
	assert_int_equal(b->writable, 1);
	assert_int_equal(agent_job_stdin(j, big, 1000), 0);
	assert_int_equal(agent_job_room(j), AGENT_WINDOW - 1000);
}

static void after_the_end_of_a_stream(void **state)
{
	struct bench *b = *state;
	uint32_t id;

	run(b, &id);
	say(b, AGENT_STDERR, 0, id, NULL, 0);
	say(b, AGENT_STDERR, 0, id, "x", 1);
	expect_protocol_error(b);
}

static void output_before_the_start(void **state)
{
	struct bench *b = *state;
	uint32_t id;

	start(b, &id);
	say(b, AGENT_STDOUT, 0, id, "x", 1);
	expect_protocol_error(b);
	assert_int_equal(b->started, 1);
	assert_int_equal(b->got[1], 0);
}

static void bad_exit(void **state)
{
	struct bench *b = *state;
	uint32_t id, v[2] = {9, 0};

	run(b, &id);
	say(b, AGENT_EXIT, 0, id, v, sizeof(v));
	expect_protocol_error(b);
	assert_int_equal(b->kind, 2);
}

/* What nobody wants flows on, so that the job isn't held up. */
static void nobodys_output(void **state)
{
	struct bench *b = *state;
	struct agent_header h;
	uint32_t id, v[2];
	struct agent_job *j = run(b, &id);

	agent_job_release(j, true);
	h = hear(b, v, sizeof(v));
	assert_int_equal(h.type, AGENT_SIGNAL);
	assert_int_equal(v[0], 9);
	say(b, AGENT_STDERR, 0, id, "abc", 3);
	settle(b);
	h = hear(b, v, sizeof(v));
	assert_int_equal(h.type, AGENT_CREDIT);
	assert_int_equal(h.id, id);
	assert_int_equal(v[0], 2);
	assert_int_equal(v[1], 3);
	assert_int_equal(b->got[2], 0);
}

static void released_before_the_start(void **state)
{
	struct bench *b = *state;
	uint32_t id;

	agent_job_release(start(b, &id), false);
	say(b, AGENT_REPLY, 0, id, NULL, 0);
	settle(b);
	assert_int_equal(b->started, 0);
	assert_int_equal(b->lost, 0);
}

static void freed_by_a_jobs_watcher(void **state)
{
	struct bench *b = *state;
	uint32_t id;

	run(b, &id);
	b->free_in_output = true;
	say(b, AGENT_STDOUT, 0, id, "abc", 3);
	say(b, AGENT_STDOUT, 0, id, "abc", 3);
	settle(b);
	assert_null(b->agent);
	assert_int_equal(b->got[1], 3);
	assert_int_equal(b->ended, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(job_lives),
		TEST(job_refused),
		TEST(job_lost),
		TEST(credit_is_kept_to),
		TEST(credit_overflows),
		TEST(input_needs_credit),
		TEST(input_stalls),
		TEST(after_the_end_of_a_stream),
		TEST(output_before_the_start),
		TEST(bad_exit),
		TEST(nobodys_output),
		TEST(released_before_the_start),
		TEST(freed_by_a_jobs_watcher),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
