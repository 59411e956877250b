/*
 * Writing behind: the kernel is told at once that data is written and attributes are set, and the guest is asked without waiting, so that a file
 * costs a round trip where it is made and one where it is closed. What goes wrong is told by the next write, by fsync or close. What is not
 * confirmed yet is in the journal, and the next daemon asks for it again.
 */
#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "banger/cleanup.h"
#include "fuse/guest.h"
#include "fuse/journal.h"

#define FILE_MAX (4u << 20) /* bytes of a file that are not confirmed; a writer of more waits for its own */
#define BUCKETS  256

/* A file that is open for writing, or has something that isn't confirmed. */
struct behind {
	LIST_ENTRY(behind) bucket;
	struct server *s;
	uint64_t node;
	uint32_t vm;
	unsigned opens;
	uint64_t sent, done; /* operations; the guest answers them in this order */
	size_t bytes;
	int error;  /* the first that nobody was told of, 0: none */
	bool known; /* what it is like, while NAMES is the same: */
	uint64_t names;
	struct agent_attr attr; /* with all that was sent */
	TAILQ_HEAD(, ask) waiting;
};

struct behinds {
	struct journal *journal;
	uint64_t
		names; /* so many times a name of some file went or came: any could have another count of links */
	bool silent; /* a guest that confirms nothing is in its VM's error; until one confirms something */
	bool ending; /* what is not confirmed is left to the next daemon */
	LIST_HEAD(, behind) files[BUCKETS];
};

/* An operation under way. */
struct late {
	struct behind *b;
	struct journal_op *op;
	uint32_t at; /* bytes of it that are written */
};

int behinds_new(int run_fd, struct behinds **ret, struct err *e)
{
	struct behinds *all = calloc(1, sizeof(*all));
	int r = all ? journal_open(run_fd, &all->journal, e) : err_sys(e, -ENOMEM, "behind");

	if (r < 0) {
		free(all);
		return r;
	}
	*ret = all;
	return 0;
}

static struct behind *find(struct server *s, uint64_t node)
{
	struct behind *b;

	if (s->behinds)
		LIST_FOREACH (b, &s->behinds->files[node % BUCKETS], bucket)
			if (b->node == node)
				return b;
	return NULL;
}

static struct behind *get(struct server *s, uint64_t node, uint32_t vm)
{
	struct behind *b = find(s, node);

	if (b || !s->behinds)
		return b;
	b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	b->s = s;
	b->node = node;
	b->vm = vm;
	TAILQ_INIT(&b->waiting);
	LIST_INSERT_HEAD(&s->behinds->files[node % BUCKETS], b, bucket);
	return b;
}

static void destroy(struct behind *b)
{
	LIST_REMOVE(b, bucket);
	free(b);
}

static void drop_if_idle(struct behind *b)
{
	if (b->opens == 0 && b->sent == b->done && b->error == 0 && TAILQ_EMPTY(&b->waiting))
		destroy(b);
}

static int take_error(struct behind *b)
{
	int r = b->error;

	b->error = 0;
	return r;
}

/* Those who waited for what has come by now. */
static void answer_waiting(struct behind *b)
{
	struct ask *a;

	while ((a = TAILQ_FIRST(&b->waiting)) && a->after <= b->done) {
		TAILQ_REMOVE(&b->waiting, a, link);
		a->parked = NULL;
		ask_on_code(a, take_error(b));
	}
}

/* It was asked, and may still do it; who closes the file is not kept waiting (guest/message.c has the time). */
static void say_silent(const struct behind *b)
{
	struct vm *vm = tree_vm(b->s->tree, b->vm);

	b->s->behinds->silent = true;
	if (vm)
		vm_set_error(vm, -ETIMEDOUT, 0,
			"files: what was written is not confirmed: the guest does not answer: "
			"resume it if it is paused, else see console");
}

static void end_late(struct late *l, int code)
{
	struct behind *b = l->b;

	b->done++;
	b->bytes -= l->op->size;
	if (code < 0 && b->error == 0)
		b->error = code;
	if (code < 0)
		b->known = false;
	if (code == -ETIMEDOUT && !b->s->behinds->silent)
		say_silent(b);
	else if (code == 0)
		b->s->behinds->silent = false;
	if (code == 0 || !b->s->behinds->ending)
		journal_done(b->s->behinds->journal, l->op);
	free(l);
	answer_waiting(b);
	drop_if_idle(b);
}

static void on_set(void *user, int code, const struct agent_attr *attr)
{
	(void)attr;
	end_late(user, code);
}

