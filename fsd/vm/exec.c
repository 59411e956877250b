/* Jobs: the model of them. */
#include <errno.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "vm/exec_job.h"

int execs_new(struct vms *vms, int state_fd, struct execs **ret, struct err *e)
{
	struct execs *xs = calloc(1, sizeof(*xs));

	if (!xs)
		return err_sys(e, -ENOMEM, "jobs");
	xs->vms = vms;
	xs->state_fd = state_fd;
	xs->next_reader = 1;
	*ret = xs;
	return 0;
}

static struct exec_vm *find_vm(struct execs *xs, uint32_t id)
{
	struct exec_vm *v;

	LIST_FOREACH (v, &xs->vms_by_id[id % EXEC_BUCKETS], link)
		if (v->id == id)
			return v;
	return NULL;
}

static int add_vm(struct execs *xs, uint32_t id, struct exec_vm **ret)
{
	struct exec_vm *v = find_vm(xs, id);

	if (!v) {
		v = calloc(1, sizeof(*v));
		if (!v)
			return -ENOMEM;
		v->execs = xs;
		v->id = id;
		v->dir_fd = v->next_fd = -EBADF;
		TAILQ_INIT(&v->jobs);
		LIST_INSERT_HEAD(&xs->vms_by_id[id % EXEC_BUCKETS], v, link);
	}
	*ret = v;
	return 0;
}

void exec_hold(struct exec *x)
{
	x->refs++;
}

void exec_release(struct exec *x)
{
	if (--x->refs > 0)
		return;
	free(x->argv);
	free(x->env);
	free(x->cwd);
	free(x->user);
	free(x);
}

void exec_tell_changed(struct exec *x)
{
	struct execs *xs = x->vm->execs;

	if (!x->deleted && xs->watch && xs->watch->changed)
		xs->watch->changed(xs->watch_user, x);
}

void exec_tell_output(struct exec *x, int stream)
{
	struct execs *xs = x->vm->execs;

	if (!x->deleted && xs->watch && xs->watch->output)
		xs->watch->output(xs->watch_user, x, stream);
}

void execs_watch(struct execs *xs, const struct exec_watch *watch, void *user)
{
	xs->watch = watch;
	xs->watch_user = user;
}

/* A job that isn't among the VM's yet. */
static int make(struct exec_vm *v, struct exec **ret, struct err *e)
{
	struct exec *x = calloc(1, sizeof(*x));

	if (!x)
		return err_sys(e, -ENOMEM, "job");
	x->vm = v;
	x->cwd = strdup("");
	x->user = strdup("");
	x->refs = 1;
	LIST_INIT(&x->readers);
	if (!x->cwd || !x->user) {
		exec_release(x);
		return err_sys(e, -ENOMEM, "job");
	}
	*ret = x;
	return 0;
}

/* In order of their numbers. */
static void insert(struct exec *x)
{
	struct exec_vm *v = x->vm;
	struct exec *before = TAILQ_LAST(&v->jobs, exec_list);

	for (int i = 0; i < 2; i++)
		ring_init(&x->streams[i].kept, v->dir_fd, x->number, i + 1, EXEC_KEEP_MAX);
	while (before && before->number > x->number)
		before = TAILQ_PREV(before, exec_list, link);
	if (before)
		TAILQ_INSERT_AFTER(&v->jobs, before, x, link);
	else
		TAILQ_INSERT_HEAD(&v->jobs, x, link);
	v->count++;
}

int exec_new(struct vm *vm, struct exec **ret, struct err *e)
{
	struct execs *xs = vm_execs(vm);
	struct vm_view view;
	struct exec_vm *v;
	struct exec *x;
	int r;

	vm_view(vm, &view);
	r = add_vm(xs, view.id, &v);
	if (r < 0)
		return err_sys(e, r, "job");
	if (v->count >= EXEC_JOBS_MAX)
		return err_set(e, -EUSERS,
			"the VM has %u jobs, ended ones included: remove some with rmdir exec/N", v->count);
	r = exec_folder_open(v, e);
	if (r == 0)
		r = make(v, &x, e);
	if (r < 0)
		return r;
	x->created = io_wall_usec();
	r = exec_folder_number(v, &x->number, e);
	if (r < 0) {
		exec_release(x);
		return r;
	}
	insert(x);
	*ret = x;
	return 0;
}

/* One that was never started has nothing to be taken up, and its daemon's clients have gone. */
static void load_one(struct exec_vm *v, uint32_t number)
{
	struct exec *x;

	if (v->count >= EXEC_JOBS_MAX || make(v, &x, NULL) < 0)
		return;
	x->number = number;
	if (exec_keep_load(x) < 0) {
		exec_keep_remove(x);
		exec_release(x);
		return;
	}
	insert(x);
	for (int i = 0; i < 2; i++) {
		ring_load(&x->streams[i].kept);
		x->streams[i].ended =
			x->state == EXEC_EXITED || x->state == EXEC_FAILED || (i == 1 && x->tty);
	}
	if (x->state == EXEC_STARTING || x->state == EXEC_RUNNING)
		exec_use(x, true);
}

void execs_load(struct execs *xs, uint32_t id)
{
	_cleanup_closedir_ DIR *dir = exec_folder_find(xs, id);
	struct exec_vm *v;
	uint32_t number;

	if (!dir || add_vm(xs, id, &v) < 0 || exec_folder_open(v, NULL) < 0)
		return;
	while (exec_folder_next(dir, &number))
		load_one(v, number);
}

