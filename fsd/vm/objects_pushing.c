/* Images on their way to a registry: who waits, and what a push needs of the model. */
#include <errno.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "registry/credentials.h"
#include "registry/reference.h"
#include "vm/config.h"
#include "vm/objects_model.h"

void push_clear(struct push *p)
{
	store_object_clear(&p->row);
	close_fd(p->fd);
	free(p->ref);
	free(p->from);
	free(p->pushed);
	free(p->insecure);
	free(p->mirrors);
	*p = (struct push){.fd = -EBADF};
}

static void pushing_free(struct pushing *p)
{
	op_unref(p->op);
	push_clear(&p->push);
	free(p);
}

bool pushing_of(const struct objects *o, uint32_t id)
{
	const struct pushing *p;

	TAILQ_FOREACH (p, &o->pushing, link)
		if (p->push.row.id == id)
			return true;
	return false;
}

const char *objects_pushed(const struct objects *o, uint32_t id)
{
	const struct object *one = objects_by_id(o, id);

	return one && one->pushed ? one->pushed : "";
}

static int work(void *data, struct err *e)
{
	struct pushing *p = data;
	int r = objects_push_work(&p->push, p->op, e);

	return r == 0 ? op_check(p->op, e) : r;
}

static void over(void *data, int code, struct err *e)
{
	struct pushing *p = data;
	struct objects_waiter *w = p->waiter;
	struct objects *o = p->objects;
	struct object *one = code == 0 ? objects_by_id(o, p->push.row.id) : NULL;

	TAILQ_REMOVE(&o->pushing, p, link);
	if (one) {
		free(one->pushed);
		one->pushed = TAKE_PTR(p->push.pushed);
		if (o->changed)
			o->changed(o->changed_user, o, one->row.id, one->row.name, false);
	}
	op_end(p->op);
	pushing_free(p);
	if (!w)
		return;
	w->done(w->user, code, e);
	free(w);
}

void pushing_unwait(struct objects_waiter *w)
{
	_cleanup_err_ struct err e = {0};
	struct pushing *p = w->pushing;

	p->waiter = NULL;
	op_cancel(p->op);
	err_set(&e, -EINTR, "cancelled");
	w->done(w->user, -EINTR, &e);
	free(w);
}

/* Whether the lowest layer of both is the same. */
static bool shares(const struct store_object *a, const struct store_object *b)
{
	size_t n = strcspn(a->layers, " ");

	return n > 0 && strncmp(a->layers, b->layers, n + 1) == 0;
}

/* A repository at the same registry that has layers of ROW: where another image came from, or ROW itself. */
static int find_from(const struct objects *o, const struct store_object *row, const struct reference *to,
	char **ret, struct err *e)
{
	const struct object *one;

	TAILQ_FOREACH (one, &o->list, link) {
		_cleanup_(reference_freep) struct reference *ref = NULL;

		if (!*one->row.ref || !shares(row, &one->row) ||
			reference_parse(one->row.ref, &ref, NULL) < 0 || strcmp(ref->host, to->host) != 0)
			continue;
		*ret = strdup(ref->path);
		return *ret ? 0 : err_sys(e, -ENOMEM, "push");
	}
	return 0;
}

static int prepare(
	struct objects *o, const struct store_object *row, const char *text, struct push *p, struct err *e)
{
	_cleanup_(reference_freep) struct reference *ref = NULL;
	int r = reference_parse(text, &ref, e);

	if (r == 0)
		r = reference_text(ref, &p->ref, e);
	if (r == 0)
		r = find_from(o, row, ref, &p->from, e);
	if (r == 0)
		r = objects_open(o, row, &p->fd, e);
	if (r < 0)
		return r;
	p->registry = o->sources.registry;
	p->home = o->sources.places->home;
	p->insecure = strdup(settings_get(o->sources.settings, "registry_insecure"));
	p->mirrors = strdup(settings_get(o->sources.settings, "registry_mirrors"));
	if (!p->insecure || !p->mirrors || objects_copy_row(row, &p->row) < 0)
		return err_sys(e, -ENOMEM, "push");
	return 0;
}

int objects_push(struct objects *o, const char *name, const char *ref, objects_done_fn done, void *user,
	struct objects_waiter **ret, struct err *e)
{
	const struct store_object *row = objects_meant(o, name);
	_cleanup_free_ struct objects_waiter *w = calloc(1, sizeof(*w));
	_cleanup_free_ char *target = NULL;
	struct pushing *p;
	int r;

	if (!row)
		return err_set(e, -ENOENT, "there is no image %s: ls images", name);
	p = calloc(1, sizeof(*p));
	if (!p || !w || asprintf(&target, "images/%s", row->name) < 0) {
		free(p);
		return err_sys(e, -ENOMEM, "push");
	}
	p->objects = o;
	p->began = io_wall_usec();
	p->push.fd = -EBADF;
	r = prepare(o, row, ref, &p->push, e);
	if (r == 0)
		r = op_begin(o->ops, "push", target, &p->op, e);
	if (r == 0)
		r = job_submit(o->jobs, work, over, p, e);
	if (r < 0) {
		if (p->op)
			op_end(p->op);
		pushing_free(p);
		return r;
	}
	*w = (struct objects_waiter){.pushing = p, .done = done, .user = user};
	p->waiter = w;
	TAILQ_INSERT_TAIL(&o->pushing, p, link);
	*ret = TAKE_PTR(w);
	return 0;
}
