/* Images and kernels while they are being made: who waits, how they come into the list. */
#include <errno.h>
#include <inttypes.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/name.h"
#include "registry/reference.h"
#include "vm/cache.h"
#include "vm/config.h"
#include "vm/objects_model.h"

static void making_free(struct making *m)
{
	op_unref(m->op);
	store_object_clear(&m->row);
	make_clear(&m->what);
	free(m->old_name);
	free(m->old_ref);
	free(m->users);
	free(m);
}

static int begin(struct making *m, struct err *e);

/* Tells all who wait, and frees. */
static void answer(struct making *m, int code, const struct err *e)
{
	struct objects_waiter *w;

	while ((w = TAILQ_FIRST(&m->waiters))) {
		TAILQ_REMOVE(&m->waiters, w, link);
		w->done(w->user, code, e);
		free(w);
	}
	making_free(m);
}

/* Ends the operation, takes it out of the list, and begins what waited for that. */
static void making_end(struct making *m, int code, const struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	struct objects *o = m->objects;
	struct making *after = TAKE_PTR(m->after);
	int r;

	TAILQ_REMOVE(&o->making, m, link);
	op_end(m->op);
	answer(m, code, e);
	if (!after)
		return;
	/* Cancelled too late: what is wanted is there. */
	r = code == 0 ? 0 : begin(after, &mine);
	if (code != 0 && r == 0) {
		TAILQ_INSERT_TAIL(&o->making, after, link);
		return;
	}
	if (after->op)
		op_end(after->op);
	answer(after, r, &mine);
}

static int work_store(void *data, struct err *e)
{
	struct making *m = data;
	struct objects *o = m->objects;
	int r = m->old ? store_object_replace(o->store, o->kind_name, &m->row, m->old, m->old_name,
				 m->old_ref, m->users, m->user_count, e)
		       : store_object_insert(o->store, o->kind_name, &m->row, e);

	if (r < 0)
		objects_remove(o->dir_fd, m->row.file, NULL);
	return r;
}

static void tell(struct objects *o, const struct store_object *row, bool appeared)
{
	if (o->changed)
		o->changed(o->changed_user, o, row->id, row->name, appeared);
}

/* The one before steps aside, as the store has it by now. */
static void retire(struct making *m)
{
	struct objects *o = m->objects;
	struct object *old = objects_by_id(o, m->old);

	if (!old)
		return;
	if (m->old_name) {
		/* Also those that have come to use it since the store was told. */
		if (o->users.renamed)
			o->users.renamed(o->users.user, &old->row, m->old_name);
		free(old->row.name);
		free(old->row.ref);
		old->row.name = TAKE_PTR(m->old_name);
		old->row.ref = TAKE_PTR(m->old_ref);
		tell(o, &old->row, true);
		return;
	}
	TAILQ_REMOVE(&o->list, old, link);
	objects_remove(o->dir_fd, old->row.file, NULL);
	tell(o, &old->row, false);
	object_free(old);
}

static void done_store(void *data, int code, struct err *e)
{
	struct making *m = data;
	struct objects *o = m->objects;

	if (code == 0) {
		retire(m);
		code = objects_add_row(o, &m->row);
	}
	if (code == 0)
		tell(o, &m->row, true);
	making_end(m, code, e);
	if (o->kind == OBJECTS_IMAGES)
		cache_keep_limit(o);
}

static int work_make(void *data, struct err *e)
{
	struct making *m = data;

	return objects_make(&m->what, m->objects->dir_fd, m->op, &m->row, e);
}

