#include <errno.h>

#include "banger/cleanup.h"
#include "fuse/signals.h"
#include "fuse/state.h"

#define LOOK_USEC 100000 /* how long a signal that means it may be overlooked behind one that doesn't */

static void send(struct request *r, int code, const void *data, size_t n)
{
	struct fuse_entry_param entry;
	struct target at;

	if (code < 0) {
		fuse_reply_err(r->req, -code);
		return;
	}
	switch (r->kind) {
	case REPLY_CODE:
		fuse_reply_err(r->req, 0);
		break;
	case REPLY_DATA:
		fuse_reply_buf(r->req, data, n);
		break;
	case REPLY_WRITTEN:
		/* All of it, unless the tree says how much. */
		fuse_reply_write(r->req, code > 0 ? (size_t)code : r->size);
		break;
	case REPLY_ENTRY:
		code = tree_target(r->s->tree, r->call.node, &at);
		if (code == 0)
			code = entry_fill(r->s, &at, &entry);
		if (code < 0)
			fuse_reply_err(r->req, -code);
		else
			entry_reply(r->s, r->req, &entry);
		break;
	}
}

static void request_free(struct request *r)
{
	LIST_REMOVE(r, live);
	sd_event_source_disable_unref(r->look);
	free(r->data);
	free(r);
}

static void on_done(struct call *call, int code, const void *data, size_t n)
{
	struct request *r = (struct request *)call;
	struct server *s = r->s;

	if (s->current == r)
		s->current = NULL;
	if (atomic_load(&s->heard) < s->told) {
		r->data = n > 0 ? malloc(n) : NULL;
		if (n == 0 || r->data) {
			if (n > 0)
				memcpy(r->data, data, n);
			r->answered = true;
			r->after = s->told;
			r->code = code;
			r->n = n;
			TAILQ_INSERT_TAIL(&s->held, r, link);
			/* The last of it may have been heard by now. */
			request_release_held(s);
			return;
		}
	}
	send(r, code, data, n);
	request_free(r);
}

void request_release_held(struct server *s)
{
	struct request *r;

	for (;;) {
		r = TAILQ_FIRST(&s->held);
		/* Said before it is looked how far the notifier is, which looks here after each step. */
		atomic_store(&s->awaited, r ? r->after : UINT64_MAX);
		if (!r || r->after > atomic_load(&s->heard))
			return;
		TAILQ_REMOVE(&s->held, r, link);
		send(r, r->code, r->data, r->n);
		request_free(r);
	}
}

void requests_free(struct server *s)
{
	struct request *r;

	/* libfuse frees its part with an answer only; by now answers lead nowhere (server_detach()). */
	while ((r = LIST_FIRST(&s->live))) {
		fuse_reply_err(r->req, EINTR);
		request_free(r);
	}
}

struct request *request_begin(struct server *s, fuse_req_t req, enum reply_kind kind)
{
	struct request *r = calloc(1, sizeof(*r));
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	if (!r) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	r->call.done = on_done;
	r->call.uid = ctx->uid;
	r->call.pid = (uint32_t)ctx->pid;
	r->call.again = s->again;
	r->s = s;
	r->req = req;
	r->kind = kind;
	LIST_INSERT_HEAD(&s->live, r, live);
	s->current = r;
	return r;
}

void request_listed(struct server *s, fuse_req_t req, uint64_t node)
{
	struct request *r = request_begin(s, req, REPLY_DATA);

	if (!r)
		return;
	notify_pages(s, node);
	call_data(&r->call, NULL, 0);
	request_end(s, r);
}

/* The kernel tells of the first signal only. */
static int on_look(sd_event_source *source, uint64_t usec, void *user)
{
	struct request *r = user;

	if (r->answered || !r->call.cancel)
		return 0;
	if (signals_mean_it(r->call.pid)) {
		r->call.cancel(&r->call);
		return 0;
	}
	sd_event_source_set_time(source, usec + LOOK_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* True: it has begun something that is not left for a signal by the way. What only waits is asked again by whoever wants to. */
static bool look_later(struct request *r)
{
	return r->kind != REPLY_DATA && sd_event_add_time_relative(r->s->config.event, &r->look,
						CLOCK_MONOTONIC, LOOK_USEC, LOOK_USEC / 10, on_look, r) >= 0;
}

static void on_interrupt(fuse_req_t req, void *data)
{
	struct request *r = data;

	(void)req;
	if (!r->answered && r->call.cancel && !r->look && (signals_mean_it(r->call.pid) || !look_later(r)))
		r->call.cancel(&r->call);
}

void request_end(struct server *s, struct request *r)
{
	if (s->current != r)
		return;
	s->current = NULL;
	/* libfuse would call on_interrupt() with a lock of the request held that answering frees. */
	if (fuse_req_interrupted(r->req))
		on_interrupt(r->req, r);
	else
		fuse_req_interrupt_func(r->req, on_interrupt, r);
}
