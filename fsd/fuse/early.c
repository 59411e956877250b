/*
 * Requests about files of guests, and for their jobs, whose agents this daemon, taking over from another, has not found yet: they wait a moment, so that nobody notices.
 * Loop thread.
 */
#include <errno.h>
#include <linux/fuse.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "fuse/guest.h"
#include "tree/node.h"

#define WAIT_USEC 20000000 /* an agent that isn't there by then is not expected any more */
#define LOOK_USEC 10000
#define KEPT_MAX  4096

struct early {
	STAILQ_ENTRY(early) link;
	uint32_t vm;
	uint64_t unique;
	bool again;
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
	struct vm_view v;

	if (!vm || io_now_usec() >= s->early_until)
		return false;
	vm_view(vm, &v);
	return v.state == VM_RUNNING && !vm_agent(vm);
}

static void release(struct server *s)
{
	STAILQ_HEAD(, early) ready = STAILQ_HEAD_INITIALIZER(ready);
	struct early *e, *after;

	for (e = STAILQ_FIRST(&s->early); e; e = after) {
		after = STAILQ_NEXT(e, link);
		if (is_awaited(s, e->vm))
			continue;
		STAILQ_REMOVE(&s->early, e, early, link);
		s->early_count--;
		STAILQ_INSERT_TAIL(&ready, e, link);
	}
	while ((e = STAILQ_FIRST(&ready))) {
		struct fuse_buf buf = {.size = e->size, .mem = e->data};

		STAILQ_REMOVE_HEAD(&ready, link);
		server_process(s, &buf, e->again);
		free(e);
	}
}

static int on_look(sd_event_source *source, uint64_t usec, void *user)
{
	struct server *s = user;

	release(s);
	if (STAILQ_EMPTY(&s->early))
		return 0;
	sd_event_source_set_time(source, usec + LOOK_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
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

bool early_keep(struct server *s, const struct fuse_buf *buf, bool again)
{
	const struct fuse_in_header *in = buf->mem;
	struct early *e;
	uint32_t vm;

	if (s->early_until == 0 || io_now_usec() >= s->early_until || buf->size < sizeof(*in))
		return false;
	if (in->opcode == FUSE_INTERRUPT)
		return interrupt(s, buf);
	if (!is_for_guest(s, in, &vm) || !is_awaited(s, vm) || s->early_count >= KEPT_MAX)
		return false;
	e = malloc(sizeof(*e) + buf->size);
	if (!e)
		return false;
	e->vm = vm;
	e->unique = in->unique;
	e->again = again;
	e->size = buf->size;
	memcpy(e->data, buf->mem, buf->size);
	STAILQ_INSERT_TAIL(&s->early, e, link);
	s->early_count++;
	if (!s->early_timer)
		sd_event_add_time_relative(
			s->config.event, &s->early_timer, CLOCK_MONOTONIC, LOOK_USEC, 1000, on_look, s);
	else
		sd_event_source_set_enabled(s->early_timer, SD_EVENT_ONESHOT);
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
