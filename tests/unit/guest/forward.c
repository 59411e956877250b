/* Connections carried to ports of the guest, and the list of what listens there, against the guest's own agent. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
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
#include "guest/conduit.h"
#include "guest/ports.h"
#include "tests/unit/guest/spawn.h"

#define PATIENCE 60000000 /* usec */
#define MANY     200
#define BIG      (3u << 20)
#define FLOOD    (64u << 20)
/* What buffers of sockets, windows of the protocol and channel take in between. */
#define IN_BETWEEN (32u << 20)

struct bench {
	sd_event *event;
	struct agent *agent;
	pid_t pid;
	int listener, door; /* the guest's, the host's */
	uint16_t port, door_port;
	bool ip6;
	unsigned begun, over;
	int start;
	uint32_t kind;
	atomic_int ended; /* threads */
	/* Of the threads: */
	int client_code, server_code;
	size_t sent, got;
	bool held;
	/* An answer. */
	bool answered;
	char *text;
};

static void on_lost(void *user, const struct err *why)
{
	struct bench *b = user;

	(void)why;
	b->agent = agent_free(b->agent);
}

/* At a port that the kernel chooses. */
static int listen_at(bool ip6, uint16_t *ret_port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr *at = ip6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in;
	socklen_t n = ip6 ? sizeof(in6) : sizeof(in);
	int fd = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, at, n) < 0)
		return close_fd(fd);
	assert_int_equal(listen(fd, MANY), 0);
	assert_int_equal(getsockname(fd, at, &n), 0);
	*ret_port = ntohs(ip6 ? in6.sin6_port : in.sin_port);
	return fd;
}

static int setup(void **state)
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

static int teardown(void **state)
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
	if (b->listener < 0) {
		skip();
		return;
	}
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

static void on_ports(void *user, int code, const void *data, size_t n)
{
	struct bench *b = user;
	size_t size;
	FILE *out;

	free(b->text);
	b->text = NULL;
	out = open_memstream(&b->text, &size);
	assert_int_equal(code, 0);
	assert_int_equal(ports_print(data, n, out), 0);
	fclose(out);
	b->answered = true;
}

/* The line of PORT, cut before the process's name. The caller's. */
static char *line_of(struct bench *b, uint16_t port)
{
	uint64_t end = io_now_usec() + PATIENCE;
	_cleanup_free_ char *wanted = NULL;
	uint32_t flags = AGENT_PORTS_FULL;
	char *at, *blank;

	b->answered = false;
	assert_int_equal(agent_request(b->agent, AGENT_PORTS, 0, &(struct agent_part){&flags, sizeof(flags)},
				 1, 0, on_ports, b, NULL, NULL),
		0);
	while (!b->answered && io_now_usec() < end)
		sd_event_run(b->event, 20000);
	assert_true(b->answered);
	assert_true(asprintf(&wanted, "%u ", port) > 0);
	at = b->text;
	while (at && strncmp(at, wanted, strlen(wanted)) != 0)
		at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL;
	if (!at)
		return NULL;
	blank = strchr(at, ' ');
	for (int i = 0; i < 4 && blank; i++)
		blank = strchr(blank + 1, ' ');
	assert_non_null(blank);
	return strndup(at, (size_t)(blank - at));
}

/* What it answers to anything, for as long as it lives. */
struct voice {
	const char *says;
	size_t n;
	bool echoes;
	int fd;
	atomic_uint asked;
};

static void *speak(void *user)
{
	struct voice *v = user;
	int fd;

	while ((fd = accept(v->fd, NULL, NULL)) >= 0) {
		uint8_t piece[512];
		ssize_t n = read(fd, piece, sizeof(piece));

		atomic_fetch_add(&v->asked, 1);
		if (n > 0)
			io_write_full(
				fd, v->echoes ? (const void *)piece : v->says, v->echoes ? (size_t)n : v->n);
		/* Silent ones wait for their peers. */
		if (v->n == 0)
			while (read(fd, piece, sizeof(piece)) > 0)
				continue;
		close_fd(fd);
	}
	return NULL;
}

