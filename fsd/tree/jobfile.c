/* The files of jobs that are more than a text: kept and live output, standard input, the exit. */
#include <errno.h>
#include <poll.h>

#include "banger/cleanup.h"
#include "tree/jobs.h"

#define READ_MAX (256u * 1024)

int job_file_new(struct tree *t, struct handle *h)
{
	struct job_file *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->row = h->at.row;
	f->stream = (int)(intptr_t)h->at.attr->data;
	h->state = f;
	LIST_INSERT_HEAD(&t->jobs, h, link);
	return 0;
}

/* A connection's job is forgotten when it has ended and nobody has a file of it open: who made it may have been killed. */
static void forget_fleeting(struct tree *t, uint64_t row)
{
	struct exec *x = row ? job_of(t, row) : NULL;
	struct exec_view v;
	struct handle *h;

	if (!x || t->ending)
		return;
	exec_view(x, &v);
	if (!v.fleeting || !job_over(&v))
		return;
	LIST_FOREACH (h, &t->jobs, link)
		if (((const struct job_file *)h->state)->row == row)
			return;
	exec_delete(x, NULL);
}

void job_file_release(struct tree *t, struct handle *h)
{
	struct job_file *f = h->state;
	struct exec *x = f->row ? job_of(t, f->row) : NULL;

	LIST_REMOVE(h, link);
	if (x && f->reading)
		exec_reader_remove(x, f->reader);
	handle_wake(h, -EINTR);
	if (x && f->made_it && !t->ending)
		exec_delete(x, NULL);
	else
		forget_fleeting(t, f->row);
	free(f->pending);
	free(f);
}

/* Output that was kept: a file like a log. */
static void kept_read(struct tree *t, struct handle *h, size_t size, uint64_t offset, struct call *call)
{
	struct job_file *f = h->state;
	struct exec *x = job_of(t, f->row);
	_cleanup_free_ char *buf = NULL;
	uint64_t lost = 0, at;
	bool eof = false;
	ssize_t n;

	if (!x) {
		call_done(call, -ESTALE);
		return;
	}
	if (offset == 0)
		f->shift = exec_first(x, f->stream);
	if (size > READ_MAX)
		size = READ_MAX;
	buf = malloc(size);
	if (!buf) {
		call_done(call, -ENOMEM);
		return;
	}
	at = f->shift + offset;
	n = exec_read(x, f->stream, &at, buf, size, &eof, &lost, NULL);
	f->shift += lost;
	if (n < 0)
		call_done(call, (int)n);
	else
		call_data(call, buf, (size_t)n);
}

static uint64_t kept_size(struct tree *t, const struct target *at)
{
	struct exec *x = job_of(t, at->row);
	int stream = (int)(intptr_t)at->attr->data;

	return exec_size(x, stream) - exec_first(x, stream);
}

const struct file_ops job_kept_ops = {
	.open = job_file_new, .release = job_file_release, .read = kept_read, .size = kept_size};

/* Live output. True: CALL was answered. */
static bool live_answer(struct tree *t, struct handle *h, struct call *call)
{
	struct job_file *f = h->state;
	struct exec *x = job_of(t, f->row);
	size_t size = call->size < READ_MAX ? call->size : READ_MAX;
	_cleanup_free_ char *buf = NULL;
	uint64_t lost = 0, there;
	bool eof = false;
	ssize_t n;

	if (!x) {
		call_data(call, NULL, 0);
		return true;
	}
	there = exec_size(x, f->stream) > f->offset ? exec_size(x, f->stream) - f->offset : 0;
	if (size > there)
		size = (size_t)there;
	/* For nothing malloc() may give nothing. */
	buf = malloc(size ? size : 1);
	if (!buf) {
		call_done(call, -ENOMEM);
		return true;
	}
	n = exec_read(x, f->stream, &f->offset, buf, size, &eof, &lost, NULL);
	if (n == 0 && !eof)
		return false;
	if (n < 0) {
		call_done(call, (int)n);
		return true;
	}
	f->offset += (uint64_t)n;
	call_data(call, buf, (size_t)n);
	if (f->reading)
		exec_reader_at(x, f->reader, f->offset);
	return true;
}

