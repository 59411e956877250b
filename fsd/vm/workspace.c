/* A workspace is prepared: a worker looks at the checkout and talks with the guest's end of it, (vm/talk.h). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "banger/guest_config.h"
#include "banger/io.h"
#include "repo/send.h"
#include "vm/model.h"
#include "vm/objects_make.h"
#include "vm/talk.h"
#include "vm/workspace.h"

#define PREPARED "prepared"
#define SCRATCH  ".tmp-prepare"

struct workspace_waiter {
	struct vms *vms;
	uint32_t vm;
	struct op *op;
	vm_done_fn done;
	void *user;
	struct talk *talk;
	/* The worker's: */
	char *source, *ref, *home;
	bool force;
	int dir_fd;
	struct send_result result;
	char **notes; /* for the VM's log; ended by NULL */
};

static void waiter_free(struct workspace_waiter *w)
{
	if (w->op) {
		op_end(w->op);
		op_unref(w->op);
	}
	for (char **note = w->notes; note && *note; note++)
		free(*note);
	free(w->notes);
	close_fd(w->dir_fd);
	free(w->source);
	free(w->ref);
	free(w->home);
	free(w);
}

static int open_scratch(struct workspace_waiter *w, int *ret, struct err *e)
{
	objects_remove(w->dir_fd, SCRATCH, NULL);
	if (mkdirat(w->dir_fd, SCRATCH, 0700) < 0)
		return err_sys(e, -errno, SCRATCH);
	*ret = openat(w->dir_fd, SCRATCH, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *ret < 0 ? err_sys(e, -errno, SCRATCH) : 0;
}

static int load(struct workspace_waiter *w, struct prepared **ret, struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	int r = prepared_load(w->dir_fd, PREPARED, true, ret, &mine);

	/* Without it everything that is there counts as the guest's own. */
	if (r == -ENOENT || (r == -EUCLEAN && w->force))
		return 0;
	return r < 0 ? err_move(e, &mine) : 0;
}

static int work(void *data, int sock, struct err *e)
{
	_cleanup_(prepared_freep) struct prepared *before = NULL;
	_cleanup_close_ int scratch = -EBADF;
	struct workspace_waiter *w = data;
	struct checkout c;
	int r = load(w, &before, e);

	if (r == 0)
		r = open_scratch(w, &scratch, e);
	if (r == 0)
		r = checkout_look(w->source, w->ref, before, scratch, w->home, w->op, &c, e);
	if (r == 0) {
		r = checkout_send(&c, before, w->force, sock, w->op, &w->result, e);
		if (r == 0)
			r = prepared_save(c.now, w->dir_fd, PREPARED, e);
		w->notes = TAKE_PTR(c.notes);
		c.note_count = 0;
		checkout_clear(&c);
	}
	objects_remove(w->dir_fd, SCRATCH, NULL);
	return r;
}

static void done_prepare(void *data, int code, int exit, struct err *e)
{
	struct workspace_waiter *w = data;
	struct vm *vm = vms_get(w->vms, w->vm);
	_cleanup_err_ struct err mine = {0};

	if (vm)
		vm->preparing = NULL;
	(void)exit;
	if (code < 0 && op_cancelled(w->op)) {
		err_set(&mine, -EINTR, "prepare: cancelled");
	} else if (code < 0) {
		err_copy(&mine, e);
		err_wrap(&mine, "prepare");
	}
	for (char **note = w->notes; vm && note && *note; note++)
		vm_log(vm, "prepare: %s", *note);
	if (vm && code == 0)
		vm_log(vm,
			"prepared with %s: %" PRIu64 " files brought, %" PRIu64 " bytes, %" PRIu64 " removed",
			w->source, w->result.files, w->result.bytes, w->result.removed);
	if (vm && code == 0)
		vm_changed(vm);
	op_end(w->op);
	w->op = op_unref(w->op);
	w->done(w->user, mine.code, &mine);
	waiter_free(w);
}

/* The worker's socket ends, and with it whatever it waits for. */
static void on_cancel(void *user)
{
	struct workspace_waiter *w = user;

	talk_cancel(w->talk);
}

void workspace_unwait(struct workspace_waiter *w)
{
	ops_cancel(w->vms->ops, op_id(w->op));
}

static int check(const struct vm *vm, const char *path, const char *ref, struct err *e)
{
	if (path[0] != '/')
		return err_set(e, -EINVAL, "'%.100s' is no absolute path", path);
	if (*ref == '-')
		return err_set(e, -EINVAL, "'%.60s' is no commit, branch or tag", ref);
	if (vm->preparing)
		return err_set(e, -EBUSY, "it is being prepared already: see ops/%" PRIu64,
			op_id(vm->preparing->op));
	return 0;
}

int workspace_prepare(struct vm *vm, const char *path, const char *ref, bool force, vm_done_fn done,
	void *user, struct workspace_waiter **ret, struct err *e)
{
	static const char *const argv[] = {TALK_GUEST, "workspace", "receive", GUEST_WORKSPACE, NULL};
	_cleanup_free_ char *target = NULL;
	struct workspace_waiter *w;
	int r = check(vm, path, ref, e);

	if (r < 0) {
		err_wrap(e, "prepare");
		return r;
	}
	w = calloc(1, sizeof(*w));
	if (!w || asprintf(&target, "vms/%s", vm->row.name) < 0) {
		free(w);
		return err_sys(e, -ENOMEM, "prepare");
	}
	*w = (struct workspace_waiter){.vms = vm->vms,
		.vm = vm->row.id,
		.done = done,
		.user = user,
		.force = force,
		.dir_fd = -EBADF};
	w->source = strdup(path);
	w->ref = strdup(ref);
	w->home = vm->vms->config.home ? strdup(vm->vms->config.home) : NULL;
	if (!w->source || !w->ref)
		r = err_sys(e, -ENOMEM, "prepare");
	if (r == 0)
		r = vm_open_dir(vm->vms, vm->row.id, &w->dir_fd, e);
	if (r == 0)
		r = op_begin(vm->vms->ops, "prepare", target, &w->op, e);
	if (r == 0)
		r = talk_begin(vm, argv, work, done_prepare, w, &w->talk, e);
	if (r < 0) {
		err_wrap(e, "prepare");
		waiter_free(w);
		return r;
	}
	op_on_cancel(w->op, on_cancel, w);
	vm->preparing = w;
	*ret = w;
	return 0;
}

struct info {
	int dir_fd;
	char *home;
	char *text;
	size_t n;
	workspace_text_fn done;
	void *user;
};

/* Names are the host's, but may hold what a line can't. */
static void put_line(FILE *out, const char *key, const char *value)
{
	fprintf(out, "%s ", key);
	for (; *value; value++)
		putc((unsigned char)*value < ' ' || *value == 127 ? '?' : *value, out);
	putc('\n', out);
}

static int render(struct info *i, const struct prepared *p, struct err *e)
{
	const struct prepared_repo *repo = prepared_repo_find(p, "");
	_cleanup_free_ char *head = NULL;
	FILE *out = open_memstream(&i->text, &i->n);

	if (!out)
		return err_sys(e, -ENOMEM, "workspace.info");
	/* A source that has gone has no head any more. */
	if (repo && checkout_head(p->source, p->ref, i->home, &head, NULL) < 0)
		head = NULL;
	put_line(out, "source", p->source);
	put_line(out, "head", repo ? repo->names : "");
	put_line(out, "host_head", head ? head : "");
	fprintf(out, "stale %d\ndirty %d\nfiles %" PRIu64 "\nbytes %" PRIu64 "\nprepared %" PRIu64 "\n",
		repo && head && *head && strcmp(head, repo->names) != 0, p->dirty, p->file_count, p->bytes,
		p->when);
	put_line(out, "ref", p->ref);
	return fclose(out) == 0 ? 0 : err_sys(e, -ENOMEM, "workspace.info");
}

static int work_info(void *data, struct err *e)
{
	_cleanup_(prepared_freep) struct prepared *p = NULL;
	struct info *i = data;
	int r = prepared_load(i->dir_fd, PREPARED, false, &p, e);

	if (r == -ENOENT)
		return (i->text = strdup("")) ? 0 : -ENOMEM;
	return r < 0 ? r : render(i, p, e);
}

static void done_info(void *data, int code, struct err *e)
{
	struct info *i = data;

	(void)e;
	i->done(i->user, code, code == 0 ? TAKE_PTR(i->text) : NULL, i->n);
	close_fd(i->dir_fd);
	free(i->home);
	free(i->text);
	free(i);
}

int workspace_info(struct vm *vm, workspace_text_fn done, void *user, struct err *e)
{
	struct info *i = calloc(1, sizeof(*i));
	int r;

	if (!i)
		return err_sys(e, -ENOMEM, "workspace.info");
	*i = (struct info){.dir_fd = -EBADF, .done = done, .user = user};
	i->home = vm->vms->config.home ? strdup(vm->vms->config.home) : NULL;
	r = vm_open_dir(vm->vms, vm->row.id, &i->dir_fd, e);
	if (r == 0)
		r = job_submit(vm->vms->jobs, work_info, done_info, i, e);
	if (r < 0) {
		close_fd(i->dir_fd);
		free(i->home);
		free(i);
	}
	return r;
}
