/* Jobs that run: their start, streams and end. */
#include <errno.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "vm/exec_job.h"

void exec_tell_started(struct exec *x, int code, const struct err *e)
{
	vm_done_fn done = x->done;

	x->done = NULL;
	if (done)
		done(x->done_user, code, e);
}

void exec_unwait(struct exec *x)
{
	exec_tell_started(x, -EINTR, &(struct err){.code = -EINTR});
}

static void end_streams(struct exec *x)
{
	for (int i = 0; i < 2; i++) {
		ring_end(&x->streams[i].kept);
		if (x->streams[i].ended)
			continue;
		x->streams[i].ended = true;
		exec_tell_output(x, i + 1);
	}
}

static void say_close(struct exec *x)
{
	int r = agent_job_stdin(x->job, NULL, 0);

	x->close_wanted = r == -EAGAIN;
}

static void on_writable(void *user)
{
	struct exec *x = user;
	struct execs *xs = x->vm->execs;

	if (x->close_wanted)
		say_close(x);
	else if (x->want_stdin && !x->stdin_closed && xs->watch && xs->watch->writable)
		xs->watch->writable(xs->watch_user, x);
}

/* errno of a start, and what to do about it. */
static int why_not_started(const struct exec *x, int code, struct err *e)
{
	const char *program = x->argv[0];

	switch (code) {
	case -ENOTCONN:
	case -EPROTO:
		return err_set(e, code, "%s: the guest's agent has gone: see the VM's log", program);
	case -ETIMEDOUT:
		return err_set(e, code, "%s: the guest's agent did not answer in time", program);
	case -EAGAIN:
		return err_set(e, code, "%s: the guest has too many processes or jobs", program);
	default:
		return err_sys(e, code, "%s (in the guest)", program);
	}
}

void exec_use(struct exec *x, bool begins)
{
	struct vms *vms = x->vm->execs->vms;
	struct vm *vm = vms ? vms_get(vms, x->vm->id) : NULL;

	if (vm)
		(begins ? vm_use : vm_unuse)(vm);
}

static bool vm_is(const struct exec *x, enum vm_state state)
{
	struct vms *vms = x->vm->execs->vms;
	struct vm *vm = vms ? vms_get(vms, x->vm->id) : NULL;
	struct vm_view v = {0};

	if (vm)
		vm_view(vm, &v);
	return v.state == state;
}

static void on_started(void *user, int code)
{
	_cleanup_err_ struct err why = {0};
	struct exec *x = user;

	exec_hold(x);
	if (code < 0) {
		x->job = NULL;
		exec_use(x, false);
		x->state = EXEC_FAILED;
		x->start_code = code;
		x->ended = io_wall_usec();
		why_not_started(x, code, &why);
		end_streams(x);
	} else {
		x->state = EXEC_RUNNING;
		x->started = io_wall_usec();
		if (x->close_wanted)
			say_close(x);
	}
	exec_keep(x);
	exec_tell_changed(x);
	exec_tell_started(x, code, &why);
	if (x->state == EXEC_RUNNING && !x->deleted)
		on_writable(x);
	exec_release(x);
}

static void on_output(void *user, int stream, const void *data, size_t n)
{
	struct exec *x = user;
	struct exec_stream *s = &x->streams[stream - 1];

	exec_hold(x);
	if (n == 0) {
		s->ended = true;
		ring_end(&s->kept);
	} else {
		/* What the disk has no room for is lost to readers, who are told, and doesn't hold up the job. */
		ring_append(&s->kept, data, n);
		s->owed += n;
	}
	exec_tell_output(x, stream);
	if (!x->deleted)
		exec_give_credit(x, stream);
	exec_release(x);
}

static void on_ended(void *user, uint32_t kind, uint32_t code)
{
	struct exec *x = user;

	exec_hold(x);
	x->job = NULL;
	exec_use(x, false);
	x->state = EXEC_EXITED;
	x->exit_kind = kind;
	x->exit_code = code;
	x->ended = io_wall_usec();
	exec_keep(x);
	end_streams(x);
	exec_tell_changed(x);
	exec_release(x);
}

static void on_attached(void *user, uint64_t from_out, uint64_t from_err)
{
	struct exec *x = user;

	ring_skip(&x->streams[0].kept, from_out);
	ring_skip(&x->streams[1].kept, from_err);
	x->state = EXEC_RUNNING;
	if (x->stdin_closed)
		say_close(x);
	else
		on_writable(x);
}

