/*
 * A scripted HTTP/1.1 server for tests: on 127.0.0.1, at a port of its own, with a table of what to answer to the n-th request of a path,
 * and a memory of what it was asked. What is no HTTP (a TLS greeting) is counted and hung up on.
 *
 * Rules are added before requests come, or between them; any thread. In one file, to be included by one program.
 */
#ifndef BANGER_TESTS_SCRIPTED_HTTP_H
#define BANGER_TESTS_SCRIPTED_HTTP_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "banger/cleanup.h"
#include "banger/io.h"

enum scripted_how {
	SCRIPTED_WHOLE,
	SCRIPTED_CUT,   /* Content-Length of all of it, and the connection ends after CUT bytes of the body */
	SCRIPTED_STALL, /* CUT bytes of the body, then nothing, until the client goes */
	SCRIPTED_SILENT,  /* no answer at all, until the client goes */
	SCRIPTED_DRIBBLE, /* a byte every 50 ms */
	SCRIPTED_HANGUP,  /* no answer: the connection ends */
};

/* The first rule that fits answers. Texts and bodies are borrowed. */
struct scripted_rule {
	const char *path;   /* without the query; NULL: any */
	const char *method; /* NULL: any */
	unsigned from, to; /* numbers of the path's requests, from 1; TO 0: all later ones too; both 0: all */
	const char *authorization; /* fits only with this one; "": only without; NULL: any */
	int status;
	const char *headers; /* "Name: value\r\n..."; a %s in it is the server's "127.0.0.1:PORT" */
	const char *body;
	size_t size;
	enum scripted_how how;
	size_t cut;
	bool ranges; /* honours Range: 206, or 416 */
	int gate;    /* >0: a descriptor that must be readable before the answer goes */
};

#define SCRIPTED_RULES_MAX 64
#define SCRIPTED_SEEN_MAX  2048

struct scripted_request {
	char *method, *target /* with the query */, *authorization, *range, *body;
};

struct scripted {
	int listening, stop;
	unsigned short port;
	char host[32]; /* "127.0.0.1:PORT" */
	pthread_t acceptor;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct scripted_rule rules[SCRIPTED_RULES_MAX];
	size_t rule_count;
	struct scripted_request seen[SCRIPTED_SEEN_MAX];
	size_t seen_count;
	unsigned foreign; /* greetings of another protocol */
	unsigned connections;
};

struct scripted_connection {
	struct scripted *server;
	int fd;
};

/* Whether FD has something (or its end) to read; false: the server stops, or MSEC are over. */
static bool scripted_wait(struct scripted *s, int fd, int msec)
{
	struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = s->stop, .events = POLLIN}};

	return poll(p, 2, msec) > 0 && !p[1].revents;
}

static char *scripted_header(const char *head, const char *name)
{
	size_t n = strlen(name);

	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
		if (strncasecmp(line + 2, name, n) == 0 && line[2 + n] == ':') {
			const char *value = line + 3 + n;

			value += strspn(value, " ");
			return strndup(value, strcspn(value, "\r"));
		}
	return NULL;
}

/* One request, head and body; false: there is none. */
static bool scripted_read(struct scripted *s, int fd, struct scripted_request *ret)
{
	_cleanup_free_ char *length = NULL, *head = calloc(1, 65536);
	size_t n = 0, body = 0;
	char *end, *at = head, *line;

	while (!(end = strstr(head, "\r\n\r\n"))) {
		ssize_t got;

		if (n == 65535 || !scripted_wait(s, fd, -1))
			return false;
		got = read(fd, head + n, 1);
		if (got <= 0)
			return false;
		n++;
		if (n == 1 && (head[0] < 'A' || head[0] > 'Z')) {
			pthread_mutex_lock(&s->lock);
			s->foreign++;
			pthread_mutex_unlock(&s->lock);
			return false;
		}
	}
	length = scripted_header(head, "Content-Length");
	body = length ? (size_t)strtoul(length, NULL, 10) : 0;
	ret->authorization = scripted_header(head, "Authorization");
	ret->range = scripted_header(head, "Range");
	ret->body = calloc(1, body + 1);
	if (io_read_full(fd, ret->body, body) < 0)
		body = 0;
	line = strsep(&at, "\r");
	ret->method = strdup(strsep(&line, " "));
	ret->target = strdup(line ? strsep(&line, " ") : "");
	return true;
}

