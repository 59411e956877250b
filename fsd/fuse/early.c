/*
 * Requests that come too early, and wait a moment, so that nobody notices: about files of guests, and for their jobs, whose agents this daemon, taking over from another,
 * has not found yet; and about files of a VM that is on its way up or down, which somebody else is about to serve. Loop thread.
 */
#include <errno.h>
#include <linux/fuse.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "fuse/guest.h"
#include "tree/node.h"

#define WAIT_USEC 60000000 /* two tries to reach an agent take less; none is expected then */
#define WAY_SEC   60       /* on its way for longer: whoever asks is told */
#define LOOK_USEC 10000
#define KEPT_MAX  4096

struct early {
	STAILQ_ENTRY(early) link;
	uint32_t vm;
	uint64_t unique;
	bool again;
	uint64_t until; /* CLOCK_MONOTONIC usec */
	size_t size;
	char data[];
};

void early_begin(struct server *s)
{
	s->early_until = io_now_usec() + WAIT_USEC;
}

/* It runs, and is not reached yet. */
static bool is_awaited(struct server *s, uint32_t id)
{
	struct vm *vm = tree_vm(s->tree, id);

	return vm && io_now_usec() < s->early_until && vm_awaits_agent(vm);
}

static bool is_on_its_way(struct server *s, uint32_t id)
{
	struct vm *vm = tree_vm(s->tree, id);

	return vm && vm_is_on_its_way(vm);
}

static void say_late(struct server *s, uint32_t id)
{
	_cleanup_free_ char *text = NULL;

	if (asprintf(&text, "files: it has been on its way up or down for %u s: see ops/, and try again",
		    WAY_SEC) < 0)
		text = NULL;
	vm_set_error(tree_vm(s->tree, id), -EBUSY, 0, text ? text : "files");
}

static void release(struct server *s)
{
	STAILQ_HEAD(, early) ready = STAILQ_HEAD_INITIALIZER(ready);
	struct early *e, *after;

	for (e = STAILQ_FIRST(&s->early); e; e = after) {
		after = STAILQ_NEXT(e, link);
		if (io_now_usec() < e->until && (is_awaited(s, e->vm) || is_on_its_way(s, e->vm)))
			continue;
		STAILQ_REMOVE(&s->early, e, early, link);
		s->early_count--;
		STAILQ_INSERT_TAIL(&ready, e, link);
	}
	while ((e = STAILQ_FIRST(&ready))) {
		struct fuse_buf buf = {.size = e->size, .mem = e->data};

		STAILQ_REMOVE_HEAD(&ready, link);
		s->late = io_now_usec() >= e->until;
		if (s->late && is_on_its_way(s, e->vm))
			say_late(s, e->vm);
		server_process(s, &buf, e->again);
		s->late = false;
		free(e);
	}
}

static int look_again(sd_event_source *source)
{
	int r = sd_event_source_set_time_relative(source, LOOK_USEC);

	return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_look(sd_event_source *source, uint64_t usec, void *user)
{
	struct server *s = user;

	(void)usec;
	release(s);
	return STAILQ_EMPTY(&s->early) ? 0 : look_again(source);
}

/* Whoever waited has been interrupted. */
static bool interrupt(struct server *s, const struct fuse_buf *buf)
{
	const struct fuse_interrupt_in *in =
		(const void *)((const char *)buf->mem + sizeof(struct fuse_in_header));
	struct fuse_out_header out = {.len = sizeof(out), .error = -EINTR};
	struct early *e;

	if (buf->size < sizeof(struct fuse_in_header) + sizeof(*in))
		return false;
	STAILQ_FOREACH (e, &s->early, link) {
		if (e->unique != in->unique)
			continue;
		STAILQ_REMOVE(&s->early, e, early, link);
		s->early_count--;
		out.unique = e->unique;
		(void)!write(fuse_session_fd(s->session), &out, sizeof(out));
		asked_done(s->asked, e->unique);
		free(e);
		return true;
	}
	return false;
}

/* It is about a file of VM *RET's, or its agent is needed for one of its jobs. */
static bool is_for_guest(struct server *s, const struct fuse_in_header *in, uint32_t *ret)
{
	struct node n;

	if (!node_parse(in->nodeid, &n))
		return false;
	if (n.guest || guest_is(s, in->nodeid)) {
		*ret = n.guest ? n.vm : (uint32_t)n.row;
		return in->opcode != FUSE_FORGET && in->opcode != FUSE_BATCH_FORGET;
	}
	if (n.kind == KIND_EXECS && n.attr != 0) {
		*ret = (uint32_t)n.row;
		return in->opcode == FUSE_OPEN || in->opcode == FUSE_READ || in->opcode == FUSE_WRITE;
	}
	*ret = node_major(n.row);
	return n.kind == KIND_EXEC && in->opcode == FUSE_WRITE;
}

/* BUF is copied. */
static bool keep(struct server *s, const struct fuse_buf *buf, uint32_t vm, bool again, uint64_t until)
{
	struct early *e = s->early_count < KEPT_MAX ? malloc(sizeof(*e) + buf->size) : NULL;

	if (!e)
		return false;
	e->vm = vm;
	e->unique = ((const struct fuse_in_header *)buf->mem)->unique;
	e->again = again;
	e->until = until;
	e->size = buf->size;
	memcpy(e->data, buf->mem, buf->size);
	STAILQ_INSERT_TAIL(&s->early, e, link);
	s->early_count++;
	if (!s->early_timer)
		sd_event_add_time_relative(
			s->config.event, &s->early_timer, CLOCK_MONOTONIC, LOOK_USEC, 1000, on_look, s);
	else
		look_again(s->early_timer);
	return true;
}

bool early_keep(struct server *s, const struct fuse_buf *buf, bool again)
{
	const struct fuse_in_header *in = buf->mem;
	uint32_t vm;

	if (buf->size < sizeof(*in))
		return false;
	if (in->opcode == FUSE_INTERRUPT)
		return !STAILQ_EMPTY(&s->early) && interrupt(s, buf);
	return s->early_until != 0 && io_now_usec() < s->early_until && is_for_guest(s, in, &vm) &&
	       is_awaited(s, vm) && keep(s, buf, vm, again, s->early_until);
}

bool early_wait(struct server *s, fuse_req_t req, uint32_t vm)
{
	if (s->late || !s->now || fuse_req_interrupted(req) || !is_on_its_way(s, vm) ||
		!keep(s, s->now, vm, s->again, io_now_usec() + WAY_SEC * 1000000ull))
		return false;
	fuse_reply_none(req);
	return true;
}

void early_end(struct server *s)
{
	struct early *e;

	/* They are asked again of the next daemon. */
	s->early_timer = sd_event_source_disable_unref(s->early_timer);
	while ((e = STAILQ_FIRST(&s->early))) {
		STAILQ_REMOVE_HEAD(&s->early, link);
		free(e);
	}
}
