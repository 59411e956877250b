/* The agent's client against a peer that keeps the protocol, and one that doesn't. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/socket.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "guest/agent.h"

struct bench {
	sd_event *event;
	int peer;
	struct agent *agent;
	int lost, lost_code;
	int replies, code;
	size_t size;
	bool free_in_reply, forget_other;
	uint32_t other;
	/* of a job */
	int started, started_code, ended, writable;
	uint32_t kind, exit_code;
	size_t got[3];
	bool eof[3], free_in_output;
};

static void on_lost(void *user, const struct err *why)
{
	struct bench *b = user;

	b->lost++;
	b->lost_code = why->code;
	b->agent = agent_free(b->agent);
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	int fds[2];

	assert_non_null(b);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	b->peer = fds[1];
	assert_true(sd_event_new(&b->event) >= 0);
	assert_int_equal(agent_new(b->event, fds[0], on_lost, b, &b->agent, NULL), 0);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	agent_free(b->agent);
	sd_event_unref(b->event);
	close_fd(b->peer);
	free(b);
	return 0;
}

/* Turns the loop until nothing more happens. */
static void settle(struct bench *b)
{
	while (sd_event_run(b->event, 0) > 0)
		continue;
}

static void say(struct bench *b, uint16_t type, uint16_t code, uint32_t id, const void *data, uint32_t n)
{
	struct agent_header h = {.length = n, .type = type, .code = code, .id = id};

	assert_int_equal(io_write_full(b->peer, &h, sizeof(h)), 0);
	assert_int_equal(io_write_full(b->peer, data, n), 0);
}

static struct agent_header hear(struct bench *b, void *data, size_t max)
{
	struct agent_header h;

	assert_int_equal(io_read_full(b->peer, &h, sizeof(h)), 0);
	assert_true(h.length <= max);
	assert_int_equal(io_read_full(b->peer, data, h.length), 0);
	return h;
}

static void on_reply(void *user, int code, const void *data, size_t n)
{
	struct bench *b = user;

	(void)data;
	b->replies++;
	b->code = code;
	b->size = n;
	if (b->forget_other) {
		b->forget_other = false;
		agent_forget(b->agent, b->other);
	}
	if (b->free_in_reply)
		b->agent = agent_free(b->agent);
}

static uint32_t ask(struct bench *b, unsigned timeout)
{
	uint32_t id;

	assert_int_equal(agent_request(b->agent, AGENT_PING, 0, NULL, 0, timeout, on_reply, b, &id, NULL), 0);
	return id;
}

static void answers_out_of_order(void **state)
{
	struct bench *b = *state;
	uint32_t one = ask(b, 0), two = ask(b, 0);

	assert_int_not_equal(one, two);
	say(b, AGENT_REPLY, 0, two, "abc", 3);
	settle(b);
	assert_int_equal(b->replies, 1);
	assert_int_equal(b->size, 3);
	say(b, AGENT_REPLY, ENOENT, one, NULL, 0);
	settle(b);
	assert_int_equal(b->replies, 2);
	assert_int_equal(b->code, -ENOENT);
}

static void byte_by_byte(void **state)
{
	struct bench *b = *state;
	struct agent_header h = {.length = 2, .type = AGENT_REPLY, .id = ask(b, 0)};
	uint8_t frame[14] = {0};

	memcpy(frame, &h, sizeof(h));
	for (size_t i = 0; i < sizeof(frame); i++) {
		assert_int_equal(b->replies, 0);
		assert_int_equal(io_write_full(b->peer, frame + i, 1), 0);
		settle(b);
	}
	assert_int_equal(b->replies, 1);
	assert_int_equal(b->lost, 0);
}

static void largest_frame(void **state)
{
	struct bench *b = *state;
	_cleanup_free_ uint8_t *big = calloc(1, AGENT_HEADER + AGENT_PAYLOAD_MAX);
	struct agent_header h = {.length = AGENT_PAYLOAD_MAX, .type = AGENT_REPLY, .id = ask(b, 0)};
	size_t at = 0;

	memcpy(big, &h, sizeof(h));
	while (at < AGENT_HEADER + AGENT_PAYLOAD_MAX) {
		ssize_t n = write(b->peer, big + at, AGENT_HEADER + AGENT_PAYLOAD_MAX - at);

		at += n > 0 ? (size_t)n : 0;
		settle(b);
	}
	assert_int_equal(b->replies, 1);
	assert_int_equal(b->size, AGENT_PAYLOAD_MAX);
}

static void answers_to_nobody(void **state)
{
	struct bench *b = *state;
	uint32_t id = ask(b, 0);

	agent_forget(b->agent, id);
	assert_int_equal(b->code, -ECANCELED);
	say(b, AGENT_REPLY, 0, id, NULL, 0);
	say(b, AGENT_REPLY, 0, id + 77, "x", 1);
	say(b, AGENT_REPLY, 0, 0, NULL, 0);
	settle(b);
	assert_int_equal(b->replies, 1);
	assert_int_equal(b->lost, 0);
}

static void expect_protocol_error(struct bench *b)
{
	settle(b);
	assert_int_equal(b->lost, 1);
	assert_int_equal(b->lost_code, -EPROTO);
	assert_null(b->agent);
}

