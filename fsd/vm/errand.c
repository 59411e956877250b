#include <errno.h>
#include <sys/socket.h>

#include "banger/cleanup.h"
#include "guest/conduit.h"
#include "vm/errand.h"
#include "vm/model.h"

struct errand {
	struct errand_spec spec;
	struct vms *vms;
	uint32_t vm;
	int sock;
	struct conduit *conduit;
	bool cancelled;
	/* How the guest's end of it ended. */
	bool ended;
	int start;
	uint32_t kind, code;
	char *text;
};

static void errand_free(struct errand *x)
{
	conduit_free(x->conduit);
	close_fd(x->sock);
	free(x->text);
	free(x);
}

static int work(void *data, struct err *e)
{
	struct errand *x = data;
	int r = x->spec.work(x->spec.data, x->sock, e);

	x->sock = close_fd(x->sock);
	return r;
}

/* The worker has only seen that nobody was there any more. */
static void explain(const struct errand *x, struct err *e)
{
	if (x->start == -ENOENT || (x->kind == 0 && x->code == 2))
		err_set(e, -EPROTO, "the guest's agent is of an older banger: restart the VM");
	else if (x->start < 0)
		err_sys(e, x->start, "in the guest");
	else if (x->kind == 2)
		err_set(e, -ENOTCONN, "the guest's agent has gone: see the VM's log");
	else if (x->text && *x->text)
		err_set(e, -EIO, "in the guest: %s", x->text);
	else
		err_set(e, -EIO, "in the guest: ended by %s %u", x->kind == 1 ? "signal" : "exit code",
			x->code);
}

static void on_worked(void *data, int code, struct err *e)
{
	struct errand *x = data;
	_cleanup_err_ struct err mine = {0};

	if (code < 0 && x->cancelled)
		err_set(&mine, -EINTR, "cancelled");
	else if (code == -EPIPE && x->ended)
		explain(x, &mine);
	else if (code < 0)
		err_copy(&mine, e);
	if (mine.code < 0)
		err_wrap(&mine, "%s", x->spec.what);
	x->spec.done(x->spec.data, vms_get(x->vms, x->vm), mine.code, &mine);
	errand_free(x);
}

static void on_conduit(void *user, int start, uint32_t kind, uint32_t code, const char *text)
{
	struct errand *x = user;

	x->conduit = NULL;
	x->ended = true;
	x->start = start;
	x->kind = kind;
	x->code = code;
	x->text = strdup(text);
}

int errand_begin(struct vm *vm, const struct errand_spec *spec, struct errand **ret, struct err *e)
{
	const struct agent_exec what = {.argv = spec->argv, .cwd = "/"};
	struct errand *x;
	int pair[2], r;

	if (!vm->agent)
		return err_set(e, -EBUSY, "%s: the VM is %s: echo start > vms/%s/ctl first", spec->what,
			vm->state == VM_RUNNING ? "not ready yet" : vm_state_name(vm->state), vm->row.name);
	x = calloc(1, sizeof(*x));
	if (!x)
		return err_sys(e, -ENOMEM, "%s", spec->what);
	*x = (struct errand){.spec = *spec, .vms = vm->vms, .vm = vm->row.id, .sock = -EBADF};
	r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0
		    ? err_sys(e, -errno, "%s", spec->what)
		    : 0;
	if (r == 0) {
		x->sock = pair[0];
		r = conduit_start(vm->agent, vm->vms->event, &what, pair[1], on_conduit, x, &x->conduit, e);
	}
	if (r == 0)
		r = job_submit(vm->vms->jobs, work, on_worked, x, e);
	if (r < 0) {
		errand_free(x);
		return r;
	}
	*ret = x;
	return 0;
}

void errand_cancel(struct errand *x)
{
	x->cancelled = true;
	x->conduit = conduit_free(x->conduit);
}