static const struct agent_job_events events = {
	.started = on_started,
	.attached = on_attached,
	.output = on_output,
	.writable = on_writable,
	.ended = on_ended,
};

void exec_lost(struct exec *x)
{
	on_ended(x, 2, 0);
}

void exec_take_up(struct exec_vm *v)
{
	struct exec *x, *next;

	/* Whoever watches may delete the job he is told of. */
	for (x = TAILQ_FIRST(&v->jobs); x; x = next) {
		const uint64_t have[2] = {x->streams[0].kept.size, x->streams[1].kept.size};

		next = TAILQ_NEXT(x, link);
		if ((x->state != EXEC_RUNNING && x->state != EXEC_STARTING) || x->job)
			continue;
		if (agent_attach(v->agent, x->wire, have, &events, x, &x->job, NULL) < 0)
			exec_lost(x);
	}
	agent_attached_all(v->agent);
}

int exec_start(struct exec *x, bool want_stdin, vm_done_fn done, void *user, struct err *e)
{
	_cleanup_free_ char **env = exec_full_env(x);
	struct agent_exec what = {
		.argv = (const char *const *)x->argv,
		.env = (const char *const *)env,
		.cwd = x->cwd,
		.user = x->user,
		.tty = x->tty,
		.want_stdin = want_stdin || x->keep_stdin || x->tty,
		/* Neither the image's own command nor a server of ours is the user's work. */
		.by_mise = x->stop_signal == 0 && !x->fleeting,
		.stop_signal = x->stop_signal,
		.rows = x->rows,
		.cols = x->cols,
	};
	int r;

	if (x->state != EXEC_NEW)
		return err_set(e, -EBUSY, "job %u was started before", x->number);
	if (!x->argv || !x->argv[0] || !*x->argv[0])
		return err_set(e, -EINVAL, "job %u has no command: write its arguments to cmd, one a line",
			x->number);
	if (!x->vm->agent)
		return err_set(e, -ENOTCONN, "%s",
			vm_is(x, VM_RUNNING) ? "the guest's agent does not answer: see health, and try again"
					     : "the VM is not running: start it first");
	if (vm_is(x, VM_PAUSED))
		return err_set(e, -EBUSY, "the VM is paused: resume it first");
	if (!env)
		return err_sys(e, -ENOMEM, "job %u", x->number);
	r = agent_exec(x->vm->agent, &what, &events, x, &x->job, e);
	if (r < 0)
		return r;
	exec_use(x, true);
	x->state = EXEC_STARTING;
	x->wire = agent_job_id(x->job);
	x->want_stdin = what.want_stdin;
	x->done = done;
	x->done_user = user;
	/* A terminal has one stream. */
	x->streams[1].ended = x->tty;
	exec_keep(x);
	exec_tell_changed(x);
	return 0;
}

int exec_signal_parse(const char *s, uint32_t *ret)
{
	/* glibc keeps the first two of the kernel's for itself, in the guest as here: what is called SIGRTMIN is 34. */
	const uint64_t first = 34;
	uint64_t number;

	if (parse_u64(s, 1, 64, &number) == 0) {
		*ret = (uint32_t)number;
		return 0;
	}
	if (strncmp(s, "SIG", 3) == 0)
		s += 3;
	if (strncmp(s, "RTMIN+", 6) == 0 && parse_u64(s + 6, 0, 64 - first, &number) == 0) {
		*ret = (uint32_t)(first + number);
		return 0;
	}
	for (int i = 1; i < 32; i++)
		if (sigabbrev_np(i) && strcmp(sigabbrev_np(i), s) == 0) {
			*ret = (uint32_t)i;
			return 0;
		}
	return -EINVAL;
}

int exec_signal(struct exec *x, uint32_t sig, struct err *e)
{
	int r;

	if (sig < 1 || sig > 64)
		return err_set(e, -EINVAL, "signals are 1 to 64");
	if (x->state != EXEC_RUNNING)
		return err_set(e, -ESRCH, "job %u does not run", x->number);
	if (!x->job)
		return err_set(e, -EAGAIN, "job %u: the guest's agent is not found again yet", x->number);
	if (vm_is(x, VM_PAUSED))
		return err_set(e, -EBUSY, "job %u: the VM is paused: resume it first", x->number);
	r = agent_job_signal(x->job, sig);
	return r < 0 ? err_sys(e, r, "job %u", x->number) : 0;
}