/* The name and the reference under which the one before stays; none when nobody uses it. */
static int plan_retirement(struct making *m, struct err *e)
{
	struct objects *o = m->objects;
	const struct object *old = m->old ? objects_by_id(o, m->old) : NULL;
	_cleanup_(reference_freep) struct reference *ref = NULL;
	const char *digest;
	int r = 0;

	if (!old || !o->users.used || !o->users.used(o->users.user, &old->row))
		return 0;
	r = o->users.ids(o->users.user, &old->row, &m->users, &m->user_count);
	if (r < 0)
		return err_sys(e, r, "%s", old->row.name);
	r = reference_parse(old->row.ref, &ref, e);
	if (r < 0)
		return r;
	digest = strchr(old->row.digest, ':');
	digest = digest ? digest + 1 : old->row.digest;
	if (asprintf(&m->old_ref, "%s/%s@%s", ref->host, ref->path, old->row.ref_digest) < 0 ||
		asprintf(&m->old_name, "%.48s-%.12s", old->row.name, digest) < 0)
		return err_sys(e, -ENOMEM, "%s", old->row.name);
	if (objects_by_name(o, m->old_name) || making_of(o, m->old_name))
		return err_set(e, -EEXIST,
			"the %s that was pulled before would be %s, which there is: delete that first",
			old->row.name, m->old_name);
	return 0;
}

/* The file is whole: into the store, then into the list. */
static void keep(struct making *m, struct err *e)
{
	struct objects *o = m->objects;
	int r;

	m->row.created = io_wall_usec();
	r = plan_retirement(m, e);
	if (r == 0)
		r = job_submit_serial(o->jobs, work_store, done_store, m, e);
	if (r == 0)
		return;
	objects_remove(o->dir_fd, m->row.file, NULL);
	making_end(m, r, e);
}

static void done_kernel(void *user, int code, const struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	struct making *m = user;

	if (code == 0) {
		keep(m, &mine);
		return;
	}
	err_copy(&mine, e);
	err_wrap(&mine, "the bundle's kernel");
	objects_remove(m->objects->dir_fd, m->row.file, NULL);
	making_end(m, code, &mine);
}

/* A bundle's kernel, under the image's name, before the image is there that says it has one. */
static int make_its_kernel(struct making *m, struct err *e)
{
	struct objects *kernels = m->objects->sources.kernels;
	struct make what = {.kind = OBJECTS_KERNELS, .what = MAKE_IMPORT};
	struct objects_waiter *w;
	int r = -ENOENT;

	for (size_t i = 0; r == -ENOENT && bundle_kernels[i]; i++) {
		_cleanup_free_ char *path = NULL;

		if (asprintf(&path, "%s/%s", m->what.source, bundle_kernels[i]) < 0) {
			path = NULL;
			return err_sys(e, -ENOMEM, "bundle");
		}
		if (access(path, F_OK) < 0)
			continue;
		what.source = path;
		r = objects_make_new(kernels, m->row.name, &what, done_kernel, m, &w, e);
	}
	return r == -ENOENT ? err_set(e, r, "the bundle's kernel has gone") : r;
}

static void done_make(void *data, int code, struct err *e)
{
	struct making *m = data;
	struct objects *o = m->objects;

	if (code == -EALREADY) {
		making_end(m, 0, NULL);
		return;
	}
	if (code == 0 && o->kind == OBJECTS_IMAGES && m->what.what == MAKE_IMPORT && *m->row.kernel) {
		code = make_its_kernel(m, e);
		if (code == 0)
			return;
		err_wrap(e, "the bundle's kernel");
		objects_remove(o->dir_fd, m->row.file, NULL);
	}
	if (code == 0)
		keep(m, e);
	else
		making_end(m, code, e);
}

static int wait_for(
	struct making *m, objects_done_fn done, void *user, struct objects_waiter **ret, struct err *e)
{
	struct objects_waiter *w = calloc(1, sizeof(*w));

	if (!w)
		return err_sys(e, -ENOMEM, "%s", m->row.name);
	*w = (struct objects_waiter){.making = m, .done = done, .user = user};
	TAILQ_INSERT_TAIL(&m->waiters, w, link);
	*ret = w;
	return 0;
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

struct making *making_of(const struct objects *o, const char *name)
{
	struct making *m;