static void on_written(void *user, int code, uint32_t n)
{
	struct late *l = user;
	const struct journal_op *op = l->op;
	struct vm *vm = tree_vm(l->b->s->tree, op->vm);
	struct agent *agent = vm ? vm_files(vm) : NULL;

	l->at += n;
	/* Not all of it: the rest tells why. */
	if (code == 0 && l->at < op->size && n > 0) {
		code = agent ? files_write(agent, op->file, op->offset + l->at, op->data + l->at,
				       op->size - l->at, false, on_written, l, NULL)
			     : -ENOTCONN;
		if (code == 0)
			return;
	}
	end_late(l, code == 0 && l->at < op->size ? -EIO : code);
}

static int send(struct behind *b, struct agent *agent, struct journal_op *op)
{
	struct late *l = malloc(sizeof(*l));
	int r;

	if (!l)
		return -ENOMEM;
	*l = (struct late){.b = b, .op = op};
	if (op->size > 0)
		r = files_write(agent, op->file, op->offset, op->data, op->size, false, on_written, l, NULL);
	else
		r = files_setattr(agent, op->file, &op->change, on_set, l, NULL);
	if (r < 0) {
		free(l);
		return r;
	}
	b->sent++;
	b->bytes += op->size;
	return 0;
}

/* Keeps it and sends it. */
static int later(struct behind *b, struct agent *agent, const struct journal_op *what, const void *data)
{
	struct journal_op *op = journal_add(b->s->behinds->journal, what, data);
	int r = op ? send(b, agent, op) : -ENOBUFS;

	if (op && r < 0)
		journal_done(b->s->behinds->journal, op);
	return r;
}

static struct timespec now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t;
}

void behind_opened(const struct ask *a, uint64_t node, const struct agent_attr *attr)
{
	struct behind *b = guest_is_live(a->cache) ? get(a->s, node, a->vm) : NULL;

	if (!b)
		return;
	b->opens++;
	behind_seen(a->s, node, attr);
}

void behind_seen(struct server *s, uint64_t node, const struct agent_attr *attr)
{
	struct behind *b = find(s, node);

	/* What is under way comes on top of it. */
	if (!b || b->sent != b->done)
		return;
	b->attr = *attr;
	/* Whether it has extended attributes is not kept up with here. */
	b->attr.flags = 0;
	b->names = s->behinds->names;
	b->known = true;
}

void behind_names(struct server *s)
{
	if (s->behinds)
		s->behinds->names++;
}

static bool is_known(const struct behind *b)
{
	return b->known && b->names == b->s->behinds->names;
}

void behind_changed(struct server *s, uint64_t node)
{
	struct behind *b = find(s, node);

	if (b)
		b->known = false;
}

void behind_released(struct server *s, uint64_t node)
{
	struct behind *b = find(s, node);

	if (!b || b->opens == 0)
		return;
	if (--b->opens == 0 && b->sent == b->done)
		b->error = 0;
	drop_if_idle(b);
}

bool behind_write(struct ask *a, struct agent *agent, const char *data)
{
	struct behind *b = find(a->s, a->node);
	struct journal_op op = {.node = a->node, .vm = a->vm, .boot = guest_boot(a->cache), .file = a->file};
	size_t at = 0;
	int r = 0;

	/* Where the end is, only the guest knows. */
	if (!b || !guest_is_live(a->cache) || (a->fi.flags & O_APPEND))
		return false;
	r = take_error(b);
	if (r < 0) {
		ask_fail(a, r);
		return true;
	}
	if (b->bytes + a->size > FILE_MAX)
		return false;
	while (r == 0 && at < a->size) {
		size_t left = a->size - at;

		op.offset = a->offset + at;
		op.size = (uint32_t)(left < FILES_IO_MAX ? left : FILES_IO_MAX);
		r = later(b, agent, &op, data + at);
		if (r == 0)
			at += op.size;
	}
	/* Whoever writes goes on behind what could be sent. */
	if (at == 0)
		return false;
	if (a->offset + at > b->attr.size)
		b->attr.size = a->offset + at;
	b->attr.mtime = now().tv_sec;
	b->attr.mtime_nsec = (uint32_t)now().tv_nsec;
	fuse_reply_write(a->req, at);
	ask_free(a);
	return true;
}

bool behind_has(struct server *s, uint64_t node)
{
	return find(s, node) != NULL;
}

bool behind_attr(struct server *s, uint64_t node, struct agent_attr *ret)
{
	struct behind *b = find(s, node);

	if (!b || !is_known(b) || b->sent == b->done)
		return false;
	*ret = b->attr;
	return true;
}

