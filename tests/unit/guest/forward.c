/* Connections carried to ports of the guest, against the guest's own agent. */
#include "tests/unit/guest/forward.h"

#include <fcntl.h>
#include <poll.h>

#include "guest/conduit.h"
#include "lib/need.h"

#define BIG   (3u << 20)
#define FLOOD (64u << 20)
/* What buffers of sockets, windows of the protocol and channel take in between. */
#define IN_BETWEEN (32u << 20)

static void on_over(void *user, int start, uint32_t kind, uint32_t code, const char *text)
{
	struct bench *b = user;

	(void)code;
	(void)text;
	b->over++;
	b->start = start;
	b->kind = kind;
}

static int on_door(sd_event_source *s, int fd, uint32_t revents, void *user)
{
	struct bench *b = user;
	struct conduit *c;
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	(void)s;
	(void)revents;
	assert_true(client >= 0);
	b->begun++;
	assert_int_equal(conduit_connect(b->agent, b->event, b->port, client, on_over, b, &c, NULL), 0);
	return 0;
}

/* Both threads to their ends, and N connections. */
static void run(struct bench *b, void *(*server)(void *), void *(*client)(void *), unsigned n)
{
	uint64_t end = io_now_usec() + PATIENCE;
	sd_event_source *s = NULL;
	pthread_t threads[2];

	assert_true(sd_event_add_io(b->event, &s, b->door, POLLIN, on_door, b) >= 0);
	assert_int_equal(pthread_create(&threads[0], NULL, server, b), 0);
	assert_int_equal(pthread_create(&threads[1], NULL, client, b), 0);
	while ((b->over < n || atomic_load(&b->ended) < 2) && io_now_usec() < end)
		sd_event_run(b->event, 20000);
	assert_int_equal(b->over, n);
	assert_int_equal(atomic_load(&b->ended), 2);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	sd_event_source_disable_unref(s);
}

static int dial(struct bench *b)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(b->door_port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return connect(fd, (struct sockaddr *)&in, sizeof(in)) < 0 ? close_fd(fd) : fd;
}

static void reset(int fd)
{
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
	close_fd(fd);
}

static uint8_t pattern(size_t at)
{
	return (uint8_t)(at * 31 + at / 251);
}

/* -errno */
static int send_pattern(int fd, size_t n)
{
	_cleanup_free_ uint8_t *data = malloc(n);

	for (size_t i = 0; i < n; i++)
		data[i] = pattern(i);
	return io_write_full(fd, data, n);
}

/* To the end: how many bytes of the pattern, or -errno; -EBADMSG other bytes. */
static ssize_t get_pattern(int fd)
{
	uint8_t piece[65536];
	size_t at = 0;
	ssize_t n;

	while ((n = read(fd, piece, sizeof(piece))) > 0)
		for (ssize_t i = 0; i < n; i++)
			if (piece[i] != pattern(at++))
				return -EBADMSG;
	return n < 0 ? -errno : (ssize_t)at;
}

static void *ends(struct bench *b)
{
	atomic_fetch_add(&b->ended, 1);
	return NULL;
}

static void *server_after(void *user)
{
	struct bench *b = user;
	_cleanup_close_ int fd = accept(b->listener, NULL, NULL);

	b->server_code = (int)get_pattern(fd);
	send_pattern(fd, BIG);
	return ends(b);
}

static void *client_first(void *user)
{
	struct bench *b = user;
	_cleanup_close_ int fd = dial(b);

	send_pattern(fd, BIG);
	shutdown(fd, SHUT_WR);
	b->client_code = (int)get_pattern(fd);
	return ends(b);
}

static void client_closes_its_half(void **state)
{
	struct bench *b = *state;

	run(b, server_after, client_first, 1);
	assert_int_equal(b->server_code, BIG);
	assert_int_equal(b->client_code, BIG);
	assert_int_equal(b->start, 0);
	assert_int_equal(b->kind, 0);
}

static void *server_first(void *user)
{
	struct bench *b = user;
	_cleanup_close_ int fd = accept(b->listener, NULL, NULL);

	send_pattern(fd, 3);
	shutdown(fd, SHUT_WR);
	b->server_code = (int)get_pattern(fd);
	return ends(b);
}

static void *client_after(void *user)
{
	struct bench *b = user;
	_cleanup_close_ int fd = dial(b);

	b->client_code = (int)get_pattern(fd);
	send_pattern(fd, BIG);
	return ends(b);
}

static void server_closes_its_half(void **state)
{
	struct bench *b = *state;

	run(b, server_first, client_after, 1);
	assert_int_equal(b->client_code, 3);
	assert_int_equal(b->server_code, BIG);
	assert_int_equal(b->kind, 0);
}

static void only_ip6(void **state)
{
	struct bench *b = *state;

	close_fd(b->listener);
	b->listener = listen_at(true, &b->port);
	need("ipv6", b->listener != -EAFNOSUPPORT && b->listener != -EADDRNOTAVAIL,
		"this machine has no IPv6");
	assert_true(b->listener >= 0);
	run(b, server_after, client_first, 1);
	assert_int_equal(b->client_code, BIG);
}

static void *nobody(void *user)
{
	return ends(user);
}