void job_live_read(struct tree *t, struct handle *h, size_t size, uint64_t offset, struct call *call)
{
	struct job_file *f = h->state;

	(void)size;
	/* Of a reader who began with an earlier daemon: it goes on where it is. */
	if (!f->begun && (!f->made_it || h->again) && offset > f->offset + f->written)
		f->offset = offset - f->written;
	f->begun = true;
	if (f->row == 0)
		call_data(call, NULL, 0);
	else if (!TAILQ_EMPTY(&h->parked) || !live_answer(t, h, call))
		handle_park(h, call);
}

static int live_open(struct tree *t, struct handle *h)
{
	struct exec *x = job_of(t, h->at.row);
	struct job_file *f;
	int r = job_file_new(t, h);

	if (r < 0)
		return r;
	f = h->state;
	r = x ? exec_reader_add(x, f->stream, &f->reader) : -ESTALE;
	if (r < 0) {
		job_file_release(t, h);
		return r;
	}
	f->reading = true;
	f->offset = exec_first(x, f->stream);
	return 0;
}

unsigned job_live_poll(struct tree *t, struct handle *h)
{
	struct job_file *f = h->state;
	struct exec *x = f->row ? job_of(t, f->row) : NULL;
	struct exec_view v;

	if (!x)
		return POLLIN | POLLHUP;
	exec_view(x, &v);
	return exec_size(x, f->stream) > f->offset || job_over(&v) ? POLLIN | POLLRDNORM : 0;
}

const struct file_ops job_live_ops = {
	.open = live_open, .release = job_file_release, .read = job_live_read, .poll = job_live_poll};

/* Standard input. */
bool job_wants_stdin(struct tree *t, uint64_t row)
{
	struct handle *h;

	LIST_FOREACH (h, &t->jobs, link)
		if (h->at.row == row && h->at.attr->ops == &job_stdin_ops)
			return true;
	return false;
}

/* Gives the job what is pending; answers when it has all of it. */
static void stdin_push(struct tree *t, struct handle *h)
{
	struct job_file *f = h->state;
	struct call *call = TAILQ_FIRST(&h->parked);
	struct exec *x = job_of(t, f->row);
	ssize_t n =
		x ? exec_stdin(x, f->pending + f->pending_at, f->pending_n - f->pending_at, NULL) : -EPIPE;

	if (n >= 0)
		f->pending_at += (size_t)n;
	if (n >= 0 && f->pending_at < f->pending_n)
		return;
	/* An end in the middle is told by the next write, as with a pipe. */
	TAILQ_REMOVE(&h->parked, call, link);
	free(f->pending);
	f->pending = NULL;
	call_done(call, n < 0 && f->pending_at == 0 ? (int)n : (int)f->pending_at);
}

static void stdin_cancel(struct call *call)
{
	struct handle *h = call->parked;
	struct job_file *f = h->state;
	int taken = (int)f->pending_at;

	TAILQ_REMOVE(&h->parked, call, link);
	free(f->pending);
	f->pending = NULL;
	call_done(call, taken > 0 ? taken : -EINTR);
}

static void stdin_write(struct tree *t, struct handle *h, const void *data, size_t n, struct call *call)
{
	struct job_file *f = h->state;
	struct exec *x = job_of(t, f->row);
	ssize_t taken;

	if (!x || f->pending) {
		call_done(call, x ? -EAGAIN : -ESTALE);
		return;
	}
	taken = exec_stdin(x, data, n, NULL);
	if (taken < 0 || (size_t)taken == n || (h->nonblock && taken > 0)) {
		call_done(call, (int)taken);
		return;
	}
	if (h->nonblock) {
		call_done(call, -EAGAIN);
		return;
	}
	f->pending = malloc(n);
	if (!f->pending) {
		call_done(call, taken > 0 ? (int)taken : -ENOMEM);
		return;
	}
	memcpy(f->pending, data, n);
	f->pending_at = (size_t)taken;
	f->pending_n = n;
	call->parked = h;
	call->cancel = stdin_cancel;
	TAILQ_INSERT_TAIL(&h->parked, call, link);
}

static void stdin_release(struct tree *t, struct handle *h)
{
	uint64_t row = h->at.row;
	struct exec_view v;
	struct exec *x;

	job_file_release(t, h);
	/* It may have been the last that kept it. */
	x = job_of(t, row);
	if (t->ending || !x || job_wants_stdin(t, row))
		return;
	exec_view(x, &v);
	if (!v.keep_stdin && !v.tty)
		exec_stdin_close(x);
}

static unsigned stdin_poll(struct tree *t, struct handle *h)
{
	struct job_file *f = h->state;

	(void)t;
	return f->pending ? 0 : POLLOUT | POLLWRNORM;
}

