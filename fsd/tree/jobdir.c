/* exec/N/: a job in the guest. Rows are node_row(VM, N). */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>

#include "banger/cleanup.h"
#include "banger/parse.h"
#include "tree/jobs.h"
#include "tree/tables.h"
#include "vm/ssh.h"

#define CTL_LINES_MAX 8

struct exec *job_of(struct tree *t, uint64_t row)
{
	return t->vms ? exec_get(t->vms, node_major(row), node_minor(row)) : NULL;
}

int job_exit_code(const struct exec_view *v)
{
	if (v->state == EXEC_FAILED)
		return v->start_code == -ENOENT ? 127 : v->start_code == -EACCES ? 126 : 125;
	if (v->exit_kind == 2)
		return 255;
	return v->exit_kind == 1 ? 128 + (int)v->exit_code : (int)v->exit_code;
}

bool job_over(const struct exec_view *v)
{
	return v->state == EXEC_EXITED || v->state == EXEC_FAILED;
}

static bool exec_exists(struct tree *t, uint64_t row)
{
	return job_of(t, row) != NULL;
}

static uint64_t exec_changed(struct tree *t, uint64_t row)
{
	struct exec *x = job_of(t, row);
	struct exec_view v;

	if (!x)
		return t->began;
	exec_view(x, &v);
	return v.ended ? v.ended : v.started ? v.started : v.created;
}

static uint64_t exec_parent(struct tree *t, uint64_t row)
{
	(void)t;
	return node_number(KIND_EXECS, node_major(row), 0);
}

static uint64_t parent_exec(struct tree *t, uint64_t row)
{
	(void)t;
	return node_number(KIND_EXEC, row, 0);
}

static void status_show(struct tree *t, const struct target *at, FILE *out)
{
	static const char *const states[] = {
		[EXEC_NEW] = "new",
		[EXEC_STARTING] = "starting",
		[EXEC_RUNNING] = "running",
		[EXEC_EXITED] = "exited",
		[EXEC_FAILED] = "failed",
	};
	struct exec_view v;

	exec_view(job_of(t, at->row), &v);
	fprintf(out, "state %s\n", states[v.state]);
	if (job_over(&v))
		fprintf(out, "exit %d\n", job_exit_code(&v));
	if (v.state == EXEC_EXITED && v.exit_kind == 1)
		fprintf(out, "signal %u\n", v.exit_code);
	if (v.state == EXEC_EXITED && v.exit_kind == 2)
		fputs("lost 1\n", out);
	if (v.state == EXEC_FAILED)
		fprintf(out, "error %s\n", strerror(-v.start_code));
	fprintf(out, "created %" PRIu64 "\n", v.created / 1000000);
	if (v.started)
		fprintf(out, "started %" PRIu64 "\n", v.started / 1000000);
	if (v.ended)
		fprintf(out, "ended %" PRIu64 "\n", v.ended / 1000000);
}

static void cmd_show(struct tree *t, const struct target *at, FILE *out)
{
	struct exec_view v;

	exec_view(job_of(t, at->row), &v);
	exec_show_list(v.argv, out);
}

static void env_show(struct tree *t, const struct target *at, FILE *out)
{
	struct exec_view v;

	exec_view(job_of(t, at->row), &v);
	exec_show_list(v.env, out);
}

static void cwd_show(struct tree *t, const struct target *at, FILE *out)
{
	struct exec_view v;

	exec_view(job_of(t, at->row), &v);
	fprintf(out, "%s\n", v.cwd ? v.cwd : "");
}

static void user_show(struct tree *t, const struct target *at, FILE *out)
{
	struct exec_view v;

	exec_view(job_of(t, at->row), &v);
	fprintf(out, "%s\n", v.user ? v.user : "");
}

static void tty_show(struct tree *t, const struct target *at, FILE *out)
{
	struct exec_view v;

	exec_view(job_of(t, at->row), &v);
	fprintf(out, "%d\n", v.tty);
}

static void stdin_show(struct tree *t, const struct target *at, FILE *out)
{
	struct exec_view v;

	exec_view(job_of(t, at->row), &v);
	fprintf(out, "%d\n", v.keep_stdin);
}

static void cmd_write(struct tree *t, struct handle *h, const void *data, size_t n, struct call *call)
{
	call_done(call, exec_set_cmd(job_of(t, h->at.row), data, n, NULL));
}

static void env_write(struct tree *t, struct handle *h, const void *data, size_t n, struct call *call)
{
	call_done(call, exec_set_env(job_of(t, h->at.row), data, n, NULL));
}

