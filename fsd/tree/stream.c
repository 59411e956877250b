/*
 * Readers that block: stream/. What is put goes to every reader's own buffer; a reader that does not keep up loses pieces
 * and is told how many, and holds up nobody.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>

#include "banger/cleanup.h"
#include "tree/state.h"

#define READER_MAX (64u * 1024)

struct reader {
	char *buf;
	size_t n, room;
	uint64_t lost;
	bool ended;
};

void handle_park(struct handle *h, struct call *call);

static void on_cancel(struct call *call)
{
	struct handle *h = call->parked;

	TAILQ_REMOVE(&h->parked, call, link);
	call_done(call, -EINTR);
}

void handle_park(struct handle *h, struct call *call)
{
	if (h->nonblock) {
		call_done(call, -EAGAIN);
		return;
	}
	call->parked = h;
	call->cancel = on_cancel;
	TAILQ_INSERT_TAIL(&h->parked, call, link);
}

void handle_wake(struct handle *h, int code)
{
	struct call *call;

	while ((call = TAILQ_FIRST(&h->parked))) {
		TAILQ_REMOVE(&h->parked, call, link);
		call_done(call, code);
	}
}

static void serve(struct handle *h)
{
	struct reader *r = h->state;
	struct call *call;

	while ((call = TAILQ_FIRST(&h->parked)) && (r->n > 0 || r->ended)) {
		size_t n = r->n < call->size ? r->n : call->size;

		TAILQ_REMOVE(&h->parked, call, link);
		call_data(call, r->buf, n);
		r->n -= n;
		memmove(r->buf, r->buf + n, r->n);
	}
	if (r->n == 0 && r->room > 4096) {
		free(r->buf);
		r->buf = NULL;
		r->room = 0;
	}
}

static bool append(struct reader *r, const void *data, size_t n)
{
	if (n > READER_MAX - r->n)
		return false;
	if (r->n + n > r->room) {
		size_t room = r->room ? r->room : 1024;
		char *buf;

		while (room < r->n + n)
			room *= 2;
		buf = realloc(r->buf, room);
		if (!buf)
			return false;
		r->buf = buf;
		r->room = room;
	}
	memcpy(r->buf + r->n, data, n);
	r->n += n;
	return true;
}

static void reader_put(struct reader *r, const void *data, size_t n)
{
	char line[48];
	int length;

	if (r->lost > 0) {
		length = snprintf(line, sizeof(line), "lost %" PRIu64 "\n", r->lost);
		/* Told as soon as there is room again for it and for what comes after it. */
		if ((size_t)length + n > READER_MAX - r->n || !append(r, line, (size_t)length)) {
			r->lost++;
			return;
		}
		r->lost = 0;
	}
	if (!append(r, data, n))
		r->lost++;
}

static enum channel channel_of(const struct handle *h)
{
	return (enum channel)(uintptr_t)h->at.attr->data;
}

static bool is_on(const struct handle *h, enum channel channel, uint64_t row)
{
	return channel_of(h) == channel && h->at.row == row;
}

void stream_put(struct tree *t, enum channel channel, uint64_t row, const void *data, size_t n)
{
	struct handle *h;

	LIST_FOREACH (h, &t->readers, link) {
		if (!is_on(h, channel, row))
			continue;
		reader_put(h->state, data, n);
		serve(h);
		if (h->poll)
			t->listener->pollable(t->user, h);
	}
}

void stream_end(struct tree *t, enum channel channel, uint64_t row)
{
	struct handle *h;

	LIST_FOREACH (h, &t->readers, link) {
		struct reader *r = h->state;

		if (!is_on(h, channel, row))
			continue;
		r->ended = true;
		serve(h);
		if (h->poll)
			t->listener->pollable(t->user, h);
	}
}

void stream_event(struct tree *t, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL, *line = NULL;
	uint64_t now = io_wall_usec();
	va_list ap;
	int n;

	t->events++;
	if (LIST_EMPTY(&t->readers))
		return;
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0) {
		text = NULL;
		return;
	}
	n = asprintf(&line, "seq=%" PRIu64 " time=%" PRIu64 ".%06u %s\n", t->events, now / 1000000,
		(unsigned)(now % 1000000), text);
	if (n < 0)
		line = NULL;
	else
		stream_put(t, CHANNEL_EVENTS, 0, line, (size_t)n);
}

/* What is so while somebody reads. */
static void hold(struct tree *t, struct handle *h, bool begins)
{
	struct vm *vm;

	if (channel_of(h) == CHANNEL_VM_CONSOLE)
		tree_use(t, h->at.row, begins);
	if (channel_of(h) == CHANNEL_VM_PORTS && (vm = tree_vm(t, (uint32_t)h->at.row)))
		(begins ? vm_ports_watch : vm_ports_unwatch)(vm);
}

static int stream_open(struct tree *t, struct handle *h)
{
	h->state = calloc(1, sizeof(struct reader));
	if (!h->state)
		return -ENOMEM;
	LIST_INSERT_HEAD(&t->readers, h, link);
	hold(t, h, true);
	return 0;
}

static void stream_release(struct tree *t, struct handle *h)
{
	struct reader *r = h->state;

	hold(t, h, false);
	LIST_REMOVE(h, link);
	handle_wake(h, -EINTR);
	free(r->buf);
	free(r);
}

static void stream_read(struct tree *t, struct handle *h, size_t size, uint64_t offset, struct call *call)
{
	struct reader *r = h->state;

	(void)t;
	(void)offset;
	(void)size;
	if (r->n == 0 && !r->ended) {
		handle_park(h, call);
		return;
	}
	TAILQ_INSERT_TAIL(&h->parked, call, link);
	serve(h);
}

static unsigned stream_poll(struct tree *t, struct handle *h)
{
	struct reader *r = h->state;

	(void)t;
	return r->n > 0 || r->ended ? POLLIN | POLLRDNORM : 0;
}

const struct file_ops stream_ops = {
	.open = stream_open,
	.release = stream_release,
	.read = stream_read,
	.poll = stream_poll,
};