const struct file_ops job_stdin_ops = {
	.open = job_file_new,
	.release = stdin_release,
	.write = stdin_write,
	.poll = stdin_poll,
};

/* wait/exit */
static bool exit_answer(struct tree *t, struct handle *h, struct call *call)
{
	struct exec *x = job_of(t, h->at.row);
	struct exec_view v;
	char line[16];
	int n;

	if (!x) {
		call_done(call, -ESTALE);
		return true;
	}
	exec_view(x, &v);
	if (!job_over(&v))
		return false;
	n = snprintf(line, sizeof(line), "%d\n", job_exit_code(&v));
	call_data(call, line, (size_t)n < call->size ? (size_t)n : call->size);
	return true;
}

static void exit_read(struct tree *t, struct handle *h, size_t size, uint64_t offset, struct call *call)
{
	(void)size;
	if (offset > 0)
		call_data(call, NULL, 0);
	else if (!exit_answer(t, h, call))
		handle_park(h, call);
}

static unsigned exit_poll(struct tree *t, struct handle *h)
{
	struct exec *x = job_of(t, h->at.row);
	struct exec_view v;

	if (!x)
		return POLLIN | POLLHUP;
	exec_view(x, &v);
	return job_over(&v) ? POLLIN | POLLRDNORM : 0;
}

const struct file_ops job_exit_ops = {
	.open = job_file_new, .release = job_file_release, .read = exit_read, .poll = exit_poll};

/* What happens to jobs. */
static void poke(struct tree *t, struct handle *h)
{
	if (h->poll)
		t->listener->pollable(t->user, h);
}

static void each_reader(struct tree *t, uint64_t row, int stream)
{
	struct handle *h;

	LIST_FOREACH (h, &t->jobs, link) {
		struct job_file *f = h->state;
		struct call *call;

		if (f->row != row || h->at.attr->ops == &job_stdin_ops)
			continue;
		if (h->at.attr->ops != &job_exit_ops && f->stream != stream && stream != 0)
			continue;
		while ((call = TAILQ_FIRST(&h->parked))) {
			TAILQ_REMOVE(&h->parked, call, link);
			if (h->at.attr->ops == &job_exit_ops ? exit_answer(t, h, call)
							     : live_answer(t, h, call))
				continue;
			TAILQ_INSERT_HEAD(&h->parked, call, link);
			break;
		}
		poke(t, h);
	}
}

static void on_changed(void *user, struct exec *x)
{
	struct tree *t = user;
	struct exec_view v;
	uint64_t row;

	exec_view(x, &v);
	row = node_row(v.vm, v.number);
	tree_stale_files(t, KIND_EXEC, row);
	/* Nor does the folder's time change before it has started. */
	if (v.started || v.ended)
		tree_stale(t, KIND_EXEC, row, 0);
	each_reader(t, row, 0);
	forget_fleeting(t, row);
}

static void on_output(void *user, struct exec *x, int stream)
{
	struct exec_view v;

	exec_view(x, &v);
	each_reader(user, node_row(v.vm, v.number), stream);
}

static void on_writable(void *user, struct exec *x)
{
	struct tree *t = user;
	struct exec_view v;
	struct handle *h;

	exec_view(x, &v);
	LIST_FOREACH (h, &t->jobs, link) {
		struct job_file *f = h->state;

		if (f->row != node_row(v.vm, v.number) || h->at.attr->ops != &job_stdin_ops)
			continue;
		if (f->pending)
			stdin_push(t, h);
		poke(t, h);
	}
}

static void on_gone(void *user, uint32_t vm, uint32_t number)
{
	uint64_t row = node_row(vm, number), first = node_number(KIND_EXEC, row, 0);
	struct tree *t = user;
	struct handle *h;

	tree_stale_all(t, KIND_EXEC, row);
	tree_stale(t, KIND_EXECS, vm, 0);
	tree_modes_forget(t, first, first + NODE_ATTR_MAX);
	LIST_FOREACH (h, &t->jobs, link) {
		struct job_file *f = h->state;

		if (f->row != row)
			continue;
		if (f->pending)
			stdin_push(t, h);
		f->reading = false;
	}
	each_reader(t, row, 0);
}

const struct exec_watch tree_exec_watch = {
	.changed = on_changed,
	.output = on_output,
	.writable = on_writable,
	.gone = on_gone,
};
