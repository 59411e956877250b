#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/wait.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "job.h"
#include "spawn.h"
#include "watch.h"

#define CHUNK (128u * 1024)
#define LINGER_USEC                                                                                          \
	2000000 /* what else holds a stream of an ended job open has this long (agent_proto.h, EXIT) */

/* Bytes are counted from the stream's first. */
struct output {
	uint8_t *
		kept; /* AGENT_HEADER bytes, then those from ACKED to READ, at their number modulo AGENT_WINDOW */
	uint64_t acked, sent, read; /* consumed by the host; told; taken from the job */
	bool ended, end_said;
	const struct pollfd *polled; /* what was found of it last; NULL: nobody looked */
};

struct job {
	LIST_ENTRY(job) link;
	uint32_t id;
	pid_t pid;
	bool tty;
	int in, out[2]; /* with a tty: in and out[0] are the master, out[1] none */
	struct output output[2];
	bool attached; /* to a host that knows of it */
	bool nobodys;  /* no host will: what it writes is thrown away */
	bool exit_said;
	size_t owed;
	uint8_t *pending; /* stdin not yet taken by the job */
	size_t pending_at, pending_end;
	bool in_ended;
	int stop_signal;
	bool exited;
	int status;
	uint64_t exited_at;
};

static LIST_HEAD(, job) jobs = LIST_HEAD_INITIALIZER(jobs);
static unsigned job_count;

static struct job *find(uint32_t id)
{
	struct job *j;

	LIST_FOREACH (j, &jobs, link)
		if (j->id == id)
			return j;
	return NULL;
}

void job_exec(struct channel *c, uint32_t id, const uint8_t *payload, size_t n)
{
	struct spawn what;
	struct spawned child;
	struct job *j;
	int r, stop_signal;

	r = spawn_parse(payload, n, &what);
	if (r == 0 && (job_count >= JOBS_MAX || find(id)))
		r = -EAGAIN;
	if (r == 0)
		r = spawn_run(&what, &child);
	stop_signal = what.stop_signal;
	spawn_clear(&what);
	j = r == 0 ? calloc(1, sizeof(*j)) : NULL;
	if (r == 0 && !j) {
		kill(-child.pid, SIGKILL);
		close_fd(child.in);
		close_fd(child.out[0]);
		close_fd(child.out[1]);
		r = -ENOMEM;
	}
	if (r < 0) {
		channel_send(c, AGENT_REPLY, (uint16_t)-r, id, NULL, 0, NULL, 0);
		return;
	}
	*j = (struct job){
		.id = id, .pid = child.pid, .tty = child.tty, .in = child.in, .stop_signal = stop_signal};
	j->out[0] = child.out[0];
	j->out[1] = child.out[1];
	j->output[1].ended = j->tty;
	j->attached = true;
	LIST_INSERT_HEAD(&jobs, j, link);
	job_count++;
	channel_send(c, AGENT_REPLY, 0, id, NULL, 0, NULL, 0);
}

static void close_in(struct job *j)
{
	/* A terminal's end of input is the character that means it (VEOF's default). */
	if (j->tty)
		(void)!write(j->out[0], "\4", 1);
	else
		j->in = close_fd(j->in);
	if (j->tty)
		j->in = -EBADF;
}

static void on_stdin(struct job *j, const uint8_t *data, size_t n)
{
	if (j->in_ended || j->in < 0)
		return;
	if (n == 0) {
		j->in_ended = true;
		if (j->pending_at == j->pending_end)
			close_in(j);
		return;
	}
	if (!j->pending)
		j->pending = malloc(AGENT_WINDOW);
	if (j->pending && j->pending_at > 0) {
		memmove(j->pending, j->pending + j->pending_at, j->pending_end - j->pending_at);
		j->pending_end -= j->pending_at;
		j->pending_at = 0;
	}
	/* More than the credit that was given: the host broke its word; the rest is lost. */
	if (!j->pending || n > AGENT_WINDOW - j->pending_end)
		return;
	memcpy(j->pending + j->pending_end, data, n);
	j->pending_end += n;
}

