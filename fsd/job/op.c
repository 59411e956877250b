#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/queue.h>

#include "banger/io.h"
#include "job/op.h"

struct part {
	char *name; /* NULL: never heard of */
	const char *stage;
	uint64_t done, total, from, began;
};

struct op {
	atomic_uint refs;
	TAILQ_ENTRY(op) entry;
	struct ops *ops; /* NULL: ended */
	uint64_t id, started;
	char *kind, *target;
	int cancel_fd;
	atomic_bool cancelled;
	void (*on_cancel)(void *user); /* loop thread */
	void *on_cancel_user;
	pthread_mutex_t lock; /* over what follows */
	const char *stage;
	char *error; /* set once, then there until the end: a view may point to it */
	uint64_t done, total;
	struct part *parts;
	size_t part_count;
};

struct ops {
	TAILQ_HEAD(, op) list; /* in order of id */
	uint64_t next_id;
	ops_changed_fn changed;
	void *user;
};

int ops_new(uint64_t next_id, struct ops **ret, struct err *e)
{
	struct ops *ops = calloc(1, sizeof(*ops));

	if (!ops)
		return err_sys(e, -ENOMEM, "operations");
	TAILQ_INIT(&ops->list);
	ops->next_id = next_id > 0 ? next_id : 1;
	*ret = ops;
	return 0;
}

struct ops *ops_free(struct ops *ops)
{
	struct op *op;

	if (!ops)
		return NULL;
	ops->changed = NULL;
	while ((op = TAILQ_FIRST(&ops->list)))
		op_end(op);
	free(ops);
	return NULL;
}

void ops_watch(struct ops *ops, ops_changed_fn fn, void *user)
{
	ops->changed = fn;
	ops->user = user;
}

static void op_view(struct op *op, struct op_view *ret)
{
	*ret = (struct op_view){
		.id = op->id,
		.kind = op->kind,
		.target = op->target,
		.started = op->started,
		.cancelled = atomic_load(&op->cancelled),
	};
	pthread_mutex_lock(&op->lock);
	ret->stage = op->stage;
	ret->error = op->error ? op->error : "";
	ret->done = op->done;
	ret->total = op->total;
	pthread_mutex_unlock(&op->lock);
}

static void announce(struct ops *ops, struct op *op, bool appeared)
{
	struct op_view view;

	if (!ops->changed)
		return;
	op_view(op, &view);
	ops->changed(ops->user, &view, appeared);
}

bool ops_next(const struct ops *ops, uint64_t after, struct op_view *ret)
{
	struct op *op;

	TAILQ_FOREACH (op, &ops->list, entry)
		if (op->id > after) {
			op_view(op, ret);
			return true;
		}
	return false;
}

static struct op *find(const struct ops *ops, uint64_t id)
{
	struct op *op;

	TAILQ_FOREACH (op, &ops->list, entry)
		if (op->id == id)
			return op;
	return NULL;
}

bool ops_get(const struct ops *ops, uint64_t id, struct op_view *ret)
{
	struct op *op = find(ops, id);

	if (op)
		op_view(op, ret);
	return op;
}

void ops_parts(const struct ops *ops, uint64_t id, void (*fn)(void *user, const struct op_part_view *part),
	void *user)
{
	struct op *op = find(ops, id);

	if (!op)
		return;
	pthread_mutex_lock(&op->lock);
	for (size_t i = 0; i < op->part_count; i++) {
		const struct part *p = &op->parts[i];
		struct op_part_view view = {.name = p->name,
			.stage = p->stage,
			.done = p->done,
			.total = p->total,
			.from = p->from};

		if (!p->name)
			continue;
		view.elapsed = p->began ? io_now_usec() - p->began : 0;
		fn(user, &view);
	}
	pthread_mutex_unlock(&op->lock);
}

int ops_cancel(struct ops *ops, uint64_t id)
{
	struct op *op = find(ops, id);

	if (!op)
		return -ENOENT;
	/* What is told may end it. */
	op_ref(op);
	op_cancel(op);
	if (op->ops && op->on_cancel)
		op->on_cancel(op->on_cancel_user);
	op_unref(op);
	return 0;
}

void op_on_cancel(struct op *op, void (*fn)(void *user), void *user)
{
	op->on_cancel = fn;
	op->on_cancel_user = user;
}

