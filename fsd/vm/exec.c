/* Jobs: the model of them, their settings, what is kept of them on disk. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "vm/exec_job.h"

#define LIST_MAX   1024         /* arguments, variables: what the agent takes */
#define TEXT_MAX   (96u * 1024) /* bytes of them; two and the rest fit into a frame */
#define LINE_MAX_  4095
#define NUMBER_LEN 10

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

static int open_folder(int at, const char *name, int *ret_fd)
{
	int fd;

	if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

/* The VM's folder of jobs, and the file that holds the number of its next one. */
static int open_vm(struct exec_vm *v, struct err *e)
{
	_cleanup_close_ int vms = -EBADF, vm = -EBADF, dir = -EBADF, next = -EBADF;
	char name[16], text[NUMBER_LEN + 1] = "";
	uint64_t number = 1;
	int r;

	if (v->dir_fd >= 0)
		return 0;
	snprintf(name, sizeof(name), "%u", v->id);
	if ((r = open_folder(v->execs->state_fd, "vms", &vms)) < 0 || (r = open_folder(vms, name, &vm)) < 0 ||
		(r = open_folder(vm, "exec", &dir)) < 0)
		return err_sys(e, r, "folder vms/%u/exec", v->id);
	next = openat(dir, "next", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (next < 0)
		return err_sys(e, -errno, "vms/%u/exec/next", v->id);
	if (pread(next, text, NUMBER_LEN, 0) > 0) {
		const char *digits = text + strspn(text, "0");

		if (parse_u64(digits, 1, EXEC_NUMBER_MAX + 1, &number) < 0)
			return err_set(e, -EUCLEAN, "vms/%u/exec/next holds no number: remove it", v->id);
	}
	v->next = (uint32_t)number;
	v->dir_fd = TAKE_FD(dir);
	v->next_fd = TAKE_FD(next);
	return 0;
}

/* Numbers outlive this daemon, not the machine's boot, with which what was known by a number ends: no fsync. */
static int take_number(struct exec_vm *v, uint32_t *ret, struct err *e)
{
	char text[NUMBER_LEN + 2];
	int r;

	if (v->next > EXEC_NUMBER_MAX)
		return err_set(e, -EUSERS, "this VM has used up its job numbers: make another VM");
	snprintf(text, sizeof(text), "%0*" PRIu32 "\n", NUMBER_LEN, v->next + 1);
	r = io_pwrite_full(v->next_fd, text, NUMBER_LEN + 1, 0);
	if (r < 0)
		return err_sys(e, r, "vms/%u/exec/next", v->id);
	*ret = v->next++;
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
	r = open_vm(v, e);
	if (r == 0)
		r = make(v, &x, e);
	if (r < 0)
		return r;
	x->created = io_wall_usec();
	r = take_number(v, &x->number, e);
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
	_cleanup_free_ char *path = NULL;
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	struct exec_vm *v;
	int fd;

	if (asprintf(&path, "vms/%u/exec", id) < 0) {
		path = NULL;
		return;
	}
	fd = openat(xs->state_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		close_fd(fd);
		return;
	}
	if (add_vm(xs, id, &v) < 0 || open_vm(v, NULL) < 0)
		return;
	while ((entry = readdir(dir))) {
		_cleanup_free_ char *digits = strndup(entry->d_name, strspn(entry->d_name, "0123456789"));
		uint64_t number;

		if (digits && strcmp(entry->d_name + strlen(digits), ".job") == 0 &&
			parse_u64(digits, 1, EXEC_NUMBER_MAX, &number) == 0)
			load_one(v, (uint32_t)number);
	}
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

static int frozen(const struct exec *x, struct err *e)
{
	if (x->state == EXEC_NEW)
		return 0;
	return err_set(e, -EBUSY, "job %u has been started: make another one", x->number);
}

/* Pointers and the bytes they point at in one block. */
static int parse_list(const char *text, size_t n, char ***ret, struct err *e)
{
	char end = memchr(text, '\0', n) ? '\0' : '\n';
	size_t count = 0;
	char **list, *bytes;

	if (n > TEXT_MAX)
		return err_set(e, -E2BIG, "more than %u bytes", TEXT_MAX);
	for (size_t i = 0; i < n; i++)
		count += text[i] == end || i + 1 == n;
	if (count > LIST_MAX)
		return err_set(e, -E2BIG, "more than %u lines", LIST_MAX);
	list = malloc((count + 1) * sizeof(*list) + n + 1);
	if (!list)
		return err_sys(e, -ENOMEM, "job");
	bytes = (char *)(list + count + 1);
	memcpy(bytes, text, n);
	bytes[n] = '\0';
	for (size_t i = 0; i < count; i++) {
		char *stop = memchr(bytes, end, n);
		size_t size = stop ? (size_t)(stop - bytes) : n;

		list[i] = bytes;
		bytes[size] = '\0';
		bytes += size + 1;
		n -= stop ? size + 1 : size;
	}
	list[count] = NULL;
	*ret = list;
	return 0;
}

int exec_set_cmd(struct exec *x, const char *text, size_t n, struct err *e)
{
	char **list;
	int r;

	if ((r = frozen(x, e)) < 0 || (r = parse_list(text, n, &list, e)) < 0)
		return r;
	free(x->argv);
	x->argv = list;
	exec_tell_changed(x);
	return 0;
}

int exec_set_env(struct exec *x, const char *text, size_t n, struct err *e)
{
	_cleanup_free_ char **list = NULL;
	int r;

	if ((r = frozen(x, e)) < 0 || (r = parse_list(text, n, &list, e)) < 0)
		return r;
	for (char **p = list; *p; p++)
		if (**p == '=' || !strchr(*p, '='))
			return err_set(e, -EINVAL, "\"%.60s\" is no NAME=VALUE", *p);
	free(x->env);
	x->env = TAKE_PTR(list);
	exec_tell_changed(x);
	return 0;
}

void exec_show_list(const char *const *list, FILE *out)
{
	char end = '\n';

	for (const char *const *p = list; *p; p++)
		if (strchr(*p, '\n'))
			end = '\0';
	for (const char *const *p = list; *p; p++)
		fprintf(out, "%s%c", *p, end);
}

static int set_line(struct exec *x, char **which, const char *text, struct err *e)
{
	char *copy;

	if (strlen(text) > LINE_MAX_)
		return err_set(e, -E2BIG, "more than %u bytes", LINE_MAX_);
	if (strchr(text, '\n'))
		return err_set(e, -EINVAL, "one line is wanted");
	copy = strdup(text);
	if (!copy)
		return err_sys(e, -ENOMEM, "job");
	free(*which);
	*which = copy;
	exec_tell_changed(x);
	return 0;
}

int exec_set_cwd(struct exec *x, const char *text, struct err *e)
{
	int r = frozen(x, e);

	if (r < 0)
		return r;
	if (*text && *text != '/')
		return err_set(
			e, -EINVAL, "the working directory is an absolute path in the guest, or empty");
	return set_line(x, &x->cwd, text, e);
}

int exec_set_user(struct exec *x, const char *text, struct err *e)
{
	int r = frozen(x, e);

	return r < 0 ? r : set_line(x, &x->user, text, e);
}

int exec_set_ssh(struct exec *x, struct err *e)
{
	static const char cmd[] = "/proc/self/exe\0ssh\0serve"; /* the agent's own program */
	int r = exec_set_cmd(x, cmd, sizeof(cmd), e);

	if (r == 0)
		r = exec_set_cwd(x, "/", e);
	if (r == 0)
		x->fleeting = true;
	return r;
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

int exec_set_tty(struct exec *x, bool on, struct err *e)
{
	int r = frozen(x, e);

	if (r < 0)
		return r;
	x->tty = on;
	exec_tell_changed(x);
	return 0;
}

int exec_set_keep_stdin(struct exec *x, bool on, struct err *e)
{
	int r = frozen(x, e);

	if (r < 0)
		return r;
	x->keep_stdin = on;
	exec_tell_changed(x);
	return 0;
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
	close_fd(v->dir_fd);
	close_fd(v->next_fd);
	free(v);
}

/* All files of jobs. */
static void sweep(int dir_fd)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		close_fd(fd);
		return;
	}
	while ((entry = readdir(dir)))
		if ((entry->d_name[0] >= '0' && entry->d_name[0] <= '9') ||
			strncmp(entry->d_name, ".", 1) == 0)
			unlinkat(dir_fd, entry->d_name, 0);
}

void execs_vm_gone(struct execs *xs, uint32_t id)
{
	_cleanup_close_ int dir = -EBADF;
	_cleanup_free_ char *path = NULL;
	struct exec_vm *v = find_vm(xs, id);
	struct exec *x;

	if (v) {
		while ((x = TAILQ_FIRST(&v->jobs)))
			exec_delete(x, NULL);
		free_vm(v);
	}
	/* Also what an earlier daemon left there. */
	if (asprintf(&path, "vms/%u/exec", id) < 0) {
		path = NULL;
		return;
	}
	dir = openat(xs->state_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return;
	sweep(dir);
	unlinkat(dir, "next", 0);
	unlinkat(xs->state_fd, path, AT_REMOVEDIR);
	/* The VM's own, made here where it was missing, when nothing else is in it. */
	*strrchr(path, '/') = '\0';
	unlinkat(xs->state_fd, path, AT_REMOVEDIR);
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