static void on_signal(struct job *j, uint32_t sig)
{
	pid_t group = j->pid;

	if (sig < 1 || sig > 64 || j->exited)
		return;
	if (j->tty) {
		pid_t foreground = tcgetpgrp(j->out[0]);

		if (foreground > 0)
			group = foreground;
	}
	kill(-group, (int)sig);
	/* Not only what happens to be in the foreground of its shell. */
	if (sig == SIGKILL && group != j->pid)
		kill(-j->pid, SIGKILL);
}

void job_frame(struct channel *c, const struct agent_header *h, const uint8_t *payload)
{
	struct job *j = find(h->id);
	uint32_t v[2] = {0};
	uint16_t size[2];

	(void)c;
	if (!j)
		return;
	if (h->type == AGENT_STDIN) {
		on_stdin(j, payload, h->length);
		return;
	}
	memcpy(v, payload, h->length < sizeof(v) ? h->length : sizeof(v));
	switch (h->type) {
	case AGENT_CREDIT:
		if (h->length == 8 && v[0] >= 1 && v[0] <= 2 &&
			v[1] <= j->output[v[0] - 1].sent - j->output[v[0] - 1].acked)
			j->output[v[0] - 1].acked += v[1];
		break;
	case AGENT_SIGNAL:
		if (h->length == 4)
			on_signal(j, v[0]);
		break;
	case AGENT_WINSIZE:
		memcpy(size, payload, h->length < sizeof(size) ? h->length : sizeof(size));
		if (h->length == 4 && j->tty)
			ioctl(j->out[0], TIOCSWINSZ, &(struct winsize){.ws_row = size[0], .ws_col = size[1]});
		break;
	}
}

/* What may be taken from the job: all that is taken can be told again. */
static size_t room(const struct output *o)
{
	return AGENT_WINDOW - (size_t)(o->read - o->acked);
}

size_t job_poll(struct pollfd *p, bool more_out)
{
	struct job *j;
	size_t n = 0;

	LIST_FOREACH (j, &jobs, link) {
		if (j->in >= 0 && !j->tty)
			/* With nothing to write, still told when the job has closed its end. */
			p[n++] = (struct pollfd){
				.fd = j->in, .events = j->pending_end > j->pending_at ? POLLOUT : 0};
		for (int i = 0; i < 2; i++) {
			bool wanted = j->out[i] >= 0 && (more_out || !j->attached) && room(&j->output[i]) > 0;

			j->output[i].polled = wanted ? p + n : NULL;
			if (wanted)
				p[n++] = (struct pollfd){.fd = j->out[i],
					.events = (short)(POLLIN |
							  (j->tty && j->pending_end > j->pending_at ? POLLOUT
												    : 0))};
		}
	}
	return n;
}

static void give_stdin(struct channel *c, struct job *j)
{
	int fd = j->tty ? j->out[0] : j->in;
	size_t taken = 0;

	while (j->in >= 0 && j->pending_end > j->pending_at) {
		ssize_t k = write(fd, j->pending + j->pending_at, j->pending_end - j->pending_at);

		if (k < 0 && errno == EAGAIN)
			break;
		if (k < 0) {
			/* Nobody reads it any more: the bytes are swallowed, so that the host isn't held up. */
			k = (ssize_t)(j->pending_end - j->pending_at);
			if (!j->tty)
				j->in = close_fd(j->in);
		}
		j->pending_at += (size_t)k;
		taken += (size_t)k;
	}
	j->owed += taken;
	if (j->attached &&
		(j->owed >= AGENT_WINDOW / 4 || (j->owed > 0 && j->pending_at == j->pending_end))) {
		uint32_t v[2] = {0, (uint32_t)j->owed};

		channel_send(c, AGENT_CREDIT, 0, j->id, v, sizeof(v), NULL, 0);
		j->owed = 0;
	}
	if (j->in_ended && j->in >= 0 && j->pending_at == j->pending_end)
		close_in(j);
}

