#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/name.h"
#include "registry/reference.h"
#include "vm/objects_model.h"

struct object *objects_by_name(const struct objects *o, const char *name)
{
	struct object *one;

	TAILQ_FOREACH (one, &o->list, link)
		if (strcmp(one->row.name, name) == 0)
			return one;
	return NULL;
}

struct object *objects_by_id(const struct objects *o, uint32_t id)
{
	struct object *one;

	TAILQ_FOREACH (one, &o->list, link)
		if (one->row.id == id)
			return one;
	return NULL;
}

static bool serves(const char *have, const char *wanted)
{
	struct platform h = {0}, w = {0};
	bool yes = strcmp(have, wanted) == 0;

	if (!yes && *have && platform_parse(have, &h, NULL) == 0 && platform_parse(wanted, &w, NULL) == 0)
		yes = platform_fits(&h, &w);
	platform_clear(&h);
	platform_clear(&w);
	return yes;
}

struct object *objects_by_ref(const struct objects *o, const char *ref, const char *platform)
{
	struct object *one;

	TAILQ_FOREACH (one, &o->list, link)
		if (strcmp(one->row.ref, ref) == 0 &&
			serves(one->row.platform, *platform ? platform : o->machine))
			return one;
	return NULL;
}

int objects_runs_here(const struct objects *o, const struct store_object *row, struct err *e)
{
	if (!*row->platform || serves(row->platform, o->machine))
		return 0;
	return err_set(e, -ENOEXEC, "image %s is for %s, and this machine is %s: take one for it", row->name,
		row->platform, o->machine);
}

const char *objects_article(const struct objects *o)
{
	return o->kind == OBJECTS_IMAGES ? "an" : "a";
}

int objects_copy_row(const struct store_object *from, struct store_object *to)
{
	static const size_t texts[] = {offsetof(struct store_object, name),
		offsetof(struct store_object, ref), offsetof(struct store_object, digest),
		offsetof(struct store_object, arch), offsetof(struct store_object, kernel),
		offsetof(struct store_object, file), offsetof(struct store_object, ref_digest),
		offsetof(struct store_object, platform), offsetof(struct store_object, layers),
		offsetof(struct store_object, config)};

	*to = (struct store_object){.id = from->id, .size = from->size, .created = from->created};
	for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
		const char *text = *(char *const *)((const char *)from + texts[i]);
		char *copy = strdup(text ? text : "");

		if (!copy) {
			store_object_clear(to);
			return -ENOMEM;
		}
		*(char **)((char *)to + texts[i]) = copy;
	}
	return 0;
}

int objects_add_row(void *objects, const struct store_object *row)
{
	struct objects *o = objects;
	struct object *one = calloc(1, sizeof(*one));

	if (!one || objects_copy_row(row, &one->row) < 0) {
		free(one);
		return -ENOMEM;
	}
	TAILQ_INSERT_TAIL(&o->list, one, link);
	return 0;
}

/* What a crash left: half-made ones, and files that never got their row or have lost it. */
static void sweep(struct objects *o)
{
	int fd = openat(o->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		struct object *one, *owner = NULL;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		TAILQ_FOREACH (one, &o->list, link)
			if (strcmp(one->row.file, entry->d_name) == 0)
				owner = one;
		if (!owner)
			objects_remove(o->dir_fd, entry->d_name, NULL);
	}
}

static int machine_platform(char **ret, struct err *e)
{
	struct platform machine = {0};
	int r = platform_parse("", &machine, e);

	if (r == 0)
		r = platform_text(&machine, ret, e);
	platform_clear(&machine);
	return r;
}

