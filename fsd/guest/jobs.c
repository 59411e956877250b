/* Jobs of the agent's protocol: their streams, and the credit that paces them. */
#include <errno.h>
#include <signal.h>

#include "banger/cleanup.h"
#include "guest/channel.h"

#define JOB_ARGS_MAX 1024
#define START_MSEC   30000

static struct agent_job *find_job(struct agent *a, uint32_t id)
{
	struct agent_job *j;

	LIST_FOREACH (j, &a->jobs, link)
		if (j->id == id)
			return j;
	return NULL;
}

bool agent_job_has(struct agent *a, uint32_t id)
{
	return find_job(a, id) != NULL;
}

static void job_end(struct agent_job *j, uint32_t kind, uint32_t code)
{
	LIST_REMOVE(j, link);
	if (j->started)
		j->events->ended(j->user, kind, code);
	else
		j->events->started(j->user, -ENOTCONN);
	free(j);
}

void agent_jobs_lost(struct agent *a)
{
	struct agent_job *j;

	while ((j = LIST_FIRST(&a->jobs)))
		job_end(j, 2, 0);
}

static int send_signal(struct agent *a, uint32_t id, uint32_t sig)
{
	return agent_send(a, AGENT_SIGNAL, 0, id, (struct agent_part[]){{&sig, sizeof(sig)}}, 1);
}

static void on_started(void *user, int code, const void *data, size_t n)
{
	struct agent_job *j = user;

	(void)data;
	(void)n;
	/* The channel is going: job_end() tells. */
	if (j->agent->broken)
		return;
	if (code < 0) {
		/* It may begin after all, with nobody there. */
		if (code == -ETIMEDOUT)
			send_signal(j->agent, j->id, SIGKILL);
		LIST_REMOVE(j, link);
		j->events->started(j->user, code);
		free(j);
		return;
	}
	j->started = true;
	j->events->started(j->user, 0);
}

void agent_job_release(struct agent_job *j, bool kill)
{
	if (kill)
		send_signal(j->agent, j->id, SIGKILL);
	LIST_REMOVE(j, link);
	/* The answer to its start has nobody to go to either. */
	if (!j->started || j->attaching)
		agent_request_drop(j->agent, j->id);
	free(j);
}

/* NUL-terminated strings one behind the other; counts them. */
static int put_strings(FILE *out, const char *const *strings, uint32_t *ret_count)
{
	uint32_t count = 0;

	for (; strings && strings[count]; count++) {
		if (count >= JOB_ARGS_MAX)
			return -E2BIG;
		fwrite(strings[count], 1, strlen(strings[count]) + 1, out);
	}
	*ret_count = count;
	return 0;
}

/* Asks for what has the streams of a job. */
static int begin(struct agent *a, enum agent_type type, const struct agent_part *parts, size_t n,
	const struct agent_job_events *events, void *user, struct agent_job **ret, struct err *e)
{
	struct agent_job *j = calloc(1, sizeof(*j));
	int r;

	if (!j)
		return err_sys(e, -ENOMEM, "job");
	j->agent = a;
	j->events = events;
	j->user = user;
	j->room = AGENT_WINDOW;
	j->allowed[0] = j->allowed[1] = AGENT_WINDOW;
	r = agent_request(a, type, 0, parts, n, START_MSEC, on_started, j, &j->id, e);
	if (r < 0) {
		free(j);
		return r;
	}
	LIST_INSERT_HEAD(&a->jobs, j, link);
	*ret = j;
	return 0;
}