/* Nothing more comes from the job. */
static void end_output(struct job *j, int i)
{
	j->out[i] = close_fd(j->out[i]);
	j->output[i].ended = true;
	if (j->tty)
		j->in = -EBADF;
}

/* From the job, as much as can be kept. */
static void take_output(struct job *j, int i)
{
	struct output *o = &j->output[i];

	while (j->out[i] >= 0 && room(o) > 0) {
		size_t at = (size_t)(o->read % AGENT_WINDOW), most = AGENT_WINDOW - at;
		ssize_t n;

		if (!o->kept && !(o->kept = malloc(AGENT_HEADER + AGENT_WINDOW)))
			return;
		most = most < room(o) ? most : room(o);
		n = read(j->out[i], o->kept + AGENT_HEADER + at, most < CHUNK ? most : CHUNK);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		/* EIO: the other side of a terminal has closed. */
		if (n <= 0) {
			end_output(j, i);
			return;
		}
		o->read += (size_t)n;
		if (j->nobodys)
			o->acked = o->sent = o->read;
		/* Told before more is taken: the channel's limit is between the two. */
		else if (j->attached)
			return;
	}
}

static bool has_more(const struct job *j, int i)
{
	return j->output[i].sent < j->output[i].read;
}

/* To the host, as much as the channel takes. */
static void tell_output(struct channel *c, struct job *j, int i)
{
	struct output *o = &j->output[i];
	enum agent_type type = i == 0 ? AGENT_STDOUT : AGENT_STDERR;

	while (has_more(j, i) && channel_waiting(c) < CHANNEL_OUT_SOFT) {
		size_t at = (size_t)(o->sent % AGENT_WINDOW), n = (size_t)(o->read - o->sent);

		n = n < AGENT_WINDOW - at ? n : AGENT_WINDOW - at;
		watch_tell(c);
		channel_send_in_place(c, type, j->id, o->kept + AGENT_HEADER + at, n);
		o->sent += n;
	}
	if (o->ended && !o->end_said && !has_more(j, i) && !(j->tty && i == 1)) {
		watch_tell(c);
		channel_send(c, type, 0, j->id, NULL, 0, NULL, 0);
		o->end_said = true;
	}
}

static void move_output(struct channel *c, struct job *j, int i)
{
	struct output *o = &j->output[i];
	uint64_t before;

	do {
		before = o->read;
		if (!o->polled || o->polled->revents)
			take_output(j, i);
		if (j->attached)
			tell_output(c, j, i);
	} while (j->attached && o->read > before && channel_waiting(c) < CHANNEL_OUT_SOFT);
	o->polled = NULL;
}

static void forget(struct job *j)
{
	LIST_REMOVE(j, link);
	job_count--;
	if (!j->tty)
		close_fd(j->in);
	close_fd(j->out[0]);
	close_fd(j->out[1]);
	free(j->output[0].kept);
	free(j->output[1].kept);
	free(j->pending);
	free(j);
}

static void tell_exit(struct channel *c, struct job *j)
{
	uint32_t v[2] = {0, 0};

	for (int i = 0; i < 2; i++) {
		if (j->out[i] >= 0)
			end_output(j, i);
		tell_output(c, j, i);
	}
	if (WIFSIGNALED(j->status)) {
		v[0] = 1;
		v[1] = (uint32_t)WTERMSIG(j->status);
	} else {
		v[1] = (uint32_t)WEXITSTATUS(j->status);
	}
	watch_tell(c);
	channel_send(c, AGENT_EXIT, 0, j->id, v, sizeof(v), NULL, 0);
	j->exit_said = true;
}

/*
 * What the job itself wrote is in the pipes: those are emptied first, however slow the host takes it. What other processes
 * hold open after that is cut.
 */
static bool is_over(const struct channel *c, const struct job *j)
{
	bool late = io_now_usec() > j->exited_at + LINGER_USEC;

	if (!j->exited || has_more(j, 0) || has_more(j, 1))
		return false;
	if (j->out[0] < 0 && j->out[1] < 0)
		return true;
	return late && room(&j->output[0]) > 0 && room(&j->output[1]) > 0 &&
	       (j->nobodys || channel_waiting(c) < CHANNEL_OUT_SOFT);
}

