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
#include "vm/objects.h"
#include "vm/objects_make.h"

struct object {
	TAILQ_ENTRY(object) link;
	struct store_object row;
	bool deleting;
};

struct objects_waiter {
	TAILQ_ENTRY(objects_waiter) link;
	struct making *making;
	objects_done_fn done;
	void *user;
};

/* One being made, by a worker, under a reserved name. */
struct making {
	TAILQ_ENTRY(making) link;
	struct objects *objects;
	struct op *op;
	enum make_what what;
	char *source;
	struct store_object row;
	TAILQ_HEAD(, objects_waiter) waiters;
};

struct objects {
	enum objects_kind kind;
	const char *kind_name; /* "image", "kernel": the store's word */
	struct jobs *jobs;
	struct ops *ops;
	struct store *store;
	int dir_fd;
	TAILQ_HEAD(, object) list; /* in order of id */
	TAILQ_HEAD(, making) making;
	objects_changed_fn changed;
	void *changed_user;
	objects_used_fn used;
	void *used_user;
};

static struct object *find(const struct objects *o, const char *name)
{
	struct object *one;

	TAILQ_FOREACH (one, &o->list, link)
		if (strcmp(one->row.name, name) == 0)
			return one;
	return NULL;
}

static int copy_row(const struct store_object *from, struct store_object *to)
{
	*to = (struct store_object){
		.id = from->id,
		.name = strdup(from->name),
		.ref = strdup(from->ref),
		.digest = strdup(from->digest),
		.arch = strdup(from->arch),
		.kernel = strdup(from->kernel),
		.file = strdup(from->file),
		.size = from->size,
		.created = from->created,
	};
	if (to->name && to->ref && to->digest && to->arch && to->kernel && to->file)
		return 0;
	store_object_clear(to);
	return -ENOMEM;
}