struct exec *exec_get(struct vms *vms, uint32_t vm, uint32_t number)
{
	struct exec_vm *v = find_vm(execs_of(vms), vm);
	struct exec *x;

	if (v)
		TAILQ_FOREACH (x, &v->jobs, link)
			if (x->number == number)
				return x;
	return NULL;
}

struct exec *exec_next(struct vm *vm, uint32_t after)
{
	struct vm_view view;
	struct exec_vm *v;
	struct exec *x;

	vm_view(vm, &view);
	v = find_vm(vm_execs(vm), view.id);
	if (v)
		TAILQ_FOREACH (x, &v->jobs, link)
			if (x->number > after)
				return x;
	return NULL;
}

void exec_view(const struct exec *x, struct exec_view *ret)
{
	static const char *const none[] = {NULL};

	*ret = (struct exec_view){
		.number = x->number,
		.vm = x->vm->id,
		.state = x->state,
		.argv = x->argv ? (const char *const *)x->argv : none,
		.env = x->env ? (const char *const *)x->env : none,
		.cwd = x->cwd,
		.user = x->user,
		.tty = x->tty,
		.fleeting = x->fleeting,
		.keep_stdin = x->keep_stdin,
		.rows = x->rows,
		.cols = x->cols,
		.exit_kind = x->exit_kind,
		.exit_code = x->exit_code,
		.start_code = x->start_code,
		.created = x->created,
		.started = x->started,
		.ended = x->ended,
	};
}

void exec_set_handle(struct exec *x, uint64_t handle)
{
	x->handle = handle;
}

struct exec *exec_of_handle(struct vm *vm, uint64_t handle)
{
	struct exec_view v;
	struct exec *x;

	for (x = exec_next(vm, 0); x; x = exec_next(vm, v.number)) {
		exec_view(x, &v);
		if (x->handle == handle)
			return x;
	}
	return NULL;
}

static void forget(struct exec *x, bool kill, bool keep_files)
{
	struct exec_vm *v = x->vm;
	struct exec_reader *reader;

	x->deleted = true;
	if (x->job)
		agent_job_release(TAKE_PTR(x->job), kill);
	if (x->state == EXEC_STARTING || x->state == EXEC_RUNNING)
		exec_use(x, false);
	TAILQ_REMOVE(&v->jobs, x, link);
	v->count--;
	while ((reader = LIST_FIRST(&x->readers))) {
		LIST_REMOVE(reader, link);
		free(reader);
	}
	for (int i = 0; i < 2; i++)
		if (keep_files)
			ring_end(&x->streams[i].kept);
		else
			ring_remove(&x->streams[i].kept);
	if (!keep_files)
		exec_keep_remove(x);
}

int exec_delete(struct exec *x, struct err *e)
{
	struct execs *xs = x->vm->execs;
	uint32_t vm = x->vm->id, number = x->number;
	struct err why = {0};

	(void)e;
	forget(x, true, false);
	if (x->done)
		err_set(&why, -ECANCELED, "job %u was removed", number);
	exec_tell_started(x, -ECANCELED, &why);
	err_clear(&why);
	exec_release(x);
	if (xs->watch && xs->watch->gone)
		xs->watch->gone(xs->watch_user, vm, number);
	return 0;
}

void execs_agent(struct execs *xs, struct vm *vm, struct agent *agent)
{
	struct vm_view view;
	struct exec_vm *v;

	vm_view(vm, &view);
	/* Without memory there are no jobs until the next start. */
	if (!xs || add_vm(xs, view.id, &v) < 0)
		return;
	v->agent = agent;
	if (agent)
		exec_take_up(v);
}

void execs_down(struct execs *xs, uint32_t id)
{
	struct exec_vm *v = xs ? find_vm(xs, id) : NULL;
	struct exec *x, *next;

	for (x = v ? TAILQ_FIRST(&v->jobs) : NULL; x; x = next) {
		next = TAILQ_NEXT(x, link);
		if (!x->job && (x->state == EXEC_STARTING || x->state == EXEC_RUNNING))
			exec_lost(x);
	}
}

static void free_vm(struct exec_vm *v)
{
	LIST_REMOVE(v, link);
	exec_folder_close(v);
	free(v);
}

void execs_vm_gone(struct execs *xs, uint32_t id)
{
	struct exec_vm *v = find_vm(xs, id);
	struct exec *x;

	if (v) {
		while ((x = TAILQ_FIRST(&v->jobs)))
			exec_delete(x, NULL);
		free_vm(v);
	}
	/* Also what an earlier daemon left there. */
	exec_folder_remove(xs, id);
}

struct execs *execs_free(struct execs *xs)
{
	if (!xs)
		return NULL;
	xs->watch = NULL;
	xs->vms = NULL;
	for (size_t i = 0; i < EXEC_BUCKETS; i++) {
		struct exec_vm *v;

		while ((v = LIST_FIRST(&xs->vms_by_id[i]))) {
			struct exec *x;

			while ((x = TAILQ_FIRST(&v->jobs))) {
				forget(x, false, true);
				exec_tell_started(x, -ECANCELED, &(struct err){.code = -ECANCELED});
				exec_release(x);
			}
			free_vm(v);
		}
	}
	free(xs);
	return NULL;
}