static void what_listens(void **state)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\n\r\n", bad[] = "HTTP/1.1 400 Bad Request\r\n\r\n",
			  alert[] = "\x15\x03\x03\x00\x02\x02\x28",
			  hello[] = "\x16\x03\x03\x00\x05\x02\x00\x00\x01\x00",
			  ssh[] = "SSH-2.0-OpenSSH_9\r\n";
	static struct voice voices[] = {
		{.says = ok, .n = sizeof(ok) - 1},
		{.says = bad, .n = sizeof(bad) - 1},
		{.says = alert, .n = sizeof(alert) - 1},
		{.says = hello, .n = sizeof(hello) - 1},
		{.says = ssh, .n = sizeof(ssh) - 1},
		{.echoes = true},
		{.n = 0},
	};
	static const char *const speaks[] = {"http", "http", "https", "https", "-", "-", "-"};
	static const unsigned questions[] = {1, 2, 1, 1, 2, 2, 2};
	struct bench *b = *state;
	pthread_t threads[ELEMENTSOF(voices)];

	for (size_t i = 0; i < ELEMENTSOF(voices); i++) {
		uint64_t end = io_now_usec() + PATIENCE;
		_cleanup_free_ char *line = NULL, *wanted = NULL;
		uint16_t port;

		voices[i].fd = listen_at(false, &port);
		assert_int_equal(pthread_create(&threads[i], NULL, speak, &voices[i]), 0);
		assert_true(asprintf(&wanted, "%u tcp 127.0.0.1 %s %d", port, speaks[i], getpid()) > 0);
		/* At first it may not be known yet. */
		do {
			free(line);
			line = line_of(b, port);
			assert_non_null(line);
		} while (strstr(line, " ? ") && io_now_usec() < end);
		assert_string_equal(line, wanted);
		free(line);
		line = line_of(b, port);
		assert_string_equal(line, wanted);
		/* Never again, while it lives. */
		assert_int_equal(atomic_load(&voices[i].asked), questions[i]);
	}
	for (size_t i = 0; i < ELEMENTSOF(voices); i++) {
		shutdown(voices[i].fd, SHUT_RDWR);
		pthread_join(threads[i], NULL);
		close_fd(voices[i].fd);
	}
}

static void on_watched(void *user, int code, const void *data, size_t n)
{
	struct bench *b = user;

	(void)data;
	(void)n;
	b->answered = true;
	b->client_code = code;
}

static void on_changed(void *user, const void *data, size_t n)
{
	struct bench *b = user;

	(void)data;
	(void)n;
	b->begun++;
}

static void await_changes(struct bench *b, unsigned n)
{
	uint64_t end = io_now_usec() + PATIENCE;

	while (b->begun < n && io_now_usec() < end)
		sd_event_run(b->event, 20000);
	assert_int_equal(b->begun, n);
}

static void watched(void **state)
{
	struct bench *b = *state;
	uint64_t end = io_now_usec() + PATIENCE;
	uint32_t msec = 1;
	uint16_t port;
	int fd;

	agent_on_ports(b->agent, on_changed, b);
	assert_int_equal(agent_request(b->agent, AGENT_PORTS_WATCH, 0,
				 &(struct agent_part){&msec, sizeof(msec)}, 1, 0, on_watched, b, NULL, NULL),
		0);
	while (!b->answered && io_now_usec() < end)
		sd_event_run(b->event, 20000);
	assert_true(b->answered);
	assert_int_equal(b->client_code, 0);
	fd = listen_at(false, &port);
	await_changes(b, 1);
	close_fd(fd);
	await_changes(b, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(client_closes_its_half, setup, teardown),
		cmocka_unit_test_setup_teardown(server_closes_its_half, setup, teardown),
		cmocka_unit_test_setup_teardown(only_ip6, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_listens, setup, teardown),
		cmocka_unit_test_setup_teardown(reset_by_the_server, setup, teardown),
		cmocka_unit_test_setup_teardown(reset_by_the_client, setup, teardown),
		cmocka_unit_test_setup_teardown(the_guest_vanishes, setup, teardown),
		cmocka_unit_test_setup_teardown(held_up_by_who_does_not_read, setup, teardown),
		cmocka_unit_test_setup_teardown(many_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(what_listens, setup, teardown),
		cmocka_unit_test_setup_teardown(watched, setup, teardown),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