static int add_row(void *user, const struct store_object *row)
{
	struct objects *o = user;
	struct object *one = calloc(1, sizeof(*one));

	if (!one || copy_row(row, &one->row) < 0) {
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

int objects_new(enum objects_kind kind, sd_event *event, struct jobs *jobs, struct ops *ops,
	struct store *store, int state_fd, struct objects **ret, struct err *e)
{
	const char *folder = kind == OBJECTS_IMAGES ? "images" : "kernels";
	struct objects *o = calloc(1, sizeof(*o));
	int r;

	(void)event;
	if (!o)
		return err_sys(e, -ENOMEM, "%s", folder);
	o->kind = kind;
	o->kind_name = kind == OBJECTS_IMAGES ? "image" : "kernel";
	o->jobs = jobs;
	o->ops = ops;
	o->store = store;
	TAILQ_INIT(&o->list);
	TAILQ_INIT(&o->making);
	if (mkdirat(state_fd, folder, 0700) < 0 && errno != EEXIST)
		r = err_sys(e, -errno, "%s", folder);
	else if ((o->dir_fd = openat(state_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		r = err_sys(e, -errno, "%s", folder);
	else
		r = store_object_each(store, o->kind_name, add_row, o, e);
	if (r < 0) {
		objects_free(o);
		return r;
	}
	sweep(o);
	*ret = o;
	return 0;
}

static void object_free(struct object *one)
{
	store_object_clear(&one->row);
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
	free(o);
	return NULL;
}

void objects_watch(struct objects *o, objects_changed_fn fn, void *user)
{
	o->changed = fn;
	o->changed_user = user;
}

void objects_set_used(struct objects *o, objects_used_fn fn, void *user)
{
	o->used = fn;
	o->used_user = user;
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
	const struct object *one;

	TAILQ_FOREACH (one, &o->list, link)
		if (one->row.id == id && !one->deleting)
			return &one->row;
	return NULL;
}

const struct store_object *objects_find(const struct objects *o, const char *name)
{
	const struct object *one = find(o, name);

	return one && !one->deleting ? &one->row : NULL;
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

static void making_free(struct making *m)
{
	op_unref(m->op);
	store_object_clear(&m->row);
	free(m->source);
	free(m);
}

/* Tells all who wait, and takes the making out of the list. */
static void making_end(struct making *m, int code, const struct err *e)
{
	struct objects_waiter *w;

	TAILQ_REMOVE(&m->objects->making, m, link);
	op_end(m->op);
	while ((w = TAILQ_FIRST(&m->waiters))) {
		TAILQ_REMOVE(&m->waiters, w, link);
		w->done(w->user, code, e);
		free(w);
	}
	making_free(m);
}

static int work_store(void *data, struct err *e)
{
	struct making *m = data;
	int r = store_object_insert(m->objects->store, m->objects->kind_name, &m->row, e);

	if (r < 0)
		objects_remove(m->objects->dir_fd, m->row.file, NULL);
	return r;
}

static void done_store(void *data, int code, struct err *e)
{
	struct making *m = data;
	struct objects *o = m->objects;

	if (code == 0)
		code = add_row(o, &m->row);
	if (code == 0 && o->changed)
		o->changed(o->changed_user, o, m->row.id, m->row.name, true);
	making_end(m, code, e);
}

static int work_make(void *data, struct err *e)
{
	struct making *m = data;

	return objects_make(m->objects->kind, m->what, m->source, m->objects->dir_fd, m->op, &m->row, e);
}

static void done_make(void *data, int code, struct err *e)
{
	struct making *m = data;

	if (code == 0) {
		m->row.created = io_wall_usec();
		code = job_submit_serial(m->objects->jobs, work_store, done_store, m, e);
		if (code == 0)
			return;
		objects_remove(m->objects->dir_fd, m->row.file, NULL);
	}
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

static bool same_source(const struct making *m, enum make_what what, const char *source)
{
	return m->what == what &&
	       (m->source && source ? strcmp(m->source, source) == 0 : m->source == source);
}

/* Joins the making of NAME, or begins it. */
static int begin(struct objects *o, const char *name, enum make_what what, const char *source,
	objects_done_fn done, void *user, struct objects_waiter **ret, struct err *e)
{
	static const char *const kinds[] = {[MAKE_IMPORT] = "import",
		[MAKE_BUSYBOX] = "build",
		[MAKE_DEBIAN] = "build",
		[MAKE_PULL] = "pull"};
	_cleanup_free_ char *target = NULL;
	struct making *m;
	int r;

	if (!name_object_valid(name))
		return err_set(e, -EINVAL,
			"'%.64s' is no name: 1 to %d of A-Z a-z 0-9 _ . -, a letter or digit first", name,
			NAME_VM_MAX);
	if (find(o, name))
		return err_set(e, -EEXIST, "there is %s %s %s already: delete it first, or take another name",
			o->kind == OBJECTS_IMAGES ? "an" : "a", o->kind_name, name);
	TAILQ_FOREACH (m, &o->making, link) {
		if (strcmp(m->row.name, name) != 0)
			continue;
		if (!same_source(m, what, source) || op_cancelled(m->op))
			return err_set(e, -EBUSY, "%s %s is being made of something else: see ops/%" PRIu64,
				o->kind_name, name, op_id(m->op));
		return wait_for(m, done, user, ret, e);
	}
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_sys(e, -ENOMEM, "%s", name);
	m->objects = o;
	m->what = what;
	TAILQ_INIT(&m->waiters);
	m->source = source ? strdup(source) : NULL;
	m->row.name = strdup(name);
	m->row.ref = strdup(source ? source : "");
	m->row.kernel = strdup("");
	if (!m->row.name || !m->row.ref || !m->row.kernel || (source && !m->source) ||
		asprintf(&target, "%ss/%s", o->kind_name, name) < 0) {
		making_free(m);
		return err_sys(e, -ENOMEM, "%s", name);
	}
	r = op_begin(o->ops, kinds[what], target, &m->op, e);
	/* The operation's number is never used again, so the file's name neither. */
	if (r == 0 && asprintf(&m->row.file, "%" PRIu64 "%s", op_id(m->op),
			      o->kind == OBJECTS_IMAGES ? ".ext4" : "") < 0) {
		m->row.file = NULL;
		r = err_sys(e, -ENOMEM, "%s", name);
	}
	if (r == 0)
		r = wait_for(m, done, user, ret, e);
	if (r == 0) {
		r = job_submit(o->jobs, work_make, done_make, m, e);
		if (r < 0)
			free(*ret);
	}
	if (r < 0) {
		if (m->op)
			op_end(m->op);
		making_free(m);
		return r;
	}
	TAILQ_INSERT_TAIL(&o->making, m, link);
	return 0;
}

void objects_unwait(struct objects_waiter *w)
{
	_cleanup_err_ struct err e = {0};
	struct making *m = w->making;

	TAILQ_REMOVE(&m->waiters, w, link);
	if (TAILQ_EMPTY(&m->waiters))
		op_cancel(m->op);
	err_set(&e, -EINTR, "cancelled");
	w->done(w->user, -EINTR, &e);
	free(w);
}

/* The verbs. WORDS: what follows the verb, NULL-terminated; NAME is taken off by ` as NAME`. */
static const struct verb {
	enum objects_kind kind;
	const char *verb, *word; /* the word that must follow, or NULL */
	enum make_what what;
	bool has_source;  /* the next word is the source */
	const char *name; /* when none is given; NULL: it must be */
	const char *usage;
} verbs[] = {
	{OBJECTS_IMAGES, "import", NULL, MAKE_IMPORT, true, NULL, "import PATH as NAME\n"},
	{OBJECTS_IMAGES, "build", "debian", MAKE_DEBIAN, false, "debian", "build debian [as NAME]\n"},
	{OBJECTS_IMAGES, "build", "busybox", MAKE_BUSYBOX, false, "busybox", "build busybox [as NAME]\n"},
	{OBJECTS_KERNELS, "pull", NULL, MAKE_PULL, false, "debian", "pull [as NAME]\n"},
	{OBJECTS_KERNELS, "import", NULL, MAKE_IMPORT, true, NULL, "import PATH as NAME\n"},
};

/* Takes " as NAME" off the end of REST; blanks are legal in a path. */
static char *split_name(char *rest)
{
	char *at = rest, *last = NULL;

	while ((at = strstr(at, " as "))) {
		last = at;
		at += 4;
	}
	if (strncmp(rest, "as ", 3) == 0 && !last) {
		char *name = rest + 3;

		memmove(rest, name, strlen(name) + 1);
		/* NAME at the front, what came before it is empty. */
		return rest;
	}
	if (!last)
		return NULL;
	*last = '\0';
	return last + 4;
}

int objects_verb(struct objects *o, const char *line, objects_done_fn done, void *user,
	struct objects_waiter **ret, struct err *e)
{
	_cleanup_free_ char *copy = strdup(line);
	char *rest = copy, *verb, *name, *source = NULL;

	if (!copy)
		return err_sys(e, -ENOMEM, "%s", o->kind_name);
	verb = strsep(&rest, " ");
	for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
		const struct verb *v = &verbs[i];
		char *at = rest;

		if (v->kind != o->kind || strcmp(verb, v->verb) != 0)
			continue;
		if (v->word) {
			size_t n = strlen(v->word);

			if (!at || strncmp(at, v->word, n) != 0 || (at[n] && at[n] != ' '))
				continue;
			at = at[n] ? at + n + 1 : NULL;
		}
		name = at ? split_name(at) : NULL;
		if (v->has_source)
			source = at;
		else if (at && name != at)
			return err_set(e, -EINVAL, "%s: more words than it takes: %s", verb, v->usage);
		if (!name && !v->has_source && at)
			name = at;
		if (!name)
			name = (char *)v->name;
		if (!name || (v->has_source && (!source || !*source)))
			return err_set(e, -EINVAL, "wanted: %.*s", (int)strcspn(v->usage, "\n"), v->usage);
		return begin(o, name, v->what, source, done, user, ret, e);
	}
	return err_set(e, -EINVAL, "no verb '%.64s' for %ss: cat %ss/ctl lists them", verb, o->kind_name,
		o->kind_name);
}

const char *objects_verbs(const struct objects *o)
{
	return o->kind == OBJECTS_IMAGES
		       ? "import PATH as NAME\nbuild debian [as NAME]\nbuild busybox [as NAME]\n"
		       : "pull [as NAME]\nimport PATH as NAME\n";
}

int objects_ensure(struct objects *o, const char *name, objects_done_fn done, void *user,
	struct objects_waiter **ret, struct err *e)
{
	const struct object *one = find(o, name);

	*ret = NULL;
	if (one && !one->deleting) {
		done(user, 0, NULL);
		return 0;
	}
	if (o->kind == OBJECTS_IMAGES && strcmp(name, "busybox") == 0)
		return begin(o, name, MAKE_BUSYBOX, NULL, done, user, ret, e);
	if (o->kind == OBJECTS_KERNELS && strcmp(name, "debian") == 0)
		return begin(o, name, MAKE_PULL, NULL, done, user, ret, e);
	return err_set(e, -ENOENT, "there is no %s %s: ls %ss", o->kind_name, name, o->kind_name);
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
	struct object *one;
	int r;

	TAILQ_FOREACH (one, &o->list, link)
		if (one->row.id == id)
			break;
	if (!one || one->deleting)
		return err_set(e, -ENOENT, "there is no such %s", o->kind_name);
	if (o->used && o->used(o->used_user, one->row.name))
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