static void op_destroy(struct op *op)
{
	pthread_mutex_destroy(&op->lock);
	close_fd(op->cancel_fd);
	free(op->kind);
	free(op->target);
	free(op->error);
	for (size_t i = 0; i < op->part_count; i++)
		free(op->parts[i].name);
	free(op->parts);
	free(op);
}

int op_begin(struct ops *ops, const char *kind, const char *target, struct op **ret, struct err *e)
{
	struct op *op = calloc(1, sizeof(*op));
	int r;

	if (!op)
		return err_sys(e, -ENOMEM, "%s", kind);
	pthread_mutex_init(&op->lock, NULL);
	op->kind = strdup(kind);
	op->target = strdup(target);
	op->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = op->cancel_fd < 0 ? -errno : op->kind && op->target ? 0 : -ENOMEM;
	if (r < 0) {
		op_destroy(op);
		return err_sys(e, r, "%s", kind);
	}
	atomic_init(&op->refs, 1);
	atomic_init(&op->cancelled, false);
	op->ops = ops;
	op->id = ops->next_id++;
	op->started = io_wall_usec();
	op->stage = "";
	TAILQ_INSERT_TAIL(&ops->list, op, entry);
	*ret = op;
	announce(ops, op, true);
	return 0;
}

void op_end(struct op *op)
{
	struct ops *ops = op ? op->ops : NULL;

	if (!ops)
		return;
	op_ref(op);
	TAILQ_REMOVE(&ops->list, op, entry);
	op->ops = NULL;
	announce(ops, op, false);
	op_unref(op);
}

struct op *op_ref(struct op *op)
{
	if (op)
		atomic_fetch_add(&op->refs, 1);
	return op;
}

struct op *op_unref(struct op *op)
{
	if (op && atomic_fetch_sub(&op->refs, 1) == 1) {
		/* The last reference went without op_end(): the list must not keep the pointer. */
		if (op->ops)
			TAILQ_REMOVE(&op->ops->list, op, entry);
		op_destroy(op);
	}
	return NULL;
}

uint64_t op_id(const struct op *op)
{
	return op ? op->id : 0;
}

void op_stage(struct op *op, const char *stage)
{
	if (!op)
		return;
	pthread_mutex_lock(&op->lock);
	op->stage = stage;
	op->done = op->total = 0;
	pthread_mutex_unlock(&op->lock);
}

void op_error(struct op *op, const char *text)
{
	if (!op)
		return;
	pthread_mutex_lock(&op->lock);
	if (!op->error)
		op->error = strdup(text);
	pthread_mutex_unlock(&op->lock);
}

void op_progress(struct op *op, uint64_t done, uint64_t total)
{
	if (!op)
		return;
	pthread_mutex_lock(&op->lock);
	op->done = done;
	op->total = total;
	pthread_mutex_unlock(&op->lock);
}

/* Room for part I. */
static bool grow_parts(struct op *op, size_t i)
{
	struct part *parts;

	if (i < op->part_count)
		return true;
	parts = i < OP_PARTS_MAX ? reallocarray(op->parts, i + 1, sizeof(*parts)) : NULL;
	if (!parts)
		return false;
	memset(parts + op->part_count, 0, (i + 1 - op->part_count) * sizeof(*parts));
	op->parts = parts;
	op->part_count = i + 1;
	return true;
}

void op_part(struct op *op, size_t i, const char *name, const char *stage, uint64_t done, uint64_t total)
{
	struct part *p;

	if (!op)
		return;
	pthread_mutex_lock(&op->lock);
	if (grow_parts(op, i)) {
		p = &op->parts[i];
		if (!p->name)
			p->name = strdup(name);
		if (p->stage != stage) {
			p->from = done;
			p->began = io_now_usec();
		}
		p->stage = stage;
		p->done = done;
		p->total = total;
	}
	pthread_mutex_unlock(&op->lock);
}

bool op_cancelled(const struct op *op)
{
	return op && atomic_load(&op->cancelled);
}

int op_check(const struct op *op, struct err *e)
{
	return op_cancelled(op) ? err_set(e, -EINTR, "cancelled") : 0;
}

int op_cancel_fd(const struct op *op)
{
	return op ? op->cancel_fd : -1;
}

void op_cancel(struct op *op)
{
	if (op && !atomic_exchange(&op->cancelled, true))
		eventfd_write(op->cancel_fd, 1);
}