int agent_exec(struct agent *a, const struct agent_exec *what, const struct agent_job_events *events,
	void *user, struct agent_job **ret, struct err *e)
{
	_cleanup_free_ char *strings = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&strings, &size);
	struct {
		uint32_t flags;
		uint16_t rows, cols;
		uint32_t argc, envc;
	} head = {
		.flags = (what->tty ? AGENT_EXEC_TTY : 0) | (what->want_stdin ? AGENT_EXEC_STDIN : 0) |
			 (what->by_mise ? AGENT_EXEC_MISE : 0) | what->stop_signal << AGENT_EXEC_STOP_SHIFT,
		.rows = what->rows,
		.cols = what->cols,
	};
	int r;

	if (!out)
		return err_sys(e, -ENOMEM, "job");
	r = put_strings(out, what->argv, &head.argc);
	if (r == 0)
		r = put_strings(out, what->env, &head.envc);
	fprintf(out, "%s%c%s%c", what->cwd ? what->cwd : "", 0, what->user ? what->user : "", 0);
	if (fclose(out) != 0)
		r = -ENOMEM;
	if (r == 0 && head.argc == 0)
		return err_set(e, -EINVAL, "no command");
	if (r < 0 || size + sizeof(head) > AGENT_PAYLOAD_MAX)
		return err_set(e, r < 0 ? r : -E2BIG, "the command is too long");
	return begin(a, AGENT_EXEC, (struct agent_part[]){{&head, sizeof(head)}, {strings, size}}, 2, events,
		user, ret, e);
}

int agent_connect(struct agent *a, uint16_t port, const struct agent_job_events *events, void *user,
	struct agent_job **ret, struct err *e)
{
	return begin(a, AGENT_CONNECT, &(struct agent_part){&port, sizeof(port)}, 1, events, user, ret, e);
}

static void on_attached(void *user, int code, const void *data, size_t n)
{
	struct agent_job *j = user;
	const struct agent_job_events *events = j->events;
	void *job_user = j->user;
	uint64_t from[2] = {0};
	uint32_t room = 0;

	/* The channel is going: job_end() tells. */
	if (j->agent->broken)
		return;
	if (code == 0 && n != sizeof(from) + sizeof(room))
		code = -EPROTO;
	if (code == 0) {
		memcpy(from, data, sizeof(from));
		memcpy(&room, (const uint8_t *)data + sizeof(from), sizeof(room));
		/* Never what is there already. */
		if (from[0] < j->have[0] || from[1] < j->have[1] || room > AGENT_WINDOW)
			code = -EPROTO;
	}
	if (code < 0) {
		LIST_REMOVE(j, link);
		free(j);
		events->ended(job_user, 2, 0);
		return;
	}
	j->attaching = false;
	j->room = room;
	events->attached(job_user, from[0], from[1]);
}

int agent_attach(struct agent *a, uint32_t id, const uint64_t have[2], const struct agent_job_events *events,
	void *user, struct agent_job **ret, struct err *e)
{
	struct agent_job *j = calloc(1, sizeof(*j));
	int r;

	if (!j)
		return err_sys(e, -ENOMEM, "job");
	*j = (struct agent_job){
		.agent = a, .id = id, .events = events, .user = user, .started = true, .attaching = true};
	j->allowed[0] = j->allowed[1] = AGENT_WINDOW;
	j->have[0] = have[0];
	j->have[1] = have[1];
	r = agent_request_as(a, AGENT_ATTACH, id, (struct agent_part[]){{have, 2 * sizeof(*have)}}, 1,
		START_MSEC, on_attached, j, e);
	if (r < 0) {
		free(j);
		return r;
	}
	LIST_INSERT_HEAD(&a->jobs, j, link);
	*ret = j;
	return 0;
}

void agent_attached_all(struct agent *a)
{
	agent_send(a, AGENT_ATTACH, 0, 0, NULL, 0);
}

uint32_t agent_job_id(const struct agent_job *j)
{
	return j->id;
}

static int on_output(struct agent_job *j, int stream, const uint8_t *data, size_t n)
{
	size_t at = (size_t)stream - 1;

	if (j->ended[at] || n > j->allowed[at])
		return -EPROTO;
	j->allowed[at] -= n;
	if (n == 0)
		j->ended[at] = true;
	j->events->output(j->user, stream, data, n);
	return 0;
}

static int on_credit(struct agent_job *j, const uint8_t *payload, size_t n)
{
	uint32_t v[2];

	if (n != sizeof(v))
		return -EPROTO;
	memcpy(v, payload, sizeof(v));
	if (v[0] != 0 || v[1] > AGENT_WINDOW || j->room + v[1] > AGENT_WINDOW)
		return -EPROTO;
	j->room += v[1];
	j->events->writable(j->user);
	return 0;
}