static const struct file_ops cmd_ops = {.write = cmd_write};
static const struct file_ops env_ops = {.write = env_write};

static void cwd_store(struct tree *t, const struct target *at, const struct input *in, struct call *call)
{
	call_done(call, in->count == 1 ? exec_set_cwd(job_of(t, at->row), in->lines[0], NULL) : -EINVAL);
}

static void user_store(struct tree *t, const struct target *at, const struct input *in, struct call *call)
{
	call_done(call, in->count == 1 ? exec_set_user(job_of(t, at->row), in->lines[0], NULL) : -EINVAL);
}

static void tty_store(struct tree *t, const struct target *at, const struct input *in, struct call *call)
{
	bool on;

	if (in->count != 1 || parse_bool(in->lines[0], &on) < 0)
		call_done(call, -EINVAL);
	else
		call_done(call, exec_set_tty(job_of(t, at->row), on, NULL));
}

static void stdin_store(struct tree *t, const struct target *at, const struct input *in, struct call *call)
{
	bool on;

	if (in->count != 1 || parse_bool(in->lines[0], &on) < 0)
		call_done(call, -EINVAL);
	else
		call_done(call, exec_set_keep_stdin(job_of(t, at->row), on, NULL));
}

/* ctl: `start` and `ssh` are last lines, for they are waited for. */
enum verb { START, SSH, MAIN, SIGNAL, WINSIZE, CLOSE };
struct command {
	enum verb verb;
	uint32_t signal;
	uint16_t rows, cols;
};

static int command_parse(const char *line, struct command *ret)
{
	_cleanup_free_ char *copy = NULL;
	uint64_t rows, cols;
	char *words[3];
	size_t n;
	int r = input_words(line, &copy, words, ELEMENTSOF(words), &n);

	if (r < 0)
		return r == -E2BIG ? -EINVAL : r;
	if (n == 1 && strcmp(words[0], "start") == 0) {
		ret->verb = START;
		return 0;
	}
	if (n == 1 && strcmp(words[0], "main") == 0) {
		ret->verb = MAIN;
		return 0;
	}
	if (n == 1 && strcmp(words[0], "ssh") == 0) {
		ret->verb = SSH;
		return 0;
	}
	if (n == 1 && strcmp(words[0], "close") == 0) {
		ret->verb = CLOSE;
		return 0;
	}
	if (n == 2 && strcmp(words[0], "signal") == 0) {
		ret->verb = SIGNAL;
		return exec_signal_parse(words[1], &ret->signal);
	}
	if (n == 3 && strcmp(words[0], "winsize") == 0) {
		ret->verb = WINSIZE;
		if ((r = parse_u64(words[1], 1, UINT16_MAX, &rows)) < 0 ||
			(r = parse_u64(words[2], 1, UINT16_MAX, &cols)) < 0)
			return r;
		ret->rows = (uint16_t)rows;
		ret->cols = (uint16_t)cols;
		return 0;
	}
	return -EINVAL;
}

static void on_cancel(struct call *call)
{
	struct job_start *s = call->parked;
	struct exec *x = job_of(s->t, s->row);

	if (x)
		exec_unwait(x);
}

static void on_started(void *user, int code, const struct err *e)
{
	struct job_start *s = user;
	_cleanup_free_ char *what = NULL;

	if (asprintf(&what, "exec %u start", node_minor(s->row)) < 0)
		what = NULL;
	vm_deed(s->t, node_major(s->row), s->call, what ? what : "exec", code, e ? e->text : NULL, false);
	free(s);
}

void job_start(struct tree *t, uint64_t row, struct call *call)
{
	struct job_start *s = malloc(sizeof(*s));
	_cleanup_err_ struct err e = {0};
	struct exec_view v;
	int r;

	if (!s) {
		call_done(call, -ENOMEM);
		return;
	}
	*s = (struct job_start){t, call, row};
	exec_view(job_of(t, row), &v);
	/* The daemon before has started it. */
	if (call->again && v.state != EXEC_NEW) {
		on_started(s, v.state == EXEC_FAILED ? v.start_code : 0, &e);
		return;
	}
	call->parked = s;
	call->cancel = on_cancel;
	r = exec_start(job_of(t, row), job_wants_stdin(t, row), on_started, s, &e);
	if (r < 0)
		on_started(s, r, &e);
}