	TAILQ_FOREACH (m, &o->making, link)
		if (strcmp(m->row.name, name) == 0)
			return m;
	return NULL;
}

static int begin(struct making *m, struct err *e)
{
	static const char *const kinds[] = {[MAKE_IMPORT] = "import",
		[MAKE_REGISTER] = "register",
		[MAKE_BUSYBOX] = "build",
		[MAKE_DEBIAN] = "build",
		[MAKE_PULL] = "pull",
		[MAKE_PROMOTE] = "promote"};
	struct objects *o = m->objects;
	_cleanup_free_ char *target = NULL;
	int r;

	if (asprintf(&target, "%ss/%s", o->kind_name, m->row.name) < 0) {
		target = NULL;
		return err_sys(e, -ENOMEM, "%s", m->row.name);
	}
	r = op_begin(o->ops, kinds[m->what.what], target, &m->op, e);
	/* The operation's number is never used again, so the file's name neither. */
	if (r == 0 && asprintf(&m->row.file, "%" PRIu64 "%s", op_id(m->op),
			      o->kind == OBJECTS_IMAGES ? ".ext4" : "") < 0) {
		m->row.file = NULL;
		r = err_sys(e, -ENOMEM, "%s", m->row.name);
	}
	return r < 0 ? r : job_submit(o->jobs, work_make, done_make, m, e);
}

int making_join(struct objects *o, const char *name, const struct make *what, uint32_t old,
	objects_done_fn done, void *user, struct objects_waiter **ret, struct err *e)
{
	struct objects_waiter *w = NULL;
	struct making *m = making_of(o, name), *before;
	int r;

	if (m && (m->what.what != what->what || !same(m->what.source, what->source) ||
			 !same(m->what.tag, what->tag) || !same(m->what.platform, what->platform)))
		return err_set(e, -EBUSY, "%s %s is being made of something else: see ops/%" PRIu64,
			o->kind_name, name, op_id(m->op));
	if (m && (!op_cancelled(m->op) || m->after))
		return wait_for(m->after ? m->after : m, done, user, ret, e);
	before = m;
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_sys(e, -ENOMEM, "%s", name);
	m->objects = o;
	m->began = io_wall_usec();
	m->old = old;
	TAILQ_INIT(&m->waiters);
	m->row.name = strdup(name);
	m->row.ref = strdup(what->ref                                    ? what->ref
			    : what->source && what->what != MAKE_PROMOTE ? what->source
									 : "");
	m->row.kernel = strdup("");
	r = m->row.name && m->row.ref && m->row.kernel ? make_copy(what, &m->what) : -ENOMEM;
	if (r < 0)
		err_sys(e, r, "%s", name);
	else if ((r = wait_for(m, done, user, &w, e)) == 0 && !before)
		r = begin(m, e);
	if (r < 0) {
		free(w);
		if (m->op)
			op_end(m->op);
		making_free(m);
		return r;
	}
	if (before)
		before->after = m;
	else
		TAILQ_INSERT_TAIL(&o->making, m, link);
	*ret = w;
	return 0;
}

/* Nobody wants it any more. */
static void give_up(struct making *m)
{
	struct making *before;

	if (m->op) {
		op_cancel(m->op);
		return;
	}
	TAILQ_FOREACH (before, &m->objects->making, link)
		if (before->after == m)
			before->after = NULL;
	making_free(m);
}

void objects_unwait(struct objects_waiter *w)
{
	_cleanup_err_ struct err e = {0};
	struct making *m = w->making;

	if (w->pushing) {
		pushing_unwait(w);
		return;
	}
	TAILQ_REMOVE(&m->waiters, w, link);
	if (TAILQ_EMPTY(&m->waiters))
		give_up(m);
	err_set(&e, -EINTR, "cancelled");
	w->done(w->user, -EINTR, &e);
	free(w);
}