void job_turn(struct channel *c)
{
	struct job *j = LIST_FIRST(&jobs);

	while (j) {
		struct job *next = LIST_NEXT(j, link);

		give_stdin(c, j);
		move_output(c, j, 0);
		move_output(c, j, 1);
		if (!j->exit_said && is_over(c, j)) {
			if (j->nobodys)
				forget(j);
			else if (j->attached && c->connected)
				tell_exit(c, j);
		}
		j = next;
	}
}

static void attach(struct channel *c, struct job *j, const uint8_t *payload)
{
	struct {
		uint64_t from[2];
		uint32_t room;
	} __attribute__((packed)) reply;
	uint64_t have[2];

	memcpy(have, payload, sizeof(have));
	for (int i = 0; i < 2; i++) {
		struct output *o = &j->output[i];

		/* More than was written, or less than is kept: from the first byte that there is. */
		o->sent = o->acked = have[i] >= o->acked && have[i] <= o->read ? have[i] : o->acked;
		o->end_said = false;
		reply.from[i] = o->sent;
	}
	reply.room = (uint32_t)(AGENT_WINDOW - (j->pending_end - j->pending_at));
	j->owed = 0;
	j->attached = true;
	j->exit_said = false;
	channel_send(c, AGENT_REPLY, 0, j->id, &reply, sizeof(reply), NULL, 0);
}

void job_attach(struct channel *c, uint32_t id, const uint8_t *payload, size_t n)
{
	struct job *j = find(id);

	if (id == 0) {
		LIST_FOREACH (j, &jobs, link) {
			if (j->attached)
				continue;
			j->nobodys = true;
			j->pending_at = j->pending_end = 0;
			j->in_ended = true;
			for (int i = 0; i < 2; i++)
				j->output[i].acked = j->output[i].sent = j->output[i].read;
			if (j->in >= 0)
				close_in(j);
		}
		return;
	}
	if (j && n == 2 * sizeof(uint64_t))
		attach(c, j, payload);
	else
		channel_send(c, AGENT_REPLY, j ? EINVAL : ESRCH, id, NULL, 0, NULL, 0);
}

void job_reap_told(uint32_t id)
{
	struct job *j = find(id);

	if (j && j->exit_said)
		forget(j);
}

uint64_t job_deadline(void)
{
	uint64_t next = 0;
	struct job *j;

	LIST_FOREACH (j, &jobs, link)
		if (j->exited && !j->exit_said && (next == 0 || j->exited_at + LINGER_USEC < next))
			next = j->exited_at + LINGER_USEC + 1000;
	return next;
}

void job_new_host(void)
{
	struct job *j;

	LIST_FOREACH (j, &jobs, link)
		j->attached = false;
}

bool job_first_runs(void)
{
	struct job *j;

	LIST_FOREACH (j, &jobs, link)
		if (j->stop_signal && !j->exited)
			return true;
	return false;
}

bool job_stop_first(void)
{
	struct job *j;

	/* Its leader alone, as container engines have it: what it has begun is its own to end. */
	LIST_FOREACH (j, &jobs, link)
		if (j->stop_signal && !j->exited)
			kill(j->pid, j->stop_signal);
	return job_first_runs();
}

void job_kill_all(int sig)
{
	struct job *j;

	LIST_FOREACH (j, &jobs, link)
		if (!j->exited)
			kill(-j->pid, sig);
}

unsigned job_running(void)
{
	unsigned n = 0;
	struct job *j;

	LIST_FOREACH (j, &jobs, link)
		n += !j->exited;
	return n;
}

void job_reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct job *j;

		LIST_FOREACH (j, &jobs, link)
			if (j->pid == pid && !j->exited) {
				j->exited = true;
				j->status = status;
				j->exited_at = io_now_usec();
			}
	}
}
