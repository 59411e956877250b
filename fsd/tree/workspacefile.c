/* vms/NAME/workspace.ctl, workspace.info, and what comes back: workspace.patch, .status, .bundle. */
#include <errno.h>

#include "banger/cleanup.h"
#include "tree/state.h"
#include "tree/tables.h"
#include "vm/workspace.h"

struct prepare {
	struct tree *t;
	struct call *call;
	uint32_t vm;
	struct workspace_waiter *waiter;
};

/* "prepare [force] PATH [REF]"; PATH may stand in double quotes. Words point into COPY. */
static int parse(char *copy, const char **ret_path, const char **ret_ref, bool *ret_force)
{
	static const char verb[] = "prepare ", force[] = "force ";
	char *at = copy, *end;

	if (strncmp(at, verb, sizeof(verb) - 1) != 0)
		return -EINVAL;
	at += sizeof(verb) - 1;
	*ret_force = strncmp(at, force, sizeof(force) - 1) == 0;
	if (*ret_force)
		at += sizeof(force) - 1;
	if (*at == '"') {
		end = strchr(++at, '"');
		if (!end || (end[1] && end[1] != ' '))
			return -EINVAL;
		*end++ = '\0';
	} else {
		end = strchrnul(at, ' ');
	}
	if (*end)
		*end++ = '\0';
	*ret_path = at;
	*ret_ref = end;
	return *at && !strchr(end, ' ') ? 0 : -EINVAL;
}

static void on_prepared(void *user, int code, const struct err *e)
{
	struct prepare *p = user;

	/* Cut off by the daemon's end: the next one is asked again. */
	if (p->t->ending && code < 0) {
		free(p);
		return;
	}
	vm_deed(p->t, p->vm, p->call, "workspace prepare", code, e ? e->text : NULL, false);
	free(p);
}

static void on_cancel(struct call *call)
{
	struct prepare *p = call->parked;

	workspace_unwait(p->waiter);
}

static int begin(struct prepare *p, const struct input *in, struct err *e)
{
	_cleanup_free_ char *copy = strdup(in->lines[0]);
	const char *path, *ref;
	bool force;

	if (!copy)
		return err_sys(e, -ENOMEM, "prepare");
	if (in->count != 1 || parse(copy, &path, &ref, &force) < 0)
		return err_set(e, -EINVAL,
			"wanted: prepare [force] PATH [REF], one line; PATH in \"\" where it has blanks");
	/* It reads what the owner may read: for nobody else, whoever may write here. */
	if (p->call->uid != 0 && p->call->uid != p->t->owner)
		return err_set(e, -EPERM,
			"prepare: the host's files are the owner's to bring: cp into workspace/ what is "
			"yours");
	return workspace_prepare(tree_vm(p->t, p->vm), path, ref, force, on_prepared, p, &p->waiter, e);
}

void workspace_ctl_store(struct tree *t, const struct target *at, const struct input *in, struct call *call)
{
	struct prepare *p = calloc(1, sizeof(*p));
	_cleanup_err_ struct err e = {0};
	int r;

	if (!p) {
		call_done(call, -ENOMEM);
		return;
	}
	*p = (struct prepare){.t = t, .call = call, .vm = (uint32_t)at->row};
	call->parked = p;
	r = begin(p, in, &e);
	if (r < 0)
		on_prepared(p, r, &e);
	else
		call->cancel = on_cancel;
}

void workspace_ctl_show(struct tree *t, const struct target *at, FILE *out)
{
	if (vm_agent(tree_vm(t, (uint32_t)at->row)))
		fputs("prepare [force] PATH [REF]\n", out);
}

struct asked {
	struct handle *h;
	struct call *call;
};

static void on_text(void *user, int code, char *text, size_t n)
{
	struct asked *a = user;

	if (code < 0) {
		free(text);
		call_done(a->call, code);
	} else {
		handle_answer(a->h, text, n, a->call);
	}
	free(a);
}

void workspace_info_ask(struct tree *t, struct handle *h, struct call *call)
{
	struct asked *a = malloc(sizeof(*a));
	int r = -ENOMEM;

	if (a) {
		*a = (struct asked){h, call};
		r = workspace_info(tree_vm(t, (uint32_t)h->at.row), on_text, a, NULL);
	}
	if (r < 0) {
		free(a);
		call_done(call, r);
	}
}

/* Patch, status, bundle: made when first read, and then a file. */
struct made {
	struct tree *t;
	struct handle *h; /* NULL: closed meanwhile */
	uint32_t vm;
	const char *name;
	struct workspace_maker *maker; /* while it is being made */
	struct call *call;             /* who reads */
	size_t size;
	int fd, code;
	bool is_made;
};

static void made_free(struct made *m)
{
	close_fd(m->fd);
	free(m);
}

static void on_made(void *user, int code, int fd, const struct err *e)
{
	struct made *m = user;
	struct call *call = m->call;

	m->maker = NULL;
	m->call = NULL;
	m->fd = fd;
	m->code = code;
	m->is_made = true;
	/* At the daemon's end whoever waits is left to the next one. */
	if (call && m->t->ending && code < 0)
		call = NULL;
	if (call && code < 0)
		vm_deed(m->t, m->vm, call, m->name, code, e->text, false);
	else if (call)
		call_file(call, m->fd, m->size, 0);
	if (!m->h)
		made_free(m);
}

static int made_open(struct tree *t, struct handle *h)
{
	struct made *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	*m = (struct made){.t = t, .h = h, .vm = (uint32_t)h->at.row, .name = h->at.attr->name, .fd = -EBADF};
	h->state = m;
	return 0;
}

static void made_release(struct tree *t, struct handle *h)
{
	struct made *m = h->state;

	(void)t;
	m->h = NULL;
	if (m->maker)
		workspace_unmake(m->maker);
	else
		made_free(m);
}

static void made_cancel(struct call *call)
{
	struct made *m = call->parked;

	workspace_unmake(m->maker);
}

static void made_read(struct tree *t, struct handle *h, size_t size, uint64_t offset, struct call *call)
{
	struct made *m = h->state;
	_cleanup_err_ struct err e = {0};
	int r;

	if (m->is_made && (offset > 0 || m->code == 0)) {
		if (m->code < 0)
			call_done(call, m->code);
		else
			call_file(call, m->fd, size, offset);
		return;
	}
	if (m->maker) {
		call_done(call, -EAGAIN);
		return;
	}
	m->call = call;
	m->size = size;
	m->is_made = false;
	r = workspace_make(tree_vm(t, m->vm), (enum workspace_made)(uintptr_t)h->at.attr->data, on_made, m,
		&m->maker, &e);
	if (r < 0) {
		m->call = NULL;
		vm_deed(t, m->vm, call, m->name, r, e.text, false);
		return;
	}
	call->parked = m;
	call->cancel = made_cancel;
}

const struct file_ops workspace_made_ops = {.open = made_open, .release = made_release, .read = made_read};
