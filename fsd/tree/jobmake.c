/* The files that make jobs: clone, and run, whose job lives as long as the handle. */
#include <errno.h>

#include "banger/cleanup.h"
#include "tree/jobs.h"

#define RUN_LINE 3 /* which argument of run's shell the line is */

static int make(struct tree *t, struct handle *h, uint64_t *ret_row)
{
	struct vm *vm = tree_vm(t, (uint32_t)h->at.row);
	struct exec_view v;
	struct exec *x;
	int r;

	if (!vm_agent(vm))
		return -ENOTCONN;
	r = exec_new(vm, &x, NULL);
	if (r < 0)
		return r;
	exec_view(x, &v);
	if (v.number > NODE_MINOR_MAX) {
		exec_delete(x, NULL);
		return -EUSERS;
	}
	*ret_row = node_row(h->at.row, v.number);
	tree_stale(t, KIND_EXECS, h->at.row, 0);
	return 0;
}

static int clone_open(struct tree *t, struct handle *h)
{
	/* One that an earlier daemon opened has its job, if it was read. */
	return h->reading && h->writing && !h->again && !vm_agent(tree_vm(t, (uint32_t)h->at.row)) ? -ENOTCONN
												   : 0;
}

static int clone_make(struct tree *t, struct handle *h)
{
	uint64_t row;
	char *text;
	int r = make(t, h, &row);

	if (r < 0)
		return r;
	r = asprintf(&text, "%u\n", node_minor(row));
	if (r < 0) {
		exec_delete(job_of(t, row), NULL);
		return -ENOMEM;
	}
	h->text = text;
	h->size = (size_t)r;
	return 0;
}

static void clone_read(struct tree *t, struct handle *h, size_t size, uint64_t offset, struct call *call)
{
	int r = h->reading && h->writing && !h->text && offset == 0 ? clone_make(t, h) : 0;
	size_t left = h->text && offset < h->size ? h->size - (size_t)offset : 0;

	if (r < 0)
		call_done(call, r);
	else
		call_data(call, left ? h->text + offset : NULL, left < size ? left : size);
}

static void clone_write(struct tree *t, struct handle *h, const void *data, size_t n, struct call *call)
{
	(void)t;
	(void)h;
	(void)data;
	(void)n;
	call_done(call, -EINVAL);
}

const struct file_ops job_clone_ops = {.open = clone_open, .read = clone_read, .write = clone_write};

/* run: a job that lives as long as the handle, over the ends of daemons too. */
static int run_open(struct tree *t, struct handle *h)
{
	struct vm *vm = tree_vm(t, (uint32_t)h->at.row);
	struct exec *x = h->again && vm ? exec_of_handle(vm, h->id) : NULL;
	struct job_file *f;
	struct exec_view v;
	int r = job_file_new(t, h);

	if (r < 0)
		return r;
	f = h->state;
	f->row = 0;
	f->stream = 1;
	if (!x)
		return 0;
	exec_view(x, &v);
	r = exec_reader_add(x, 1, &f->reader);
	if (r < 0) {
		job_file_release(t, h);
		return r;
	}
	f->row = node_row(h->at.row, v.number);
	f->made_it = f->reading = true;
	/* The line that was written stands in the file before what is read. */
	f->written = strlen(v.argv[RUN_LINE]);
	return 0;
}

static void run_write(struct tree *t, struct handle *h, const void *data, size_t n, struct call *call)
{
	/* The line (RUN_LINE) is evaluated by a shell whose both streams are one already, so that its own complaints come too. */
	static const char before[] = "/bin/sh\0-c\0exec 2>&1; eval \"$0\"";
	struct job_file *f = h->state;
	_cleanup_free_ char *cmd = NULL;
	uint64_t row;
	int r;

	if (f->row != 0 && call->again) {
		job_start(t, f->row, call);
		return;
	}
	if (!h->reading || f->row != 0 || n == 0 || memchr(data, '\0', n)) {
		call_done(call, f->row != 0 ? -EBUSY : -EINVAL);
		return;
	}
	cmd = malloc(sizeof(before) + n + 1);
	r = cmd ? make(t, h, &row) : -ENOMEM;
	if (r < 0) {
		call_done(call, r);
		return;
	}
	f->row = row;
	f->made_it = true;
	memcpy(cmd, before, sizeof(before));
	memcpy(cmd + sizeof(before), data, n);
	cmd[sizeof(before) + n] = '\0';
	exec_set_handle(job_of(t, row), h->id);
	r = exec_set_cmd(job_of(t, row), cmd, sizeof(before) + n + 1, NULL);
	if (r == 0)
		r = exec_reader_add(job_of(t, row), 1, &f->reader);
	if (r < 0) {
		exec_delete(job_of(t, row), NULL);
		f->row = 0;
		call_done(call, r);
		return;
	}
	f->reading = true;
	job_start(t, row, call);
}

const struct file_ops job_run_ops = {
	.open = run_open,
	.release = job_file_release,
	.read = job_live_read,
	.write = run_write,
	.poll = job_live_poll,
};