static void nothing_listens(void **state)
{
	struct bench *b = *state;

	b->listener = close_fd(b->listener);
	run(b, nobody, client_after, 1);
	assert_int_equal(b->start, -ECONNREFUSED);
	assert_int_equal(b->client_code, -ECONNRESET);
}

static void *server_resets(void *user)
{
	struct bench *b = user;
	int fd = accept(b->listener, NULL, NULL);
	uint8_t one;

	(void)!read(fd, &one, 1);
	reset(fd);
	return ends(b);
}

static void *client_waits(void *user)
{
	struct bench *b = user;
	_cleanup_close_ int fd = dial(b);

	send_pattern(fd, 1);
	b->client_code = (int)get_pattern(fd);
	return ends(b);
}

static void reset_by_the_server(void **state)
{
	struct bench *b = *state;

	run(b, server_resets, client_waits, 1);
	assert_int_equal(b->client_code, -ECONNRESET);
	assert_int_equal(b->kind, 2);
}

/* Sends for as long as somebody takes it. */
static void *server_floods(void *user)
{
	struct bench *b = user;
	_cleanup_close_ int fd = accept(b->listener, NULL, NULL);

	b->server_code = send_pattern(fd, FLOOD);
	return ends(b);
}

static void *client_resets(void *user)
{
	struct bench *b = user;
	int fd = dial(b);
	uint8_t piece[100000];

	b->client_code = io_read_full(fd, piece, sizeof(piece));
	reset(fd);
	return ends(b);
}

static void reset_by_the_client(void **state)
{
	struct bench *b = *state;

	run(b, server_floods, client_resets, 1);
	assert_int_equal(b->client_code, 0);
	assert_true(b->server_code == -ECONNRESET || b->server_code == -EPIPE);
	assert_int_equal(b->kind, 2);
}

static void *client_kills(void *user)
{
	struct bench *b = user;
	_cleanup_close_ int fd = dial(b);
	uint8_t one;

	b->client_code = io_read_full(fd, &one, 1);
	kill(b->pid, SIGKILL);
	while (b->client_code == 0)
		b->client_code = read(fd, &one, 1) < 0 ? -errno : 0;
	return ends(b);
}

static void the_guest_vanishes(void **state)
{
	struct bench *b = *state;

	run(b, server_floods, client_kills, 1);
	assert_int_equal(b->client_code, -ECONNRESET);
	assert_int_equal(b->kind, 2);
	assert_null(b->agent);
}

/* Until nothing has been taken for a while. */
static void *server_until_held(void *user)
{
	struct bench *b = user;
	_cleanup_close_ int fd = accept(b->listener, NULL, NULL);
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (b->sent < FLOOD) {
		uint8_t piece[4096];
		ssize_t n;

		for (size_t i = 0; i < sizeof(piece); i++)
			piece[i] = pattern(b->sent + i);
		n = write(fd, piece, sizeof(piece));
		b->sent += n > 0 ? (size_t)n : 0;
		if (n < 0 && poll(&p, 1, 1000) == 0)
			break;
	}
	b->held = b->sent < FLOOD;
	atomic_fetch_add(&b->ended, 1);
	return NULL;
}

static void *client_later(void *user)
{
	struct bench *b = user;
	_cleanup_close_ int fd = dial(b);

	while (atomic_load(&b->ended) == 0)
		usleep(10000);
	b->client_code = (int)get_pattern(fd);
	return ends(b);
}

static void held_up_by_who_does_not_read(void **state)
{
	struct bench *b = *state;

	run(b, server_until_held, client_later, 1);
	assert_true(b->held);
	assert_true(b->sent < IN_BETWEEN);
	assert_int_equal(b->client_code, b->sent);
}

static void *server_of_many(void *user)
{
	struct bench *b = user;

	for (int i = 0; i < MANY; i++) {
		_cleanup_close_ int fd = accept(b->listener, NULL, NULL);
		ssize_t n = get_pattern(fd);

		b->server_code += n > 0;
		send_pattern(fd, (size_t)n);
	}
	return ends(b);
}

static void *clients(void *user)
{
	struct bench *b = user;
	int fds[MANY];

	for (int i = 0; i < MANY; i++) {
		fds[i] = dial(b);
		send_pattern(fds[i], (size_t)i * 100 + 1);
	}
	for (int i = MANY - 1; i >= 0; i--)
		shutdown(fds[i], SHUT_WR);
	for (int i = 0; i < MANY; i++) {
		b->client_code += get_pattern(fds[i]) == i * 100 + 1;
		close_fd(fds[i]);
	}
	return ends(b);
}

static void many_at_once(void **state)
{
	struct bench *b = *state;

	run(b, server_of_many, clients, MANY);
	assert_int_equal(b->server_code, MANY);
	assert_int_equal(b->client_code, MANY);
	assert_int_equal(b->kind, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(client_closes_its_half),
		TEST(server_closes_its_half),
		TEST(only_ip6),
		TEST(nothing_listens),
		TEST(reset_by_the_server),
		TEST(reset_by_the_client),
		TEST(the_guest_vanishes),
		TEST(held_up_by_who_does_not_read),
		TEST(many_at_once),
	};

	return cmocka_run_group_tests(tests, own_network, NULL);
}
