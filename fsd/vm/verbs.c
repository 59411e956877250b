/* Verbs: what is legal in which state, who waits for what, and how an operation ends. */
#include <errno.h>
#include <inttypes.h>

#include "vm/model.h"
#include "vm/sync.h"

#define IN(state) (1u << (state))
#define DOWN      (IN(VM_CREATED) | IN(VM_STOPPED) | IN(VM_FAILED))

static const struct {
	const char *name;
	unsigned from; /* states in which it does something */
	unsigned idle; /* states in which there is nothing to do: success at once */
	enum vm_state during;
	void (*begin)(struct deed *d);
} verbs[VM_VERB_COUNT] = {
	[VM_START] = {"start", DOWN, IN(VM_RUNNING), VM_STARTING, start_begin},
	[VM_STOP] = {"stop", IN(VM_RUNNING) | IN(VM_PAUSED), DOWN, VM_STOPPING, stop_begin},
	[VM_KILL] = {"kill", IN(VM_RUNNING) | IN(VM_PAUSED), DOWN, VM_STOPPING, stop_begin},
	[VM_RESTART] = {"restart", DOWN | IN(VM_RUNNING) | IN(VM_PAUSED), 0, VM_STOPPING, stop_begin},
	[VM_PAUSE] = {"pause", IN(VM_RUNNING), IN(VM_PAUSED), VM_RUNNING, pause_begin},
	[VM_RESUME] = {"resume", IN(VM_PAUSED), IN(VM_RUNNING), VM_PAUSED, pause_begin},
};

const char *vm_verb_name(enum vm_verb v)
{
	return verbs[v].name;
}

int vm_verb_parse(const char *s, enum vm_verb *ret)
{
	for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
		if (strcmp(s, verbs[i].name) == 0) {
			*ret = (enum vm_verb)i;
			return 0;
		}
	return -EINVAL;
}

bool vm_verb_legal(const struct vm *vm, enum vm_verb v)
{
	if (vm->deleting)
		return false;
	if (vm->deed)
		return vm->deed->verb == v || ((v == VM_STOP || v == VM_KILL) && vm->state == VM_STARTING) ||
		       (v == VM_KILL && vm->state == VM_STOPPING);
	return (verbs[v].from & IN(vm->state)) != 0;
}

static int wait_for(struct deed *d, vm_done_fn done, void *user, bool wants_it_down, struct vm_waiter **ret,
	struct err *e)
{
	struct vm_waiter *w = calloc(1, sizeof(*w));

	if (!w)
		return err_sys(e, -ENOMEM, "%s", verbs[d->verb].name);
	*w = (struct vm_waiter){.deed = d, .done = done, .user = user, .wants_it_down = wants_it_down};
	TAILQ_INSERT_TAIL(&d->waiters, w, link);
	*ret = w;
	return 0;
}

/* Nothing begins on a VM before what its VMM left has been cleared away. */
static int hold(
	struct vm *vm, enum vm_verb v, vm_done_fn done, void *user, struct vm_waiter **ret, struct err *e)
{
	struct vm_waiter *w = calloc(1, sizeof(*w));

	if (!w)
		return err_sys(e, -ENOMEM, "%s", verbs[v].name);
	*w = (struct vm_waiter){.vm = vm, .verb = v, .done = done, .user = user};
	TAILQ_INSERT_TAIL(&vm->held, w, link);
	*ret = w;
	return 0;
}

static int refuse(struct vm *vm, struct err *e, struct err *mine)
{
	vm_set_error(vm, mine->code, 0, err_text(mine));
	return err_move(e, mine);
}

struct kill {
	struct vms *vms;
	uint32_t id;
};

static int work_kill(void *data, struct err *e)
{
	struct kill *k = data;

	return helper_signal(k->vms->config.helper, 0, k->id, HELPER_SIGKILL, e);
}

static void done_kill(void *data, int code, struct err *e)
{
	(void)code;
	(void)e;
	free(data);
}

/* A kill that meets a stop hurries it. */
static void hurry(struct vm *vm)
{
	struct kill *k = malloc(sizeof(*k));

	if (!k)
		return;
	*k = (struct kill){vm->vms, vm->row.id};
	if (job_submit(vm->vms->jobs, work_kill, done_kill, k, NULL) < 0)
		free(k);
}