static void too_long(void **state)
{
	struct bench *b = *state;
	struct agent_header h = {.length = AGENT_PAYLOAD_MAX + 1, .type = AGENT_REPLY, .id = ask(b, 0)};

	assert_int_equal(io_write_full(b->peer, &h, sizeof(h)), 0);
	expect_protocol_error(b);
	assert_int_equal(b->replies, 1);
	assert_int_equal(b->code, -EPROTO);
}

static void unknown_type(void **state)
{
	struct bench *b = *state;

	say(b, 4711, 0, 1, NULL, 0);
	expect_protocol_error(b);
}

static void requests_from_the_guest(void **state)
{
	struct bench *b = *state;

	say(b, AGENT_EXEC, 0, 1, NULL, 0);
	expect_protocol_error(b);
}

static void no_errno(void **state)
{
	struct bench *b = *state;

	say(b, AGENT_REPLY, 5000, ask(b, 0), NULL, 0);
	expect_protocol_error(b);
}

static void ends_in_a_frame(void **state)
{
	struct bench *b = *state;

	ask(b, 0);
	assert_int_equal(io_write_full(b->peer, "\1\0\0", 3), 0);
	settle(b);
	assert_int_equal(b->lost, 0);
	b->peer = close_fd(b->peer);
	settle(b);
	assert_int_equal(b->lost, 1);
	assert_int_equal(b->code, -ENOTCONN);
}

static void freed_in_a_callback(void **state)
{
	struct bench *b = *state;
	uint32_t one = ask(b, 0), two = ask(b, 0);

	b->free_in_reply = true;
	say(b, AGENT_REPLY, 0, one, NULL, 0);
	say(b, AGENT_REPLY, 0, two, NULL, 0);
	settle(b);
	assert_null(b->agent);
	assert_int_equal(b->replies, 2);
	assert_int_equal(b->code, -ECANCELED);
	assert_int_equal(b->lost, 0);
}

static void times_out(void **state)
{
	struct bench *b = *state;
	uint32_t late = ask(b, 20);
	uint64_t end = io_now_usec() + 5000000;

	ask(b, 60000);
	b->other = ask(b, 25);
	b->forget_other = true;
	while (b->replies < 2 && io_now_usec() < end)
		sd_event_run(b->event, 100000);
	assert_int_equal(b->replies, 2);
	say(b, AGENT_REPLY, 0, late, NULL, 0);
	settle(b);
	assert_int_equal(b->replies, 2);
	assert_int_equal(b->lost, 0);
}

static int tick(sd_event_source *s, uint64_t usec, void *user)
{
	(void)usec;
	++*(unsigned *)user;
	sd_event_source_set_time(s, io_now_usec());
	return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

/* However many small frames the guest sends, others on the loop have their turn between them, and all arrive. */
static void others_have_their_turn(void **state)
{
	struct bench *b = *state;
	uint32_t last = ask(b, 0);
	sd_event_source *timer = NULL;
	struct agent_header frames[4000];
	unsigned ticks = 0;

	for (size_t i = 0; i < ELEMENTSOF(frames); i++)
		frames[i] = (struct agent_header){.type = AGENT_REPLY, .id = last + 1};
	frames[ELEMENTSOF(frames) - 1].id = last;
	assert_int_equal(io_write_full(b->peer, frames, sizeof(frames)), 0);
	assert_true(sd_event_add_time(b->event, &timer, CLOCK_MONOTONIC, 0, 1, tick, &ticks) >= 0);
	for (int i = 0; i < 1000 && b->replies == 0; i++)
		sd_event_run(b->event, 0);
	assert_int_equal(b->replies, 1);
	assert_true(ticks >= 4);
	sd_event_source_disable_unref(timer);
}

/* A guest that takes nothing doesn't make the host keep everything. */
static void queue_is_bounded(void **state)
{
	struct bench *b = *state;
	_cleanup_free_ uint8_t *big = calloc(1, AGENT_PAYLOAD_MAX);
	int sent = 0, r;

	do
		r = agent_request(b->agent, AGENT_FS_WRITE, 0,
			(struct agent_part[]){{big, AGENT_PAYLOAD_MAX}}, 1, 0, on_reply, b, NULL, NULL);
	while (r == 0 && ++sent < 1000);
	assert_int_equal(r, -ENOBUFS);
	assert_in_range(sent, 100, 300);
	assert_int_equal(agent_request(b->agent, AGENT_FS_WRITE, 0,
				 (struct agent_part[]){{big, AGENT_PAYLOAD_MAX}, {big, 1}}, 2, 0, on_reply, b,
				 NULL, NULL),
		-EMSGSIZE);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(answers_out_of_order),
		TEST(byte_by_byte),
		TEST(largest_frame),
		TEST(answers_to_nobody),
		TEST(too_long),
		TEST(unknown_type),
		TEST(requests_from_the_guest),
		TEST(no_errno),
		TEST(ends_in_a_frame),
		TEST(freed_in_a_callback),
		TEST(times_out),
		TEST(others_have_their_turn),
		TEST(queue_is_bounded),
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

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
