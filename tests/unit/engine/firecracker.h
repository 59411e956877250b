/* A server at Firecracker's API socket: it keeps what it hears, and answers what a script has, or what a hostile VMM would. */
#ifndef BANGER_TESTS_FIRECRACKER_H
#define BANGER_TESTS_FIRECRACKER_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "engine/fc_machine.h"
#include "engine/engines.h"

#define REQUEST_MAX 16384

/* Answers that are no text. */
static const char HANG[] = "hang", CLOSE[] = "close", CANCEL[] = "cancel", HEADERS[] = "headers",
		  BODY[] = "body", DRIP[] = "drip";

#define NO_CONTENT "HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n"
#define JSON(status, text)                                                                                   \
	"HTTP/1.1 " status " \r\nServer: Firecracker API\r\nConnection: close\r\nContent-Type: "             \
	"application/json\r\n\r\n" text

struct server {
	char dir_name[32];
	int dir, listener, quit;
	pthread_t thread;
	const char *const *script; /* then NO_CONTENT for ever */
	struct op *op;
	unsigned connections;
	char *log; /* METHOD PATH BODY, a line each */
	size_t log_size;
	FILE *log_file;
};

/* False: end, or nothing more to hear. */
static inline bool wait_for(struct server *s, int fd, short events)
{
	struct pollfd p[] = {{.fd = s->quit, .events = POLLIN}, {.fd = fd, .events = events}};

	return poll(p, 2, -1) > 0 && !p[0].revents;
}

/* One request, into the log. */
static inline bool hear(struct server *s, int fd)
{
	char buf[REQUEST_MAX + 1], *end = NULL, *length;
	size_t have = 0, body = 0;

	while (!end || have < (size_t)(end + 4 - buf) + body) {
		ssize_t n;

		if (have == REQUEST_MAX || !wait_for(s, fd, POLLIN))
			return false;
		n = recv(fd, buf + have, REQUEST_MAX - have, 0);
		if (n <= 0)
			return false;
		have += (size_t)n;
		buf[have] = '\0';
		end = strstr(buf, "\r\n\r\n");
		length = strcasestr(buf, "Content-Length: ");
		if (end && length && length < end)
			body = strtoul(length + strlen("Content-Length: "), NULL, 10);
	}
	/* What its HTTP server doesn't know. */
	assert_null(strcasestr(buf, "Transfer-Encoding"));
	assert_null(strcasestr(buf, "Expect:"));
	*strstr(buf, " HTTP/1.1\r\n") = '\0';
	fprintf(s->log_file, "%s%s%.*s\n", buf, body ? " " : "", (int)body, end + 4);
	fflush(s->log_file);
	return true;
}

static inline bool say(struct server *s, int fd, const char *text, size_t n)
{
	while (n > 0) {
		ssize_t k;

		if (!wait_for(s, fd, POLLOUT))
			return false;
		k = send(fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (k < 0 && errno != EAGAIN)
			return false;
		if (k > 0) {
			text += k;
			n -= (size_t)k;
		}
	}
	return true;
}

/* Until the other end has enough. */
static inline void flood(struct server *s, int fd, const char *head, const char *unit)
{
	if (say(s, fd, head, strlen(head)))
		while (say(s, fd, unit, strlen(unit)))
			continue;
}

static inline void drip(struct server *s, int fd)
{
	struct pollfd p = {.fd = s->quit, .events = POLLIN};

	do
		if (!say(s, fd, "HTTP/1.1 100 Continue\r\n\r\n", 25))
			return;
	while (poll(&p, 1, 5) == 0);
}

static inline bool answer(struct server *s, int fd)
{
	const char *text = s->script && *s->script ? *s->script++ : NO_CONTENT;
	char byte;

	if (text == CLOSE)
		return false;
	if (text == CANCEL)
		op_cancel(s->op);
	if (text == HANG || text == CANCEL) {
		/* Until the client gives it up. */
		while (wait_for(s, fd, POLLIN) && recv(fd, &byte, 1, 0) > 0)
			continue;
		return false;
	}
	if (text == HEADERS)
		flood(s, fd, "HTTP/1.1 200 OK\r\n",
			"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
	else if (text == BODY)
		flood(s, fd, "HTTP/1.1 200 OK\r\n\r\n{\"a\": \"",
			"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	else if (text == DRIP)
		drip(s, fd);
	else
		return say(s, fd, text, strlen(text)) && !strstr(text, "Connection: close");
	return false;
}

static inline void *serve(void *user)
{
	struct server *s = user;

	while (wait_for(s, s->listener, POLLIN)) {
		_cleanup_close_ int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);

		s->connections++;
		while (hear(s, fd) && answer(s, fd))
			continue;
	}
	return NULL;
}

static inline void begin_dir(struct server *s)
{
	*s = (struct server){.dir_name = "/tmp/banger-fc.XXXXXX", .listener = -EBADF};
	assert_non_null(mkdtemp(s->dir_name));
	s->dir = open(s->dir_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(s->dir >= 0);
	assert_int_equal(mkdirat(s->dir, ENGINE_JAIL, 0700), 0);
}

static inline void begin(struct server *s, const char *const *script)
{
	begin_dir(s);
	s->script = script;
	s->quit = eventfd(0, EFD_CLOEXEC);
	s->log_file = open_memstream(&s->log, &s->log_size);
	assert_non_null(s->log_file);
	assert_int_equal(engine_listen(s->dir, ENGINE_API_SOCKET, &s->listener, NULL), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static inline void end_dir(struct server *s)
{
	unlinkat(s->dir, ENGINE_API_SOCKET, 0);
	unlinkat(s->dir, ENGINE_JAIL, AT_REMOVEDIR);
	close_fd(s->dir);
	assert_int_equal(rmdir(s->dir_name), 0);
}

/* What was heard stays in s->log until end(). */
static inline void finish(struct server *s)
{
	assert_int_equal(eventfd_write(s->quit, 1), 0);
	assert_int_equal(pthread_join(s->thread, NULL), 0);
	close_fd(s->quit);
	close_fd(s->listener);
	fclose(s->log_file);
}

static inline void end(struct server *s)
{
	end_dir(s);
	free(s->log);
}

#endif
