/* The guest's own agent, and sockets on this host that stand for the guest's. */
#ifndef BANGER_TESTS_FORWARD_H
#define BANGER_TESTS_FORWARD_H

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "guest/agent.h"
#include "lib/own_network.h"
#include "tests/unit/guest/spawn.h"

#define PATIENCE 60000000 /* usec */
#define MANY     200      /* connections */

struct bench {
	sd_event *event;
	struct agent *agent;
	pid_t pid;
	int listener, door; /* the guest's, the host's */
	uint16_t port, door_port;
	unsigned begun, over;
	int start;
	uint32_t kind;
	atomic_int ended; /* threads */
	/* Of the threads: */
	int client_code, server_code;
	size_t sent;
	bool held;
	/* An answer. */
	bool answered;
	char *text;
};

static inline void on_lost(void *user, const struct err *why)
{
	struct bench *b = user;

	(void)why;
	b->agent = agent_free(b->agent);
}

/* At a port that the kernel chooses. */
static inline int listen_at(bool ip6, uint16_t *ret_port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr *at = ip6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in;
	socklen_t n = ip6 ? sizeof(in6) : sizeof(in);
	int fd = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, at, n) < 0) {
		int r = -errno;

		close_fd(fd);
		return r;
	}
	assert_int_equal(listen(fd, MANY), 0);
	assert_int_equal(getsockname(fd, at, &n), 0);
	*ret_port = ntohs(ip6 ? in6.sin6_port : in.sin_port);
	return fd;
}

static inline int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	signal(SIGPIPE, SIG_IGN);
	assert_true(sd_event_new(&b->event) >= 0);
	assert_int_equal(
		agent_new(b->event, guest_spawn("/tmp", 0, &b->pid), on_lost, b, &b->agent, NULL), 0);
	b->listener = listen_at(false, &b->port);
	b->door = listen_at(false, &b->door_port);
	assert_true(b->listener >= 0 && b->door >= 0);
	*state = b;
	return 0;
}

static inline int teardown(void **state)
{
	struct bench *b = *state;
	int status;

	agent_free(b->agent);
	close_fd(b->listener);
	close_fd(b->door);
	assert_int_equal(waitpid(b->pid, &status, 0), b->pid);
	sd_event_unref(b->event);
	free(b->text);
	free(b);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