static int join(
	struct vm *vm, enum vm_verb v, vm_done_fn done, void *user, struct vm_waiter **ret, struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	struct deed *d = vm->deed;

	if (d->verb == v && !op_cancelled(d->op))
		return wait_for(d, done, user, false, ret, e);
	if ((v == VM_STOP || v == VM_KILL) &&
		(d->verb == VM_START || (d->verb == VM_RESTART && vm->state == VM_STARTING))) {
		ops_cancel(vm->vms->ops, op_id(d->op));
		/* That may have been its end already. */
		if (vm->deed != d) {
			*ret = NULL;
			done(user, 0, NULL);
			return 0;
		}
		return wait_for(d, done, user, true, ret, e);
	}
	if (v == VM_KILL && (d->verb == VM_STOP || d->verb == VM_RESTART)) {
		hurry(vm);
		return wait_for(d, done, user, false, ret, e);
	}
	err_set(&mine, -EBUSY, "%s: %s is at work on it: see ops/%" PRIu64, verbs[v].name,
		verbs[d->verb].name, op_id(d->op));
	return refuse(vm, e, &mine);
}

/* While a start waits for its kernel or image, or for its files at the end, there is no worker that would see it. */
static void on_cancel(void *user)
{
	struct deed *d = user;

	if (d->ensuring)
		objects_unwait(d->ensuring);
	else if (d->vm->syncing)
		vm_sync_cancel(d->vm->syncing);
}

static void on_noted(void *user, int code, const struct err *e)
{
	struct deed *d = user;

	if (code < 0)
		vm_log(d->vm, "%s: %s", verbs[d->verb].name, err_text(e));
	verbs[d->verb].begin(d);
}

/* What brings a VMM down waits until the store says so: a daemon that comes after this one is to know why it ended. */
static void begin(struct deed *d)
{
	enum vm_state during = verbs[d->verb].during;

	if (during == VM_STOPPING && vm_set_state_then(d->vm, during, on_noted, d) == 0)
		return;
	if (during != d->vm->state)
		vm_set_state(d->vm, during);
	verbs[d->verb].begin(d);
}

int vm_verb(struct vm *vm, enum vm_verb v, vm_done_fn done, void *user, struct vm_waiter **ret, struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	_cleanup_free_ char *target = NULL;
	struct deed *d;
	int r;

	*ret = NULL;
	if (vm->deleting) {
		err_set(&mine, -EBUSY, "%s: it is being changed or deleted: try again", verbs[v].name);
		return refuse(vm, e, &mine);
	}
	if (vm->clearing)
		return hold(vm, v, done, user, ret, e);
	if (vm->deed)
		return join(vm, v, done, user, ret, e);
	if (verbs[v].idle & IN(vm->state)) {
		vm_set_error(vm, 0, 0, "");
		done(user, 0, NULL);
		return 0;
	}
	if (!(verbs[v].from & IN(vm->state))) {
		err_set(&mine, -EBUSY, "%s: it is %s: cat ctl lists what can be done now", verbs[v].name,
			vm_state_name(vm->state));
		return refuse(vm, e, &mine);
	}
	d = calloc(1, sizeof(*d));
	if (!d || asprintf(&target, "vms/%s", vm->row.name) < 0) {
		free(d);
		return err_sys(e, -ENOMEM, "%s", verbs[v].name);
	}
	d->vm = vm;
	d->verb = v;
	d->before = vm->state;
	TAILQ_INIT(&d->waiters);
	r = op_begin(vm->vms->ops, verbs[v].name, target, &d->op, e);
	if (r == 0)
		r = wait_for(d, done, user, false, ret, e);
	if (r < 0) {
		if (d->op) {
			op_end(d->op);
			op_unref(d->op);
		}
		free(d);
		return r;
	}
	op_on_cancel(d->op, on_cancel, d);
	vm->deed = d;
	vm->going = false;
	vm_log(vm, "%s: operation %" PRIu64, verbs[v].name, op_id(d->op));
	begin(d);
	/* A deed that ended at once has told its waiter, and freed it. */
	if (vm->deed != d)
		*ret = NULL;
	return 0;
}

