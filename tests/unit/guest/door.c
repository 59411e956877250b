/* Who knocks at the agent's vsock: the host is who says the token, and nobody else is heard, nor in its way. A unix socket stands for the vsock. */
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "banger/agent_proto.h"
#include "spawn.h"

#define SILENT       1000
#define PATIENT_MSEC 60000

static const uint8_t token[AGENT_TOKEN] = "0123456789abcdef0123456789abcde";
static const char digits[] = "3031323334353637383961626364656630313233343536373839616263646500";

struct door_test {
	struct sockaddr_un address;
	socklen_t size;
	pid_t agent;
};

static int begin(void **state)
{
	struct door_test *t = calloc(1, sizeof(*t));
	_cleanup_close_ int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char path[4096];

	assert_non_null(t);
	assert_int_equal(guest_path(path, sizeof(path)), 0);
	/* A name of the kernel's choice. */
	t->address.sun_family = AF_UNIX;
	assert_int_equal(bind(listener, (struct sockaddr *)&t->address, sizeof(sa_family_t)), 0);
	t->size = sizeof(t->address);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&t->address, &t->size), 0);
	assert_int_equal(listen(listener, SOMAXCONN), 0);
	t->agent = fork();
	assert_true(t->agent >= 0);
	if (t->agent == 0) {
		dup2(listener, 3);
		fcntl(3, F_SETFD, 0);
		execl(path, "banger-guest", "agent", "--fd", "3", "--root", "/tmp", "--listen", digits, NULL);
		_exit(127);
	}
	*state = t;
	return 0;
}

static int end(void **state)
{
	struct door_test *t = *state;

	kill(t->agent, SIGKILL);
	assert_int_equal(waitpid(t->agent, NULL, 0), t->agent);
	free(t);
	return 0;
}

static int knock(const struct door_test *t)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&t->address, t->size), 0);
	return fd;
}

static int hello(int fd, const uint8_t *say, unsigned msec)
{
	char boot_id[40];

	return agent_hello(fd, say, msec, -1, -1, boot_id, NULL);
}

/* It is hung up on, whatever of it was read. */
static bool refused(int fd, const uint8_t *say)
{
	int r = hello(fd, say, PATIENT_MSEC);

	return r == -EPIPE || r == -ECONNRESET;
}

static bool ready(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, PATIENT_MSEC) == 1;
}

/* The other end closes FD, and has said nothing. */
static void is_shut_out(int fd)
{
	char byte;

	assert_true(ready(fd));
	assert_true(recv(fd, &byte, 1, 0) <= 0);
	close_fd(fd);
}

static void is_served(int fd)
{
	struct agent_header ping = {.type = AGENT_PING, .id = 7}, answer;

	assert_int_equal(io_write_full(fd, &ping, sizeof(ping)), 0);
	assert_true(ready(fd));
	assert_int_equal(recv(fd, &answer, sizeof(answer), MSG_WAITALL), sizeof(answer));
	assert_int_equal(answer.type, AGENT_REPLY);
	assert_int_equal(answer.id, 7);
}

static void the_host_is_served(void **state)
{
	int fd = knock(*state);

	assert_int_equal(hello(fd, token, PATIENT_MSEC), 0);
	is_served(fd);
	close_fd(fd);
}

static void others_are_shut_out(void **state)
{
	uint8_t wrong[AGENT_TOKEN];
	char garbage[AGENT_HEADER + 4 + AGENT_COOKIE + AGENT_TOKEN];
	int fd;

	/* Each bit of it counts. */
	for (unsigned bit = 0; bit < 8 * AGENT_TOKEN; bit++) {
		memcpy(wrong, token, sizeof(wrong));
		wrong[bit / 8] ^= (uint8_t)(1 << bit % 8);
		fd = knock(*state);
		assert_true(refused(fd, wrong));
		close_fd(fd);
	}
	/* One without a token is no whole HELLO; with what follows it is none that has one. */
	fd = knock(*state);
	assert_int_equal(hello(fd, NULL, 100), -ETIMEDOUT);
	memset(garbage, 0, sizeof(garbage));
	assert_int_equal(io_write_full(fd, garbage, sizeof(garbage)), 0);
	is_shut_out(fd);
	fd = knock(*state);
	memset(garbage, 1, sizeof(garbage));
	assert_int_equal(io_write_full(fd, garbage, sizeof(garbage)), 0);
	is_shut_out(fd);
	the_host_is_served(state);
}

/* The token is of use at the beginning alone: behind another frame it is neither looked for nor found. */
static void nothing_comes_before(void **state)
{
	struct agent_header ping = {.type = AGENT_PING, .id = 7};
	int fd = knock(*state);

	assert_int_equal(io_write_full(fd, &ping, sizeof(ping)), 0);
	assert_true(refused(fd, token));
	close_fd(fd);
}

static void in_pieces(void **state)
{
	struct {
		struct agent_header header;
		uint32_t version;
		uint8_t cookie[AGENT_COOKIE], token[AGENT_TOKEN];
	} __attribute__((packed))
	said = {.header = {.length = 4 + AGENT_COOKIE + AGENT_TOKEN, .type = AGENT_HELLO},
		.version = AGENT_VERSION};
	uint8_t answer[AGENT_HEADER + 4 + AGENT_COOKIE + 8 + 36];
	int fd = knock(*state);

	memcpy(said.token, token, sizeof(said.token));
	for (size_t i = 0; i < sizeof(said); i++)
		assert_int_equal(io_write_full(fd, (const char *)&said + i, 1), 0);
	assert_true(ready(fd));
	assert_int_equal(recv(fd, answer, sizeof(answer), MSG_WAITALL), sizeof(answer));
	is_served(fd);
	close_fd(fd);
}

/* A new daemon, before the one before is known to have gone. */
static void the_next_host(void **state)
{
	int old = knock(*state), new = knock(*state);

	assert_int_equal(hello(old, token, PATIENT_MSEC), 0);
	assert_int_equal(hello(new, token, PATIENT_MSEC), 0);
	is_shut_out(old);
	is_served(new);
	close_fd(new);
}

/* Silent ones in front of the host and behind it: it is heard, and stays heard. */
static void a_crowd(void **state)
{
	struct rlimit files = {SILENT + 256, SILENT + 256};
	static int crowd[SILENT];
	int before = knock(*state), host;

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
	assert_int_equal(hello(before, token, PATIENT_MSEC), 0);
	for (size_t i = 0; i < SILENT / 2; i++)
		crowd[i] = knock(*state);
	is_served(before);
	close_fd(before);
	host = knock(*state);
	for (size_t i = SILENT / 2; i < SILENT; i++)
		crowd[i] = knock(*state);
	/* It may have had to make room before it said who it is: then it comes once more. */
	while (hello(host, token, PATIENT_MSEC) < 0) {
		close_fd(host);
		host = knock(*state);
	}
	is_served(host);
	/* Nobody of the first is there any more; the last are, and say who they aren't. */
	is_shut_out(crowd[0]);
	assert_true(refused(crowd[SILENT - 1], (const uint8_t *)digits));
	is_served(host);
	close_fd(host);
	for (size_t i = 1; i < SILENT; i++)
		close_fd(crowd[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_host_is_served, begin, end),
		cmocka_unit_test_setup_teardown(others_are_shut_out, begin, end),
		cmocka_unit_test_setup_teardown(nothing_comes_before, begin, end),
		cmocka_unit_test_setup_teardown(in_pieces, begin, end),
		cmocka_unit_test_setup_teardown(the_next_host, begin, end),
		cmocka_unit_test_setup_teardown(a_crowd, begin, end),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
