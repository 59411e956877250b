#include <errno.h>
#include <sys/socket.h>

#include "banger/io.h"
#include "guest/conduit.h"
#include "vm/model.h"
#include "vm/talk.h"

struct talk {
	LIST_ENTRY(talk) link;
	struct conduit *conduit;
	bool cancelled;
	/* How the program ended. */
	bool ended;
	int start;
	uint32_t kind, code;
	char *text;
	/* The worker's: */
	talk_work_fn work;
	talk_done_fn done;
	void *data;
	int sock;
};

static void talk_free(struct talk *t)
{
	conduit_free(t->conduit);
	close_fd(t->sock);
	free(t->text);
	free(t);
}

static int work(void *data, struct err *e)
{
	struct talk *t = data;
	int r = t->work(t->data, t->sock, e);

	t->sock = close_fd(t->sock);
	return r;
}

static int explain(const struct talk *t, struct err *e)
{
	/* Exit code 2: it knows no such words. */
	if (t->start == -ENOENT || (t->start == 0 && t->kind == 0 && t->code == 2))
		return err_set(e, -EPROTO, "the guest's agent is of an older banger: restart the VM");
	if (t->start < 0)
		return err_sys(e, t->start, "in the guest");
	if (t->kind == 2)
		return err_set(e, -ENOTCONN, "the guest's agent has gone: see the VM's log");
	if (t->text && *t->text)
		return err_set(e, -EIO, "in the guest: %s", t->text);
	return err_set(
		e, -EIO, "in the guest: ended by %s %u", t->kind == 1 ? "signal" : "exit code", t->code);
}

static void on_done(void *data, int code, struct err *e)
{
	struct talk *t = data;
	_cleanup_err_ struct err mine = {0};
	bool failed = t->ended && (t->start < 0 || t->kind != 0 || t->code != 0);

	LIST_REMOVE(t, link);
	if (t->cancelled)
		code = err_set(&mine, -EINTR, "cancelled");
	else if (t->ended && (code == -EPIPE || (code == 0 && failed)))
		code = explain(t, &mine);
	else if (code < 0)
		err_copy(&mine, e);
	t->done(t->data, code, t->ended && t->start == 0 && t->kind == 0 ? (int)t->code : -1, &mine);
	talk_free(t);
}

static void on_conduit(void *user, int start, uint32_t kind, uint32_t code, const char *text)
{
	struct talk *t = user;

	t->conduit = NULL;
	t->ended = true;
	t->start = start;
	t->kind = kind;
	t->code = code;
	t->text = strdup(text);
}

int talk_begin(struct vm *vm, const char *const *argv, talk_work_fn work_fn, talk_done_fn done, void *data,
	struct talk **ret, struct err *e)
{
	const struct agent_exec what = {.argv = argv, .cwd = "/"};
	struct talk *t;
	int pair[2], r;

	if (!vm->agent)
		return err_set(e, -EBUSY, "the VM is %s: echo start > vms/%s/ctl first",
			vm->state == VM_RUNNING ? "not ready yet" : vm_state_name(vm->state), vm->row.name);
	t = calloc(1, sizeof(*t));
	if (!t)
		return err_sys(e, -ENOMEM, "job");
	*t = (struct talk){.work = work_fn, .done = done, .data = data, .sock = -EBADF};
	r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ? err_sys(e, -errno, "job") : 0;
	if (r == 0) {
		t->sock = pair[0];
		r = conduit_start(vm->agent, vm->vms->event, &what, pair[1], on_conduit, t, &t->conduit, e);
	}
	if (r == 0)
		r = job_submit(vm->vms->jobs, work, on_done, t, e);
	if (r < 0) {
		talk_free(t);
		return r;
	}
	LIST_INSERT_HEAD(&vm->vms->talks, t, link);
	*ret = t;
	return 0;
}

void talk_cancel(struct talk *t)
{
	t->cancelled = true;
	t->conduit = conduit_free(t->conduit);
}

void talks_end(struct vms *vms)
{
	struct talk *t;

	LIST_FOREACH (t, &vms->talks, link)
		talk_cancel(t);
}