/*
 * Of an earlier daemon's job, or one that was given up: thrown away, but with the credit for it, or the job would be held up for
 * good. Not where the guest doesn't take what is sent: it shall not make us keep answers.
 */
static int on_nobodys(struct agent *a, const struct agent_header *h)
{
	uint32_t v[2] = {h->type == AGENT_STDERR ? 2 : 1, h->length};

	if (h->type == AGENT_EXIT && a->out_bytes < AGENT_PAYLOAD_MAX)
		agent_send(a, AGENT_REAP, 0, h->id, NULL, 0);
	if ((h->type == AGENT_STDOUT || h->type == AGENT_STDERR) && h->length > 0 &&
		a->out_bytes < AGENT_PAYLOAD_MAX)
		agent_send(a, AGENT_CREDIT, 0, h->id, (struct agent_part[]){{v, sizeof(v)}}, 1);
	return 0;
}

int agent_job_frame(struct agent *a, const struct agent_header *h, const uint8_t *payload)
{
	struct agent_job *j = find_job(a, h->id);
	uint32_t v[2];

	if (!j)
		return on_nobodys(a, h);
	if (!j->started)
		return -EPROTO;
	switch (h->type) {
	case AGENT_STDOUT:
		return on_output(j, 1, payload, h->length);
	case AGENT_STDERR:
		return on_output(j, 2, payload, h->length);
	case AGENT_CREDIT:
		return on_credit(j, payload, h->length);
	default:
		if (h->length != sizeof(v))
			return -EPROTO;
		memcpy(v, payload, sizeof(v));
		if (v[0] > 2 || v[1] > 255)
			return -EPROTO;
		job_end(j, v[0], v[1]);
		/* Told to the next daemon again until it is kept here. */
		agent_send(a, AGENT_REAP, 0, h->id, NULL, 0);
		return 0;
	}
}

static void stall(struct agent_job *j)
{
	j->stalled = true;
	agent_stall(j->agent);
}

static void give_credit(struct agent_job *j, size_t at)
{
	uint32_t v[2] = {(uint32_t)at + 1, (uint32_t)j->owed[at]};

	/* In quarters, so that credit costs little traffic and the guest never runs dry. */
	if (j->owed[at] < AGENT_WINDOW / 4)
		return;
	if (agent_send(j->agent, AGENT_CREDIT, 0, j->id, (struct agent_part[]){{v, sizeof(v)}}, 1) < 0) {
		stall(j);
		return;
	}
	j->allowed[at] += j->owed[at];
	j->owed[at] = 0;
}

void agent_job_consumed(struct agent_job *j, int stream, size_t n)
{
	j->owed[stream - 1] += n;
	give_credit(j, (size_t)stream - 1);
}

void agent_jobs_drained(struct agent *a)
{
	struct agent_job *j;

	LIST_FOREACH (j, &a->jobs, link) {
		j->resume = j->stalled;
		j->stalled = false;
	}
	/* From the front each time: the watcher may have released any of them. */
	for (;;) {
		LIST_FOREACH (j, &a->jobs, link)
			if (j->resume)
				break;
		if (!j || a->broken)
			return;
		j->resume = false;
		give_credit(j, 0);
		give_credit(j, 1);
		j->events->writable(j->user);
	}
}

size_t agent_job_room(const struct agent_job *j)
{
	return j->room;
}

int agent_job_stdin(struct agent_job *j, const void *data, size_t n)
{
	int r;

	if (n > j->room)
		return -EAGAIN;
	r = agent_send(j->agent, AGENT_STDIN, 0, j->id, (struct agent_part[]){{data, n}}, 1);
	if (r == -ENOBUFS) {
		stall(j);
		return -EAGAIN;
	}
	if (r == 0)
		j->room -= n;
	return r;
}

int agent_job_signal(struct agent_job *j, uint32_t sig)
{
	return send_signal(j->agent, j->id, sig);
}

int agent_job_winsize(struct agent_job *j, uint16_t rows, uint16_t cols)
{
	uint16_t v[2] = {rows, cols};

	return agent_send(j->agent, AGENT_WINSIZE, 0, j->id, (struct agent_part[]){{v, sizeof(v)}}, 1);
}