struct ssh_call {
	struct tree *t;
	struct call *call;
	uint64_t row;
	struct ssh_waiter *waiter;
};

static void on_ssh(void *user, int code, const struct err *e)
{
	struct ssh_call *s = user;
	struct exec *x = job_of(s->t, s->row);

	if (code == 0)
		code = x ? exec_set_ssh(x, NULL) : -ESTALE;
	vm_deed(s->t, node_major(s->row), s->call, "ssh", code, e ? e->text : NULL, false);
	free(s);
}

static void on_ssh_cancel(struct call *call)
{
	struct ssh_call *s = call->parked;

	ssh_unwait(s->waiter);
}

static void set_up_ssh(struct tree *t, uint64_t row, struct call *call)
{
	struct ssh_call *s = malloc(sizeof(*s));
	_cleanup_err_ struct err e = {0};
	struct ssh_waiter *waiter;
	int r;

	if (!s) {
		call_done(call, -ENOMEM);
		return;
	}
	*s = (struct ssh_call){.t = t, .call = call, .row = row};
	r = ssh_ready(tree_vm(t, node_major(row)), on_ssh, s, &waiter, &e);
	if (r < 0) {
		on_ssh(s, r, &e);
	} else if (waiter) {
		s->waiter = waiter;
		call->parked = s;
		call->cancel = on_ssh_cancel;
	}
}

static void ctl_store(struct tree *t, const struct target *at, const struct input *in, struct call *call)
{
	struct command commands[CTL_LINES_MAX] = {0};
	struct exec *x = job_of(t, at->row);
	int r = in->count > CTL_LINES_MAX ? -E2BIG : 0;

	for (size_t i = 0; i < in->count && r == 0; i++) {
		r = command_parse(in->lines[i], &commands[i]);
		if (r == 0 && (commands[i].verb == START || commands[i].verb == SSH) && i + 1 < in->count)
			r = -EINVAL;
	}
	for (size_t i = 0; i < in->count && r == 0; i++) {
		switch (commands[i].verb) {
		case START:
			job_start(t, at->row, call);
			return;
		case SSH:
			set_up_ssh(t, at->row, call);
			return;
		case SIGNAL:
			r = exec_signal(x, commands[i].signal, NULL);
			break;
		case WINSIZE:
			r = exec_winsize(x, commands[i].rows, commands[i].cols, NULL);
			break;
		case MAIN:
			r = exec_set_main(x, NULL);
			break;
		case CLOSE:
			r = exec_stdin_close(x);
			break;
		}
	}
	call_done(call, r);
}

static void ctl_show(struct tree *t, const struct target *at, FILE *out)
{
	struct exec_view v;

	exec_view(job_of(t, at->row), &v);
	if (v.state == EXEC_NEW)
		fputs("main\nssh\nstart\nwinsize\n", out);
	else if (!job_over(&v))
		fputs("signal\nwinsize\nclose\n", out);
}

