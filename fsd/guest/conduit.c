#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "banger/cleanup.h"
#include "guest/conduit.h"

#define PIECE    (64u * 1024)
#define TEXT_MAX 1024

struct conduit {
	struct agent_job *job; /* NULL: it has ended */
	bool connection;       /* a port's, not a program's */
	bool broken;           /* a connection that takes nothing more */
	bool output_ended;     /* likewise: that half is to be closed when all was given */
	int sock;
	sd_event_source *io;
	conduit_done_fn done;
	void *user;
	bool input_ended; /* the worker's end; told, or to be told */
	bool end_told;
	bool running;
	uint8_t *out; /* what the socket did not take; bounded by the credit that isn't given back */
	size_t out_at, out_n;
	bool over;
	uint32_t kind, code;
	char text[TEXT_MAX];
	size_t text_n;
	uint8_t piece[PIECE]; /* from the worker; PIECE_N bytes of it are not yet said */
	size_t piece_n;
};

static void watch(struct conduit *c)
{
	bool input = c->job && c->running && !c->input_ended && c->piece_n == 0 && agent_job_room(c->job) > 0;

	sd_event_source_set_io_events(
		c->io, (input ? (uint32_t)EPOLLIN : 0) | (c->out_n > 0 ? (uint32_t)EPOLLOUT : 0));
}

static void destroy(struct conduit *c)
{
	sd_event_source_disable_unref(c->io);
	close_fd(c->sock);
	free(c->out);
	free(c);
}

static void end(struct conduit *c, int start)
{
	conduit_done_fn done = c->done;
	void *user = c->user;
	char text[TEXT_MAX];
	uint32_t kind = c->kind, code = c->code;

	memcpy(text, c->text, c->text_n);
	text[c->text_n] = '\0';
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 127)
			*p = ' ';
	while (c->text_n > 0 && text[c->text_n - 1] == ' ')
		text[--c->text_n] = '\0';
	/* It did not end in order: nor shall it look so to who is connected. */
	if (c->connection && (start < 0 || kind != 0))
		setsockopt(c->sock, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1},
			sizeof(struct linger));
	destroy(c);
	done(user, start, kind, code, text);
}

static void say_end(struct conduit *c)
{
	if (c->job && c->running && !c->end_told)
		c->end_told = agent_job_stdin(c->job, NULL, 0) != -EAGAIN;
}

/* From the worker to the program. */
static void take_input(struct conduit *c)
{
	while (c->job && c->running && !c->input_ended) {
		size_t room = agent_job_room(c->job);
		ssize_t n;

		if (c->piece_n == 0) {
			if (room == 0)
				break;
			n = recv(c->sock, c->piece, room < PIECE ? room : PIECE, MSG_DONTWAIT);
			if (n < 0 && (errno == EAGAIN || errno == EINTR))
				break;
			if (n <= 0) {
				c->input_ended = true;
				say_end(c);
				break;
			}
			c->piece_n = (size_t)n;
		}
		/* Not now, or not any more: `writable` or `ended` will say. */
		if (agent_job_stdin(c->job, c->piece, c->piece_n) < 0)
			break;
		c->piece_n = 0;
	}
	watch(c);
}

