/* The agent's client, and a peer that says what a test wants. */
#ifndef BANGER_TESTS_AGENT_H
#define BANGER_TESTS_AGENT_H

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

static inline void on_lost(void *user, const struct err *why)
{
	struct bench *b = user;

	b->lost++;
	b->lost_code = why->code;
	b->agent = agent_free(b->agent);
}

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
	struct bench *b = *state;

	agent_free(b->agent);
	sd_event_unref(b->event);
	close_fd(b->peer);
	free(b);
	return 0;
}

/* Turns the loop until nothing more happens. */
static inline void settle(struct bench *b)
{
	while (sd_event_run(b->event, 0) > 0)
		continue;
}

static inline void say(
	struct bench *b, uint16_t type, uint16_t code, uint32_t id, const void *data, uint32_t n)
{
	struct agent_header h = {.length = n, .type = type, .code = code, .id = id};

	assert_int_equal(io_write_full(b->peer, &h, sizeof(h)), 0);
	assert_int_equal(io_write_full(b->peer, data, n), 0);
}

static inline void on_reply(void *user, int code, const void *data, size_t n)
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

static inline void expect_protocol_error(struct bench *b)
{
	settle(b);
	assert_int_equal(b->lost, 1);
	assert_int_equal(b->lost_code, -EPROTO);
	assert_null(b->agent);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