void vm_unwait(struct vm_waiter *w)
{
	_cleanup_err_ struct err e = {0};
	struct deed *d = w->deed;

	if (d)
		TAILQ_REMOVE(&d->waiters, w, link);
	else
		TAILQ_REMOVE(&w->vm->held, w, link);
	err_set(&e, -EINTR, "cancelled");
	w->done(w->user, -EINTR, &e);
	free(w);
	/* Only a start can go back to where it began; what brings a guest down, or holds it, is finished. */
	if (d && TAILQ_EMPTY(&d->waiters) && (d->verb == VM_START || d->starting_again))
		ops_cancel(d->vm->vms->ops, op_id(d->op));
}

struct outcome {
	int code;
	struct err *e;
};

static void remember(void *user, int code, const struct err *e)
{
	struct outcome *o = user;

	o->code = code;
	if (code < 0)
		err_copy(o->e, e);
}

/* W, which is in no list, waits for V from now on; or V is over already: *RET_OVER, and what came of it is returned. */
static int hand_over(struct vm *vm, enum vm_verb v, struct vm_waiter *w, bool *ret_over, struct err *e)
{
	struct outcome o = {.e = e};
	struct vm_waiter *stand_in;
	int r = vm_verb(vm, v, remember, &o, &stand_in, e);

	*ret_over = r < 0 || !stand_in;
	if (*ret_over)
		return r < 0 ? r : o.code;
	w->deed = stand_in->deed;
	w->wants_it_down = stand_in->wants_it_down;
	TAILQ_INSERT_AFTER(&w->deed->waiters, stand_in, w, link);
	TAILQ_REMOVE(&w->deed->waiters, stand_in, link);
	free(stand_in);
	return 0;
}

void vm_let_go_on(struct vm *vm)
{
	struct vm_waiter *w;

	while (!vm->clearing && (w = TAILQ_FIRST(&vm->held))) {
		_cleanup_err_ struct err e = {0};
		bool over;
		int r;

		TAILQ_REMOVE(&vm->held, w, link);
		r = hand_over(vm, w->verb, w, &over, &e);
		if (!over)
			continue;
		w->done(w->user, r, &e);
		free(w);
	}
}

void deed_end(struct deed *d, int code, const struct err *e)
{
	struct vm *vm = d->vm;
	uint64_t op = op_id(d->op);
	struct vm_waiter *w;

	vm->deed = NULL;
	op_end(d->op);
	op_unref(d->op);
	vm_set_error(vm, code, op, code < 0 ? err_text(e) : "");
	vm_changed(vm);
	if (code == 0)
		vm_log(vm, "%s: done", verbs[d->verb].name);
	while ((w = TAILQ_FIRST(&d->waiters))) {
		_cleanup_err_ struct err mine = {0};
		bool down = IN(vm->state) & DOWN, over = true;

		TAILQ_REMOVE(&d->waiters, w, link);
		if (!w->wants_it_down) {
			w->done(w->user, code, e);
		} else if (down) {
			w->done(w->user, 0, NULL);
		} else {
			/* The start was too far to be cancelled: who wanted the VM down gets a stop of their own. */
			int r = hand_over(vm, VM_STOP, w, &over, &mine);

			if (over)
				w->done(w->user, r, &mine);
		}
		if (over)
			free(w);
	}
	free(d);
}

/* All of them down: counted off. */
struct stop_all {
	unsigned left;
	int code;
	struct err err;
	vm_done_fn done;
	void *user;
};

static void one_stopped(void *user, int code, const struct err *e)
{
	struct stop_all *all = user;

	if (code < 0 && all->code == 0) {
		all->code = code;
		err_copy(&all->err, e);
	}
	if (--all->left > 0)
		return;
	all->done(all->user, all->code, &all->err);
	err_clear(&all->err);
	free(all);
}

int vms_stop_all(struct vms *vms, vm_done_fn done, void *user, struct err *e)
{
	struct stop_all *all = calloc(1, sizeof(*all));
	struct vm *vm;

	if (!all)
		return err_sys(e, -ENOMEM, "stop");
	all->done = done;
	all->user = user;
	all->left = 1;
	TAILQ_FOREACH (vm, &vms->list, link) {
		_cleanup_err_ struct err mine = {0};
		struct vm_waiter *w;

		if (vm->deleting)
			continue;
		all->left++;
		if (vm_verb(vm, VM_STOP, one_stopped, all, &w, &mine) < 0)
			one_stopped(all, mine.code, &mine);
	}
	one_stopped(all, 0, NULL);
	return 0;
}