static const struct attr exec_attrs[] = {
	{.id = 2,
		.name = "ctl",
		.mode = 0600,
		.show = ctl_show,
		.store = ctl_store,
		.doc = "`main` (sets it up as what the VM's image is for: entrypoint, cmd, workdir, user; "
		       "EINVAL for an image that says nothing of that), `ssh` (sets it up as an ssh server "
		       "whose one connection is its standard streams, the image's own or one that is "
		       "brought), `start` (returns when it runs; EINVAL without a command), `signal TERM`, "
		       "`winsize ROWS COLUMNS`, `close` (end of its standard input). Reading lists the "
		       "legal ones."},
	{.id = 3,
		.name = "cmd",
		.mode = 0600,
		.flags = ATTR_STORED,
		.show = cmd_show,
		.ops = &cmd_ops,
		.doc = "The arguments, one a line; or each ended by a NUL, so that they may hold newlines. "
		       "Before the start. Where the guest has mise they are run by `mise exec`, which "
		       "trusts the workspace's files."},
	{.id = 4,
		.name = "env",
		.mode = 0600,
		.flags = ATTR_STORED,
		.show = env_show,
		.ops = &env_ops,
		.doc = "NAME=VALUE, likewise; added to the agent's own."},
	{.id = 5,
		.name = "cwd",
		.mode = 0600,
		.flags = ATTR_STORED,
		.show = cwd_show,
		.store = cwd_store,
		.doc = "Working directory; empty: the workspace."},
	{.id = 6,
		.name = "user",
		.mode = 0600,
		.flags = ATTR_STORED,
		.show = user_show,
		.store = user_store,
		.doc = "User in the guest, name or number; empty: root."},
	{.id = 7,
		.name = "tty",
		.mode = 0600,
		.flags = ATTR_STORED,
		.show = tty_show,
		.store = tty_store,
		.doc = "1: it gets a terminal, and standard error comes with standard output."},
	{.id = 18,
		.name = "stdin",
		.mode = 0600,
		.flags = ATTR_STORED,
		.show = stdin_show,
		.store = stdin_store,
		.doc = "1: its standard input is kept open, for whoever opens `stream/stdin` later, until "
		       "`close`. 0: it is whoever has `stream/stdin` open at the start, and the last of "
		       "them who closes it ends it; nobody: /dev/null. A terminal's is kept in any case."},
	{.id = 8,
		.name = "status",
		.mode = 0444,
		.flags = ATTR_STORED,
		.show = status_show,
		.doc = "Flat keyed: state (`new starting running exited failed`), exit (as a shell tells it: "
		       "128 + the signal, 127 no "
		       "such program, 126 it is none), signal, lost, error, created, started, ended."},
	{.id = 9,
		.name = "stdout",
		.mode = 0400,
		.flags = ATTR_LOG,
		.ops = &job_kept_ops,
		.data = (const void *)1,
		.doc = "What it wrote so far, the younger 4 MiB."},
	{.id = 10,
		.name = "stderr",
		.mode = 0400,
		.flags = ATTR_LOG,
		.ops = &job_kept_ops,
		.data = (const void *)2,
		.doc = "Likewise."},
	{.id = 16, .name = "stream", .mode = S_IFDIR, .flags = ATTR_HIDDEN, .child = KIND_EXEC_STREAM},
	{.id = 17, .name = "wait", .mode = S_IFDIR, .child = KIND_EXEC_WAIT},
};

static int job_removable(struct tree *t, uint64_t row)
{
	return exec_exists(t, row) ? 0 : -ESTALE;
}

const struct dir_type exec_dir = {
	.kind = KIND_EXEC,
	.mode = 0700,
	.path = "vms/NAME/exec/N/",
	.doc = "A job in the guest. `rmdir` ends it and forgets its output.",
	.attrs = exec_attrs,
	.attr_count = ELEMENTSOF(exec_attrs),
	.exists = exec_exists,
	.changed = exec_changed,
	.parent = exec_parent,
	.removable = job_removable,
};

static const struct attr stream_attrs[] = {
	{.id = 2,
		.name = "stdin",
		.mode = 0200,
		.flags = ATTR_STREAM | ATTR_HELD,
		.ops = &job_stdin_ops,
		.doc = "Blocks while the job takes no more. Open it before the start: a job that nobody "
		       "writes to reads /dev/null. "
		       "Closing the last one is the end of file, as with a pipe."},
	{.id = 3,
		.name = "stdout",
		.mode = 0400,
		.flags = ATTR_STREAM,
		.ops = &job_live_ops,
		.data = (const void *)1,
		.doc = "Blocks. All that it writes, from the first byte kept; a reader that falls behind "
		       "slows the job."},
	{.id = 4,
		.name = "stderr",
		.mode = 0400,
		.flags = ATTR_STREAM,
		.ops = &job_live_ops,
		.data = (const void *)2,
		.doc = "Likewise."},
};

const struct dir_type exec_stream_dir = {
	.kind = KIND_EXEC_STREAM,
	.mode = 0700,
	.path = "vms/NAME/exec/N/stream/",
	.doc = "What blocks: reachable by name, not listed.",
	.attrs = stream_attrs,
	.attr_count = ELEMENTSOF(stream_attrs),
	.exists = exec_exists,
	.changed = exec_changed,
	.parent = parent_exec,
	.removable = job_removable,
};

static const struct attr wait_attrs[] = {
	{.id = 2,
		.name = "exit",
		.mode = 0400,
		.flags = ATTR_STREAM,
		.ops = &job_exit_ops,
		.doc = "Blocks until it has ended, then says its exit code as `status` does."},
};

const struct dir_type exec_wait_dir = {
	.kind = KIND_EXEC_WAIT,
	.mode = 0700,
	.path = "vms/NAME/exec/N/wait/",
	.doc = "What blocks: reachable by name, not listed.",
	.attrs = wait_attrs,
	.attr_count = ELEMENTSOF(wait_attrs),
	.exists = exec_exists,
	.changed = exec_changed,
	.parent = parent_exec,
	.removable = job_removable,
};
