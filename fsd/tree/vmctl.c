/* vms/NAME/ctl and the settings: verbs in order, each waiting for the one before; and the verb that ends everything. */
#include <errno.h>
#include <inttypes.h>

#include "banger/cleanup.h"
#include "tree/state.h"
#include "tree/tables.h"
#include "vm/objects.h"
#include "vm/sync.h"

#define VERBS_MAX 64 /* in one write */

void vm_deed(struct tree *t, uint32_t id, struct call *call, const char *what, int code, const char *text,
	bool model_told)
{
	struct vm *vm = id ? tree_vm(t, id) : NULL;
	struct vm_view v;

	if (vm)
		vm_view(vm, &v);
	if (vm && code < 0 && !model_told) {
		_cleanup_free_ char *line = NULL;

		if (asprintf(&line, "%s: %s", what, text ? text : strerror(-code)) < 0)
			line = NULL;
		vm_set_error(vm, code, 0, line ? line : what);
	} else if (vm && code == 0 && v.error[0]) {
		vm_set_error(vm, 0, 0, "");
	}
	if (vm && strstr(what, "vms/") == NULL) {
		_cleanup_free_ char *line = NULL;

		if (asprintf(&line, "vms/%s/%s", v.name, what) < 0)
			line = NULL;
		log_deed(t, call, line ? line : what, code, text);
	} else {
		log_deed(t, call, what, code, text);
	}
	call_done(call, code);
}

void vm_ctl_show(struct tree *t, const struct target *at, FILE *out)
{
	struct vm *vm = tree_vm(t, (uint32_t)at->row);

	for (int v = 0; v < VM_VERB_COUNT; v++)
		if (vm_verb_legal(vm, (enum vm_verb)v))
			fprintf(out, "%s\n", vm_verb_name((enum vm_verb)v));
	if (vm_agent(vm))
		fputs("sync\n", out);
	if (vm_promote_legal(vm))
		fputs("promote NAME\n", out);
}

/* The verbs of one write. */
struct run {
	struct tree *t;
	struct call *call;
	uint32_t vm;
	struct step {
		enum vm_verb verb;
		char *image; /* set: it is promoted to this one instead */
		bool sync;   /* its files are brought instead */
	} steps[VERBS_MAX];
	size_t count, at;
	struct vm_waiter *waiter;
	struct objects_waiter *promoting;
	struct sync_waiter *syncing;
	bool inside; /* in vm_verb() */
	bool over;   /* it was done before vm_verb() returned */
	int code;
	char *name, *text; /* the VM's name; why it failed */
};

static void run_free(struct run *run)
{
	for (size_t i = 0; run && i < run->count; i++)
		free(run->steps[i].image);
	if (run) {
		free(run->name);
		free(run->text);
	}
	free(run);
}

static void run_end(struct run *run, int code, const char *text, bool model_told)
{
	const struct step *s = &run->steps[run->at < run->count ? run->at : run->count - 1];
	struct vm *vm = tree_vm(run->t, run->vm);
	_cleanup_free_ char *what = NULL;

	if (asprintf(&what, "vms/%s %s%s", run->name, s->image ? "promote " : "",
		    s->image  ? s->image
		    : s->sync ? "sync"
			      : vm_verb_name(s->verb)) < 0)
		what = NULL;
	/* The model knows nothing of a promotion, nor of these files. */
	if (code < 0 && (s->image || s->sync) && vm)
		vm_set_error(vm, code, 0, text ? text : strerror(-code));
	vm_deed(run->t, run->vm, run->call, what ? what : "ctl", code, text,
		model_told || s->image || s->sync);
	run_free(run);
}

static void run_go(struct run *run);

static void on_verb(void *user, int code, const struct err *e)
{
	struct run *run = user;

	run->waiter = NULL;
	run->promoting = NULL;
	run->syncing = NULL;
	run->code = code;
	if (code < 0) {
		free(run->text);
		run->text = strdup(err_text(e));
	}
	if (run->inside) {
		run->over = true;
		return;
	}
	if (code < 0) {
		run_end(run, code, run->text, true);
		return;
	}
	run->at++;
	run_go(run);
}

static void on_cancel(struct call *call)
{
	struct run *run = call->parked;

	if (run->waiter)
		vm_unwait(run->waiter);
	else if (run->promoting)
		objects_unwait(run->promoting);
	else if (run->syncing)
		vm_sync_cancel(run->syncing);
}

static void run_go(struct run *run)
{
	while (run->at < run->count) {
		_cleanup_err_ struct err e = {0};
		struct vm *vm = tree_vm(run->t, run->vm);
		const struct step *s = &run->steps[run->at];
		struct vm_waiter *waiter = NULL;
		struct objects_waiter *promoting = NULL;
		struct sync_waiter *syncing = NULL;
		int r;

		if (!vm) {
			run_end(run, run->t->ending ? -EINTR : -ESTALE, NULL, true);
			return;
		}
		run->inside = true;
		run->over = false;
		r = s->sync    ? vm_sync(vm, on_verb, run, &syncing, &e)
		    : s->image ? vm_promote(vm, s->image, on_verb, run, &promoting, &e)
			       : vm_verb(vm, s->verb, on_verb, run, &waiter, &e);
		run->inside = false;
		if (r < 0) {
			run_end(run, r, err_text(&e), true);
			return;
		}
		if (!run->over) {
			run->waiter = waiter;
			run->promoting = promoting;
			run->syncing = syncing;
			return;
		}
		if (run->code < 0) {
			run_end(run, run->code, run->text, true);
			return;
		}
		run->at++;
	}
	run_end(run, 0, NULL, true);
}