static bool scripted_same_path(const char *target, const char *path)
{
	return strlen(path) == strcspn(target, "?") && strncmp(target, path, strlen(path)) == 0;
}

static unsigned scripted_count_locked(const struct scripted *s, const char *path)
{
	unsigned n = 0;

	for (size_t i = 0; i < s->seen_count; i++)
		n += !path || scripted_same_path(s->seen[i].target, path);
	return n;
}

static bool scripted_fits(const struct scripted_rule *rule, const struct scripted_request *q, unsigned n)
{
	if (rule->path && !scripted_same_path(q->target, rule->path))
		return false;
	if (rule->method && strcmp(rule->method, q->method) != 0)
		return false;
	if (n < rule->from || (rule->to && n > rule->to))
		return false;
	return !rule->authorization ||
	       strcmp(rule->authorization, q->authorization ? q->authorization : "") == 0;
}

/* Remembers Q, and finds what to answer. */
static struct scripted_rule scripted_take(struct scripted *s, struct scripted_request *q)
{
	static const struct scripted_rule none = {.status = 404, .body = "{}", .size = 2};
	struct scripted_rule found = none;
	char path[1024];
	unsigned n;

	snprintf(path, sizeof(path), "%.*s", (int)strcspn(q->target, "?"), q->target);
	pthread_mutex_lock(&s->lock);
	n = scripted_count_locked(s, path) + 1;
	for (size_t i = 0; i < s->rule_count; i++)
		if (scripted_fits(&s->rules[i], q, n)) {
			found = s->rules[i];
			break;
		}
	if (s->seen_count == SCRIPTED_SEEN_MAX)
		abort();
	s->seen[s->seen_count++] = *q;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	return found;
}

static void scripted_linger(struct scripted *s, int fd)
{
	char buf[256];

	while (scripted_wait(s, fd, -1) && read(fd, buf, sizeof(buf)) > 0)
		;
}

static bool scripted_send_body(
	struct scripted *s, int fd, const struct scripted_rule *rule, const char *body, size_t size)
{
	size_t n = rule->how == SCRIPTED_CUT || rule->how == SCRIPTED_STALL
			   ? (rule->cut < size ? rule->cut : size)
			   : size;

	for (size_t i = 0; rule->how == SCRIPTED_DRIBBLE && i < n; i++) {
		struct pollfd stop = {.fd = s->stop, .events = POLLIN};

		if (send(fd, body + i, 1, MSG_NOSIGNAL) < 1 || poll(&stop, 1, 50) > 0)
			return false;
	}
	for (size_t done = 0; rule->how != SCRIPTED_DRIBBLE && done < n;) {
		ssize_t sent = send(fd, body + done, n - done, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		done += (size_t)sent;
	}
	if (rule->how == SCRIPTED_STALL)
		scripted_linger(s, fd);
	return rule->how == SCRIPTED_WHOLE;
}

/* False: the connection ends. */
static bool scripted_answer(
	struct scripted *s, int fd, const struct scripted_rule *rule, const struct scripted_request *q)
{
	_cleanup_free_ char *head = NULL, *extra = NULL, *part = NULL;
	size_t from = 0, size = rule->size;
	int status = rule->status, n;