int exec_winsize(struct exec *x, uint16_t rows, uint16_t cols, struct err *e)
{
	int r = 0;

	if (x->state == EXEC_EXITED || x->state == EXEC_FAILED)
		return err_set(e, -ESRCH, "job %u does not run", x->number);
	if (x->job && x->tty)
		r = agent_job_winsize(x->job, rows, cols);
	if (r < 0)
		return err_sys(e, r, "job %u", x->number);
	x->rows = rows;
	x->cols = cols;
	exec_tell_changed(x);
	return 0;
}

ssize_t exec_stdin(struct exec *x, const void *data, size_t n, struct err *e)
{
	size_t room;
	int r;

	if (x->stdin_closed || x->state == EXEC_EXITED || x->state == EXEC_FAILED ||
		(x->state != EXEC_NEW && !x->want_stdin))
		return err_set(e, -EPIPE, "job %u takes no input", x->number);
	/* Not taken up yet: on_attached() says when. */
	if (x->state != EXEC_RUNNING || !x->job || n == 0)
		return 0;
	room = agent_job_room(x->job);
	if (n > room)
		n = room;
	if (n == 0)
		return 0;
	r = agent_job_stdin(x->job, data, n);
	if (r == -EAGAIN)
		return 0;
	return r < 0 ? err_sys(e, r, "job %u", x->number) : (ssize_t)n;
}

int exec_stdin_close(struct exec *x)
{
	if (x->stdin_closed)
		return 0;
	x->stdin_closed = true;
	x->close_wanted = true;
	if (x->state == EXEC_RUNNING)
		exec_keep(x);
	if (x->state == EXEC_RUNNING && x->want_stdin && x->job)
		say_close(x);
	return 0;
}

ssize_t exec_read(struct exec *x, int stream, uint64_t *offset, void *buf, size_t n, bool *ret_eof,
	uint64_t *ret_lost, struct err *e)
{
	struct exec_stream *s = &x->streams[stream - 1];
	uint64_t from = *offset, lost = 0;
	ssize_t k = 0;

	if (from < s->kept.first) {
		lost = s->kept.first - from;
		from = s->kept.first;
	}
	if (from < s->kept.size) {
		k = ring_read(&s->kept, from, buf, n);
		if (k < 0)
			return err_sys(e, (int)k, "output of job %u", x->number);
	}
	*offset = from;
	*ret_lost = lost;
	*ret_eof = s->ended && from + (uint64_t)k >= s->kept.size;
	return k;
}

uint64_t exec_size(const struct exec *x, int stream)
{
	return x->streams[stream - 1].kept.size;
}

uint64_t exec_first(const struct exec *x, int stream)
{
	return x->streams[stream - 1].kept.first;
}

void exec_give_credit(struct exec *x, int stream)
{
	struct exec_stream *s = &x->streams[stream - 1];
	struct exec_reader *reader;
	size_t owed = s->owed;

	if (!x->job || owed == 0)
		return;
	LIST_FOREACH (reader, &x->readers, link)
		if (reader->stream == stream && s->kept.size - reader->offset > EXEC_AHEAD)
			return;
	s->owed = 0;
	agent_job_consumed(x->job, stream, owed);
}

int exec_reader_add(struct exec *x, int stream, uint64_t *ret_reader)
{
	struct exec_reader *reader = calloc(1, sizeof(*reader));

	if (!reader)
		return -ENOMEM;
	reader->id = x->vm->execs->next_reader++;
	reader->stream = stream;
	reader->offset = x->streams[stream - 1].kept.first;
	LIST_INSERT_HEAD(&x->readers, reader, link);
	*ret_reader = reader->id;
	return 0;
}

static struct exec_reader *find_reader(struct exec *x, uint64_t id)
{
	struct exec_reader *reader;

	LIST_FOREACH (reader, &x->readers, link)
		if (reader->id == id)
			return reader;
	return NULL;
}

void exec_reader_at(struct exec *x, uint64_t id, uint64_t offset)
{
	struct exec_reader *reader = find_reader(x, id);
	uint64_t size;

	if (!reader)
		return;
	size = x->streams[reader->stream - 1].kept.size;
	reader->offset = offset < size ? offset : size;
	exec_give_credit(x, reader->stream);
}

void exec_reader_remove(struct exec *x, uint64_t id)
{
	struct exec_reader *reader = find_reader(x, id);
	int stream;

	if (!reader)
		return;
	stream = reader->stream;
	LIST_REMOVE(reader, link);
	free(reader);
	exec_give_credit(x, stream);
}