static int read_step(struct run *run, const char *line, struct err *e)
{
	static const char promote[] = "promote ";
	struct step *s = &run->steps[run->count];

	if (strncmp(line, promote, sizeof(promote) - 1) == 0) {
		s->image = strdup(line + sizeof(promote) - 1);
		if (!s->image)
			return -ENOMEM;
	} else if (strcmp(line, "sync") == 0) {
		s->sync = true;
	} else if (vm_verb_parse(line, &s->verb) < 0) {
		return err_set(e, -EINVAL, "no such verb '%.40s': read ctl for those that there are", line);
	}
	run->count++;
	return 0;
}

void vm_ctl_store(struct tree *t, const struct target *at, const struct input *in, struct call *call)
{
	struct run *run = calloc(1, sizeof(*run));
	_cleanup_err_ struct err e = {0};
	struct vm_view v;
	int r = run ? 0 : -ENOMEM;

	vm_view(tree_vm(t, (uint32_t)at->row), &v);
	if (run && !(run->name = strdup(v.name)))
		r = -ENOMEM;
	if (r == 0 && in->count > VERBS_MAX)
		r = err_set(&e, -E2BIG, "at most %d verbs are taken in one write", VERBS_MAX);
	for (size_t i = 0; r == 0 && i < in->count; i++)
		r = read_step(run, in->lines[i], &e);
	if (r < 0) {
		run_free(run);
		vm_deed(t, v.id, call, "ctl", r, e.text, false);
		return;
	}
	run->t = t;
	run->call = call;
	run->vm = v.id;
	call->parked = run;
	call->cancel = on_cancel;
	run_go(run);
}

void vm_setting_show(struct tree *t, const struct target *at, FILE *out)
{
	const struct vm_setting *s = at->attr->data;

	s->show(tree_vm(t, (uint32_t)at->row), out);
	putc('\n', out);
}

struct set {
	struct tree *t;
	struct call *call;
	uint32_t vm;
	const char *name;
};

static void on_set(void *user, int code, const struct err *e)
{
	struct set *set = user;

	vm_deed(set->t, set->vm, set->call, set->name, code, e ? e->text : NULL, false);
	free(set);
}

void vm_setting_store(struct tree *t, const struct target *at, const struct input *in, struct call *call)
{
	struct set *set = malloc(sizeof(*set));
	const struct vm_setting *s = at->attr->data;
	_cleanup_free_ char *value = input_join(in);
	_cleanup_err_ struct err e = {0};
	int r;

	if (!set || !value) {
		free(set);
		call_done(call, -ENOMEM);
		return;
	}
	*set = (struct set){t, call, (uint32_t)at->row, at->attr->name};
	if (in->count != 1 && !vm_setting_has_lines(s))
		r = err_set(&e, -EINVAL, "one line is wanted");
	else
		r = vm_set(tree_vm(t, set->vm), s, value, on_set, set, &e);
	if (r < 0)
		on_set(set, r, &e);
}

/* Every VM is stopped; the last one ends it. */
struct shutdown {
	struct tree *t;
	struct call *call;
	size_t left;
	int code;
};
struct stopping {
	struct shutdown *all;
	struct vm_waiter *waiter;
};

static void shutdown_step(struct shutdown *s)
{
	struct tree *t = s->t;
	int code = s->code;

	if (--s->left > 0)
		return;
	t->stopping = false;
	log_deed(t, s->call, "shutdown", code, "a VM could not be stopped");
	call_done(s->call, code);
	free(s);
	if (code == 0 && t->config.shutdown)
		t->config.shutdown(t->config.user);
}

static void on_stopped(void *user, int code, const struct err *e)
{
	struct shutdown *s = user;

	(void)e;
	if (code < 0)
		s->code = code;
	shutdown_step(s);
}

void shutdown_begin(struct tree *t, struct call *call)
{
	struct shutdown *s = calloc(1, sizeof(*s));
	struct op_view op = {0};
	struct vm *vm;
	struct vm_view v;

	if (!s || t->stopping) {
		free(s);
		call_done(call, t->stopping ? -EALREADY : -ENOMEM);
		return;
	}
	t->stopping = true;
	*s = (struct shutdown){.t = t, .call = call, .left = 1};
	/* What is being made or started is undone first. */
	while (ops_next(t->config.ops, op.id, &op))
		if (strcmp(op.kind, "stop") != 0 && strcmp(op.kind, "kill") != 0)
			ops_cancel(t->config.ops, op.id);
	for (uint32_t id = 0; (vm = vms_next(t->vms, id)); id = v.id) {
		_cleanup_err_ struct err e = {0};
		struct vm_waiter *waiter;
		int r;

		vm_view(vm, &v);
		if (v.pid == 0 && !v.busy)
			continue;
		s->left++;
		r = vm_verb(vm, VM_STOP, on_stopped, s, &waiter, &e);
		if (r < 0)
			on_stopped(s, r, &e);
	}
	shutdown_step(s);
}