/* To the worker; returns how much it took. */
static size_t put(struct conduit *c, const uint8_t *data, size_t size)
{
	size_t at = 0;

	while (at < size) {
		ssize_t n = send(c->sock, data + at, size - at, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		/* It has gone: swallowed, so that the program comes to its end; a connection is ended at the loop's next turn. */
		c->broken = n < 0 && c->connection;
		at += n < 0 ? size - at : (size_t)n;
	}
	if (c->job && at > 0)
		agent_job_consumed(c->job, 1, at);
	return at;
}

/* What waits, to the worker; true: nothing waits any more. */
static bool give_output(struct conduit *c)
{
	size_t n = put(c, c->out + c->out_at, c->out_n);

	c->out_at += n;
	c->out_n -= n;
	if (c->out_n > 0)
		return false;
	c->out_at = 0;
	if (c->output_ended)
		shutdown(c->sock, SHUT_WR);
	c->output_ended = false;
	return true;
}

/* Whoever was connected has gone in the middle: so does the connection in the guest. */
static void break_off(struct conduit *c)
{
	if (c->job)
		agent_job_release(c->job, true);
	c->job = NULL;
	c->kind = 2;
	end(c, 0);
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *user)
{
	struct conduit *c = user;

	(void)s;
	(void)fd;
	if (c->connection && (c->broken || (revents & EPOLLERR))) {
		break_off(c);
		return 0;
	}
	if (revents & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
		if (give_output(c) && c->over) {
			end(c, 0);
			return 0;
		}
	}
	take_input(c);
	/* Nobody is at the other end: told again and again, until what it has left can be read, or for good. */
	if ((revents & (EPOLLHUP | EPOLLERR)) && c->out_n == 0)
		sd_event_source_set_enabled(c->io, SD_EVENT_OFF);
	return 0;
}

static void on_started(void *user, int code)
{
	struct conduit *c = user;

	if (code < 0) {
		c->job = NULL;
		end(c, code);
		return;
	}
	c->running = true;
	sd_event_source_set_enabled(c->io, SD_EVENT_ON);
	take_input(c);
}

static void on_output(void *user, int stream, const void *data, size_t n)
{
	struct conduit *c = user;
	size_t over;

	if (n == 0) {
		c->output_ended = c->connection && stream == 1;
		give_output(c);
		return;
	}
	if (stream == 2) {
		const char *text = data;

		if (n > TEXT_MAX - 1) {
			text += n - (TEXT_MAX - 1);
			over = c->text_n;
		} else {
			over = c->text_n + n > TEXT_MAX - 1 ? c->text_n + n - (TEXT_MAX - 1) : 0;
		}
		memmove(c->text, c->text + over, c->text_n - over);
		c->text_n -= over;
		over = n < TEXT_MAX - 1 ? n : TEXT_MAX - 1;
		memcpy(c->text + c->text_n, text, over);
		c->text_n += over;
		agent_job_consumed(c->job, 2, n);
		return;
	}
	over = c->out_n == 0 ? put(c, data, n) : 0;
	data = (const uint8_t *)data + over;
	n -= over;
	if (n == 0)
		return;
	if (!c->out)
		c->out = malloc(AGENT_WINDOW);
	if (c->out && c->out_at > 0) {
		memmove(c->out, c->out + c->out_at, c->out_n);
		c->out_at = 0;
	}
	/* Within the window, as the agent's client has checked. */
	if (!c->out || n > AGENT_WINDOW - c->out_n) {
		c->broken = c->connection;
		agent_job_consumed(c->job, 1, n);
		return;
	}
	memcpy(c->out + c->out_n, data, n);
	c->out_n += n;
	watch(c);
}

static void on_writable(void *user)
{
	struct conduit *c = user;

	if (c->input_ended) {
		say_end(c);
		return;
	}
	sd_event_source_set_enabled(c->io, SD_EVENT_ON);
	take_input(c);
}

static void on_ended(void *user, uint32_t kind, uint32_t code)
{
	struct conduit *c = user;

	c->job = NULL;
	c->over = true;
	c->kind = kind;
	c->code = code;
	if (give_output(c))
		end(c, 0);
	else
		watch(c);
}

static const struct agent_job_events events = {
	.started = on_started,
	.output = on_output,
	.writable = on_writable,
	.ended = on_ended,
};

/* SOCK is taken, also on failure. */
static int conduit_new(
	sd_event *event, int sock, conduit_done_fn done, void *user, struct conduit **ret, struct err *e)
{
	struct conduit *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		close_fd(sock);
		return err_sys(e, -ENOMEM, "job");
	}
	c->sock = sock;
	c->done = done;
	c->user = user;
	r = fcntl(sock, F_SETFL, O_NONBLOCK) < 0 ? -errno : sd_event_add_io(event, &c->io, sock, 0, on_io, c);
	if (r < 0) {
		destroy(c);
		return err_sys(e, r, "job");
	}
	*ret = c;
	return 0;
}

int conduit_start(struct agent *a, sd_event *event, const struct agent_exec *what, int sock,
	conduit_done_fn done, void *user, struct conduit **ret, struct err *e)
{
	struct agent_exec mine = *what;
	struct conduit *c = NULL;
	int r = conduit_new(event, sock, done, user, &c, e);

	if (r < 0)
		return r;
	mine.want_stdin = true;
	r = agent_exec(a, &mine, &events, c, &c->job, e);
	if (r < 0)
		destroy(c);
	else
		*ret = c;
	return r;
}

int conduit_connect(struct agent *a, sd_event *event, uint16_t port, int sock, conduit_done_fn done,
	void *user, struct conduit **ret, struct err *e)
{
	struct conduit *c = NULL;
	int r = conduit_new(event, sock, done, user, &c, e);

	if (r < 0)
		return r;
	c->connection = true;
	r = agent_connect(a, port, &events, c, &c->job, e);
	if (r < 0)
		destroy(c);
	else
		*ret = c;
	return r;
}

struct conduit *conduit_free(struct conduit *c)
{
	if (!c)
		return NULL;
	if (c->job)
		agent_job_release(c->job, true);
	destroy(c);
	return NULL;
}
