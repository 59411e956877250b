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

#define CHUNK (32u * 1024)
#define LINGER_USEC                                                                                          \
	2000000 /* what else holds a stream of an ended job open has this long (agent_proto.h, EXIT) */

struct job {
	LIST_ENTRY(job) link;
	uint32_t id;
	pid_t pid;
	bool tty;
	int in, out[2]; /* with a tty: in and out[0] are the master, out[1] none */
	size_t allowed[2], owed;
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
	j->allowed[0] = j->allowed[1] = AGENT_WINDOW;
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
		if (h->length == 8 && v[0] >= 1 && v[0] <= 2 && v[1] <= AGENT_WINDOW &&
			j->allowed[v[0] - 1] + v[1] <= AGENT_WINDOW)
			j->allowed[v[0] - 1] += v[1];
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

size_t job_poll(struct pollfd *p, bool more_out)
{
	struct job *j;
	size_t n = 0;

	LIST_FOREACH (j, &jobs, link) {
		if (j->in >= 0 && !j->tty)
			/* With nothing to write, still told when the job has closed its end. */
			p[n++] = (struct pollfd){
				.fd = j->in, .events = j->pending_end > j->pending_at ? POLLOUT : 0};
		for (int i = 0; i < 2; i++)
			if (j->out[i] >= 0 && more_out && j->allowed[i] > 0)
				p[n++] = (struct pollfd){.fd = j->out[i],
					.events = (short)(POLLIN |
							  (j->tty && j->pending_end > j->pending_at ? POLLOUT
												    : 0))};
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
	if (j->owed >= AGENT_WINDOW / 4 || (taken > 0 && j->pending_at == j->pending_end)) {
		uint32_t v[2] = {0, (uint32_t)j->owed};

		channel_send(c, AGENT_CREDIT, 0, j->id, v, sizeof(v), NULL, 0);
		j->owed = 0;
	}
	if (j->in_ended && j->in >= 0 && j->pending_at == j->pending_end)
		close_in(j);
}

static void end_output(struct channel *c, struct job *j, int i)
{
	watch_tell(c);
	channel_send(c, i == 0 ? AGENT_STDOUT : AGENT_STDERR, 0, j->id, NULL, 0, NULL, 0);
	j->out[i] = close_fd(j->out[i]);
	if (j->tty)
		j->in = -EBADF;
}

static void take_output(struct channel *c, struct job *j, int i)
{
	static uint8_t buf[CHUNK];

	while (j->out[i] >= 0 && j->allowed[i] > 0 && channel_waiting(c) < CHANNEL_OUT_SOFT) {
		ssize_t n = read(j->out[i], buf, j->allowed[i] < CHUNK ? j->allowed[i] : CHUNK);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		/* EIO: the other side of a terminal has closed. */
		if (n <= 0) {
			end_output(c, j, i);
			return;
		}
		j->allowed[i] -= (size_t)n;
		watch_tell(c);
		channel_send(c, i == 0 ? AGENT_STDOUT : AGENT_STDERR, 0, j->id, buf, (size_t)n, NULL, 0);
	}
}

static void job_end(struct channel *c, struct job *j)
{
	uint32_t v[2] = {0, 0};

	for (int i = 0; i < 2; i++)
		if (j->out[i] >= 0)
			end_output(c, j, i);
	if (WIFSIGNALED(j->status)) {
		v[0] = 1;
		v[1] = (uint32_t)WTERMSIG(j->status);
	} else {
		v[1] = (uint32_t)WEXITSTATUS(j->status);
	}
	watch_tell(c);
	channel_send(c, AGENT_EXIT, 0, j->id, v, sizeof(v), NULL, 0);
	LIST_REMOVE(j, link);
	job_count--;
	if (!j->tty)
		close_fd(j->in);
	free(j->pending);
	free(j);
}

void job_turn(struct channel *c)
{
	struct job *j = LIST_FIRST(&jobs);

	while (j) {
		struct job *next = LIST_NEXT(j, link);

		give_stdin(c, j);
		take_output(c, j, 0);
		take_output(c, j, 1);
		/*
		 * What the job itself wrote is in the pipes: those are emptied first, however slow the host takes it. What other
		 * processes hold open after that is cut.
		 */
		if (j->exited && c->connected &&
			((j->out[0] < 0 && j->out[1] < 0) ||
				(io_now_usec() > j->exited_at + LINGER_USEC && j->allowed[0] > 0 &&
					j->allowed[1] > 0 && channel_waiting(c) < CHANNEL_OUT_SOFT)))
			job_end(c, j);
		j = next;
	}
}

uint64_t job_deadline(void)
{
	uint64_t next = 0;
	struct job *j;

	LIST_FOREACH (j, &jobs, link)
		if (j->exited && (next == 0 || j->exited_at + LINGER_USEC < next))
			next = j->exited_at + LINGER_USEC + 1000;
	return next;
}

void job_new_host(void)
{
	struct job *j;

	LIST_FOREACH (j, &jobs, link)
		j->allowed[0] = j->allowed[1] = AGENT_WINDOW;
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