int objects_new(enum objects_kind kind, const struct objects_sources *sources, struct jobs *jobs,
	struct ops *ops, struct store *store, int state_fd, struct objects **ret, struct err *e)
{
	const char *folder = kind == OBJECTS_IMAGES ? "images" : "kernels";
	struct objects *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return err_sys(e, -ENOMEM, "%s", folder);
	o->kind = kind;
	o->kind_name = kind == OBJECTS_IMAGES ? "image" : "kernel";
	if (sources)
		o->sources = *sources;
	o->jobs = jobs;
	o->ops = ops;
	o->store = store;
	TAILQ_INIT(&o->list);
	TAILQ_INIT(&o->making);
	TAILQ_INIT(&o->pushing);
	if (mkdirat(state_fd, folder, 0700) < 0 && errno != EEXIST)
		r = err_sys(e, -errno, "%s", folder);
	else if ((o->dir_fd = openat(state_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		r = err_sys(e, -errno, "%s", folder);
	else if ((r = machine_platform(&o->machine, e)) == 0)
		r = store_object_each(store, o->kind_name, objects_add_row, o, e);
	if (r < 0) {
		objects_free(o);
		return r;
	}
	sweep(o);
	*ret = o;
	return 0;
}

void object_free(struct object *one)
{
	store_object_clear(&one->row);
	free(one->pushed);
	free(one);
}

struct objects *objects_free(struct objects *o)
{
	struct object *one;

	if (!o)
		return NULL;
	while ((one = TAILQ_FIRST(&o->list))) {
		TAILQ_REMOVE(&o->list, one, link);
		object_free(one);
	}
	close_fd(o->dir_fd);
	free(o->machine);
	free(o);
	return NULL;
}

void objects_watch(struct objects *o, objects_changed_fn fn, void *user)
{
	o->changed = fn;
	o->changed_user = user;
}

void objects_set_users(struct objects *o, const struct objects_users *users)
{
	o->users = *users;
}

const struct store_object *objects_next(const struct objects *o, uint32_t after)
{
	const struct object *one;

	TAILQ_FOREACH (one, &o->list, link)
		if (one->row.id > after && !one->deleting)
			return &one->row;
	return NULL;
}

const struct store_object *objects_get(const struct objects *o, uint32_t id)
{
	const struct object *one = objects_by_id(o, id);

	return one && !one->deleting ? &one->row : NULL;
}

const struct store_object *objects_find(const struct objects *o, const char *name)
{
	const struct object *one = objects_by_name(o, name);

	return one && !one->deleting ? &one->row : NULL;
}

/* TEXT as the full text of a reference; NULL: it is none. */
static char *full_reference(const char *text)
{
	_cleanup_(reference_freep) struct reference *ref = NULL;
	char *full = NULL;

	return reference_parse(text, &ref, NULL) < 0 || reference_text(ref, &full, NULL) < 0 ? NULL : full;
}

const struct store_object *objects_meant(const struct objects *o, const char *text)
{
	const struct object *one = objects_by_name(o, text);
	_cleanup_free_ char *full = NULL;

	if (!one && o->kind == OBJECTS_IMAGES && (full = full_reference(text)))
		one = objects_by_ref(o, full, "");
	return one && !one->deleting ? &one->row : NULL;
}

int objects_check(const struct objects *o, const char *text, struct err *e)
{
	_cleanup_(reference_freep) struct reference *ref = NULL;

	if (objects_meant(o, text) || strcmp(text, o->kind == OBJECTS_IMAGES ? "busybox" : "debian") == 0)
		return 0;
	/* An image that isn't here is pulled at the start. */
	if (o->kind == OBJECTS_IMAGES)
		return reference_parse(text, &ref, e);
	if (!name_object_valid(text))
		return err_set(e, -EINVAL, "that is no name");
	return err_set(e, -ENOENT, "there is no %s %s: ls %ss", o->kind_name, text, o->kind_name);
}

int objects_open(const struct objects *o, const struct store_object *row, int *ret_fd, struct err *e)
{
	int fd = openat(o->dir_fd, row->file,
		o->kind == OBJECTS_IMAGES ? O_RDONLY | O_CLOEXEC : O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, -errno, "%s %s", o->kind_name, row->name);
	*ret_fd = fd;
	return 0;
}

struct deletion {
	struct objects *objects;
	struct object *one;
	objects_done_fn done;
	void *user;
};

/* The row first: a file without one is swept at the next start. */
static int work_delete(void *data, struct err *e)
{
	struct deletion *d = data;
	int r = store_object_delete(d->objects->store, d->objects->kind_name, d->one->row.id, e);

	if (r == 0)
		objects_remove(d->objects->dir_fd, d->one->row.file, NULL);
	return r;
}

static void done_delete(void *data, int code, struct err *e)
{
	struct deletion *d = data;
	struct objects *o = d->objects;

	if (code == 0) {
		TAILQ_REMOVE(&o->list, d->one, link);
		if (o->changed)
			o->changed(o->changed_user, o, d->one->row.id, d->one->row.name, false);
		object_free(d->one);
	} else {
		d->one->deleting = false;
	}
	d->done(d->user, code, e);
	free(d);
}

int objects_delete(struct objects *o, uint32_t id, objects_done_fn done, void *user, struct err *e)
{
	struct deletion *d;
	struct object *one = objects_by_id(o, id);
	int r;

	if (!one || one->deleting)
		return err_set(e, -ENOENT, "there is no such %s", o->kind_name);
	if (making_of(o, one->row.name))
		return err_set(e, -EBUSY, "%s %s is being made anew: wait, or cancel that: ls ops",
			o->kind_name, one->row.name);
	if (pushing_of(o, id))
		return err_set(e, -EBUSY, "%s %s is being pushed: wait, or cancel that: ls ops", o->kind_name,
			one->row.name);
	if (o->users.used && o->users.used(o->users.user, &one->row))
		return err_set(e, -EBUSY, "%s %s is in use: ls %ss/%s/users", o->kind_name, one->row.name,
			o->kind_name, one->row.name);
	d = calloc(1, sizeof(*d));
	if (!d)
		return err_sys(e, -ENOMEM, "%s", one->row.name);
	*d = (struct deletion){.objects = o, .one = one, .done = done, .user = user};
	one->deleting = true;
	r = job_submit_serial(o->jobs, work_delete, done_delete, d, e);
	if (r < 0) {
		one->deleting = false;
		free(d);
	}
	return r;
}