	if (rule->gate > 0 && !scripted_wait(s, rule->gate, -1))
		return false;
	if (rule->how == SCRIPTED_SILENT)
		scripted_linger(s, fd);
	if (rule->how == SCRIPTED_SILENT || rule->how == SCRIPTED_HANGUP)
		return false;
	if (rule->ranges && q->range && strncmp(q->range, "bytes=", 6) == 0) {
		from = strtoul(q->range + 6, NULL, 10);
		status = from < size ? 206 : 416;
		n = asprintf(&part, "Content-Range: bytes %zu-%zu/%zu\r\n", from, size - 1, size);
		if (n < 0 || status == 416)
			from = size;
	}
	if (rule->headers) {
		const char *at = strstr(rule->headers, "%s");
		size_t before = at ? (size_t)(at - rule->headers) : strlen(rule->headers);

		n = asprintf(
			&extra, "%.*s%s%s", (int)before, rule->headers, at ? s->host : "", at ? at + 2 : "");
	}
	n = asprintf(&head, "HTTP/1.1 %d Scripted\r\n%s%sContent-Length: %zu\r\n\r\n", status,
		extra ? extra : "", part && status == 206 ? part : "", size - from);
	if (n < 0 || send(fd, head, (size_t)n, MSG_NOSIGNAL) != n)
		return false;
	if (strcmp(q->method, "HEAD") == 0)
		return true;
	return scripted_send_body(s, fd, rule, rule->body + from, size - from);
}

static void *scripted_serve(void *data)
{
	struct scripted_connection *c = data;
	bool on = true;

	while (on) {
		struct scripted_request q = {0};
		struct scripted_rule rule;

		if (!scripted_read(c->server, c->fd, &q))
			break;
		rule = scripted_take(c->server, &q);
		on = scripted_answer(c->server, c->fd, &rule, &q);
	}
	close_fd(c->fd);
	pthread_mutex_lock(&c->server->lock);
	c->server->connections--;
	pthread_cond_broadcast(&c->server->changed);
	pthread_mutex_unlock(&c->server->lock);
	free(c);
	return NULL;
}

static void *scripted_accept(void *data)
{
	struct scripted *s = data;

	while (scripted_wait(s, s->listening, -1)) {
		struct scripted_connection *c = malloc(sizeof(*c));
		pthread_t thread;

		*c = (struct scripted_connection){s, accept4(s->listening, NULL, NULL, SOCK_CLOEXEC)};
		pthread_mutex_lock(&s->lock);
		s->connections++;
		pthread_mutex_unlock(&s->lock);
		if (c->fd < 0 || pthread_create(&thread, NULL, scripted_serve, c) != 0)
			abort();
		pthread_detach(thread);
	}
	return NULL;
}

static struct scripted *scripted_new(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct scripted *s = calloc(1, sizeof(*s));
	socklen_t n = sizeof(at);

	s->stop = eventfd(0, EFD_CLOEXEC);
	s->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	if (bind(s->listening, (struct sockaddr *)&at, n) < 0 || listen(s->listening, 64) < 0 ||
		getsockname(s->listening, (struct sockaddr *)&at, &n) < 0)
		abort();
	s->port = ntohs(at.sin_port);
	snprintf(s->host, sizeof(s->host), "127.0.0.1:%u", s->port);
	if (pthread_create(&s->acceptor, NULL, scripted_accept, s) != 0)
		abort();
	return s;
}

static void scripted_free(struct scripted *s)
{
	eventfd_write(s->stop, 1);
	pthread_join(s->acceptor, NULL);
	pthread_mutex_lock(&s->lock);
	while (s->connections > 0)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
	for (size_t i = 0; i < s->seen_count; i++) {
		free(s->seen[i].method);
		free(s->seen[i].target);
		free(s->seen[i].authorization);
		free(s->seen[i].range);
		free(s->seen[i].body);
	}
	close_fd(s->listening);
	close_fd(s->stop);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static void scripted_rule(struct scripted *s, struct scripted_rule rule)
{
	if (rule.body && !rule.size)
		rule.size = strlen(rule.body);
	if (!rule.body)
		rule.body = "";
	pthread_mutex_lock(&s->lock);
	if (s->rule_count == SCRIPTED_RULES_MAX)
		abort();
	s->rules[s->rule_count++] = rule;
	pthread_mutex_unlock(&s->lock);
}

/* How often PATH was asked for; NULL: all requests. */
static unsigned scripted_count(struct scripted *s, const char *path)
{
	unsigned n;

	pthread_mutex_lock(&s->lock);
	n = scripted_count_locked(s, path);
	pthread_mutex_unlock(&s->lock);
	return n;
}

/* Blocks until PATH was asked for N times. */
static inline void scripted_await(struct scripted *s, const char *path, unsigned n)
{
	pthread_mutex_lock(&s->lock);
	while (scripted_count_locked(s, path) < n)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

/* The N-th request of PATH, from 1; it stays as it is until scripted_free(). */
static inline struct scripted_request scripted_seen(struct scripted *s, const char *path, unsigned n)
{
	struct scripted_request found = {0};

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->seen_count && n > 0; i++)
		if (scripted_same_path(s->seen[i].target, path) && --n == 0)
			found = s->seen[i];
	pthread_mutex_unlock(&s->lock);
	return found;
}

#endif
