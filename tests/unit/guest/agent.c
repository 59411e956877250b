/* The agent's client against a peer that keeps the protocol, and one that doesn't: requests and frames. */
#include "tests/unit/guest/agent.h"

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

/* An agent that was killed, and one that begins anew in its place. */
static void another_agent_has_begun(void **state)
{
	struct bench *b = *state;
	uint8_t hello[4 + AGENT_COOKIE] = {0};

	ask(b, 0);
	hello[4] = 1;
	say(b, AGENT_HELLO, 0, 0, hello, sizeof(hello));
	say(b, AGENT_HELLO, 0, 0, hello, 4);
	settle(b);
	assert_int_equal(b->lost, 0);
	hello[4] = 0;
	say(b, AGENT_HELLO, 0, 0, hello, sizeof(hello));
	settle(b);
	assert_int_equal(b->replies, 1);
	assert_int_equal(b->code, -ENOTCONN);
	assert_int_equal(b->lost, 1);
	assert_int_equal(b->lost_code, -ECONNRESET);
}

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
		TEST(another_agent_has_begun),
		TEST(freed_in_a_callback),
		TEST(times_out),
		TEST(others_have_their_turn),
		TEST(queue_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