bool behind_setattr(struct ask *a, struct agent *agent, const struct files_change *change)
{
	struct behind *b = find(a->s, a->node);
	struct journal_op op = {.node = a->node,
		.vm = a->vm,
		.boot = guest_boot(a->cache),
		.file = a->file,
		.change = *change};
	struct agent_attr *attr;
	struct stat st;

	if (!b || !is_known(b) || b->opens == 0 || b->error != 0 || !guest_is_live(a->cache) ||
		(change->valid & AGENT_SET_SIZE))
		return false;
	/* What "now" is, once: done again it is no other. */
	if (change->atime.tv_nsec == UTIME_NOW || change->mtime.tv_nsec == UTIME_NOW)
		return false;
	if (later(b, agent, &op, NULL) < 0)
		return false;
	attr = &b->attr;
	if (change->valid & AGENT_SET_MODE)
		attr->mode = (attr->mode & S_IFMT) | change->mode;
	if (change->valid & AGENT_SET_UID)
		attr->uid = change->uid;
	if (change->valid & AGENT_SET_GID)
		attr->gid = change->gid;
	if ((change->valid & AGENT_SET_ATIME) && change->atime.tv_nsec != UTIME_OMIT) {
		attr->atime = change->atime.tv_sec;
		attr->atime_nsec = (uint32_t)change->atime.tv_nsec;
	}
	if ((change->valid & AGENT_SET_MTIME) && change->mtime.tv_nsec != UTIME_OMIT) {
		attr->mtime = change->mtime.tv_sec;
		attr->mtime_nsec = (uint32_t)change->mtime.tv_nsec;
	}
	attr->ctime = now().tv_sec;
	attr->ctime_nsec = (uint32_t)now().tv_nsec;
	ask_stat(a, attr, &st);
	fuse_reply_attr(a->req, &st, 0);
	ask_free(a);
	return true;
}

bool behind_is_busy(struct server *s, uint64_t node)
{
	struct behind *b = find(s, node);

	return b && b->sent != b->done;
}

uint64_t behind_sent(struct server *s, uint64_t node)
{
	struct behind *b = find(s, node);

	return b ? b->sent : 0;
}

bool behind_waits(struct server *s, uint64_t node, uint64_t after)
{
	struct behind *b = find(s, node);

	return b && b->sent != b->done && b->done < after;
}

void behind_flush(struct ask *a)
{
	struct behind *b = find(a->s, a->node);

	a->after = b->sent;
	a->parked = b;
	TAILQ_INSERT_TAIL(&b->waiting, a, link);
	ask_sent(a, 0);
}

void behind_unpark(struct ask *a)
{
	struct behind *b = a->parked;

	TAILQ_REMOVE(&b->waiting, a, link);
	a->parked = NULL;
	ask_fail(a, -ECANCELED);
	drop_if_idle(b);
}

int behind_error(struct server *s, uint64_t node)
{
	struct behind *b = find(s, node);
	int r = b ? take_error(b) : 0;

	if (b)
		drop_if_idle(b);
	return r == 0 ? 0 : -ask_code(NULL, r);
}

struct replay {
	struct server *s;
	struct agent *agent;
	uint32_t boot;
};

static void on_left(void *user, struct journal_op *op)
{
	struct replay *r = user;
	struct behind *b;
	int code;

	/* The guest has been started anew: to it this never happened. */
	b = op->boot == r->boot ? get(r->s, op->node, op->vm) : NULL;
	code = b ? send(b, r->agent, op) : 0;
	if (b && code < 0)
		b->error = code;
	if (!b || code < 0)
		journal_done(r->s->behinds->journal, op);
}

void behinds_replay(struct server *s, uint32_t vm, uint32_t boot, struct agent *agent)
{
	struct replay r = {s, agent, boot};

	if (s->behinds)
		journal_replay(s->behinds->journal, vm, on_left, &r);
}

bool behind_left(struct server *s, uint32_t vm, uint64_t node)
{
	return s->behinds && journal_left(s->behinds->journal, vm, node);
}

static void on_forgotten(void *user, struct journal_op *op)
{
	struct server *s = user;

	journal_done(s->behinds->journal, op);
}

void behinds_forget(struct server *s, uint32_t vm)
{
	struct behind *b, *after;

	if (s->behinds)
		journal_replay(s->behinds->journal, vm, on_forgotten, s);
	for (size_t i = 0; s->behinds && i < BUCKETS; i++)
		for (b = LIST_FIRST(&s->behinds->files[i]); b; b = after) {
			after = LIST_NEXT(b, bucket);
			if (b->vm == vm && b->sent == b->done && TAILQ_EMPTY(&b->waiting))
				destroy(b);
		}
}

void behinds_end(struct behinds *all)
{
	if (all)
		all->ending = true;
}

struct behinds *behinds_free(struct behinds *all)
{
	if (!all)
		return NULL;
	for (size_t i = 0; i < BUCKETS; i++)
		while (LIST_FIRST(&all->files[i]))
			destroy(LIST_FIRST(&all->files[i]));
	journal_close(all->journal);
	free(all);
	return NULL;
}
