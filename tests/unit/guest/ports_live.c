/* The list of what listens in the guest, and that it has changed, against the guest's own agent. */
#include "tests/unit/guest/forward.h"

#include "guest/ports.h"

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
		uint16_t port = 0;

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
		TEST(what_listens),
		TEST(watched),
	};

	return cmocka_run_group_tests(tests, own_network, NULL);
}
