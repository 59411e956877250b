#include <errno.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "guest/channel.h"

#define FRAME_MAX (AGENT_HEADER + AGENT_PAYLOAD_MAX)
/* Bytes that may wait for the guest: each writer of files has a frame at most, and waits for its answer. */
#define OUT_MAX     (64u << 20)
#define IOV_PARTS   64
#define TURN_MAX    (512u * 1024) /* bytes read in one turn of the loop, so that others have theirs */
#define TURN_FRAMES 512
#define OUT_LOW     (256u * 1024)
#define ERRNO_MAX   4095
#define TIMER_SLACK 10000 /* usec */
#define HELLO_MIN   (sizeof(uint32_t) + AGENT_COOKIE)
#define ONCE_PARTS  16

static void drop_requests(struct agent *a, int code)
{
	for (size_t i = 0; i < AGENT_BUCKETS; i++) {
		struct agent_request_row *row;

		while ((row = LIST_FIRST(&a->requests[i]))) {
			LIST_REMOVE(row, link);
			row->fn(row->user, code, NULL, 0);
			free(row);
		}
	}
}

static void destroy(struct agent *a)
{
	struct agent_out *o;

	while ((o = STAILQ_FIRST(&a->out))) {
		STAILQ_REMOVE_HEAD(&a->out, link);
		free(o);
	}
	sd_event_source_disable_unref(a->io);
	sd_event_source_disable_unref(a->timer);
	sd_event_source_disable_unref(a->dead);
	sd_event_source_disable_unref(a->more);
	sd_event_unref(a->event);
	close_fd(a->fd);
	err_clear(&a->why);
	free(a->in);
	free(a);
}

/* Between these, whoever is called back may free the agent: it goes when the last of them has returned. */
static void enter(struct agent *a)
{
	a->depth++;
}

static void leave(struct agent *a)
{
	if (--a->depth == 0 && a->freed)
		destroy(a);
}

/* The end is told from a turn of its own, so that nobody is called back inside the call that found it. */
static int on_dead(sd_event_source *s, void *user)
{
	struct agent *a = user;

	(void)s;
	enter(a);
	drop_requests(a, a->why.code == -EPROTO ? -EPROTO : -ENOTCONN);
	agent_jobs_lost(a);
	if (!a->freed)
		a->lost(a->user, &a->why);
	leave(a);
	return 0;
}

static void agent_break(struct agent *a, int code, const char *what)
{
	if (a->broken)
		return;
	a->broken = true;
	err_set(&a->why, code, "the agent's channel: %s", what);
	sd_event_source_set_enabled(a->io, SD_EVENT_OFF);
	sd_event_source_set_enabled(a->dead, SD_EVENT_ONESHOT);
}

static void watch_events(struct agent *a)
{
	sd_event_source_set_io_events(
		a->io, EPOLLIN | (a->out_bytes > 0 || a->stalled ? (uint32_t)EPOLLOUT : 0));
}

void agent_stall(struct agent *a)
{
	a->stalled = true;
	if (!a->broken)
		watch_events(a);
}

/* N bytes have gone. */
static void drop_sent(struct agent *a, size_t n)
{
	struct agent_out *o;

	a->out_bytes -= n;
	n += a->out_at;
	while ((o = STAILQ_FIRST(&a->out)) && n >= o->size) {
		n -= o->size;
		STAILQ_REMOVE_HEAD(&a->out, link);
		free(o);
	}
	a->out_at = n;
}

static void flush(struct agent *a)
{
	while (!a->broken && a->out_bytes > 0) {
		struct iovec iov[IOV_PARTS];
		struct msghdr m = {.msg_iov = iov};
		struct agent_out *o;
		ssize_t n;

		STAILQ_FOREACH (o, &a->out, link) {
			size_t skip = m.msg_iovlen == 0 ? a->out_at : 0;

			if (m.msg_iovlen == IOV_PARTS)
				break;
			iov[m.msg_iovlen++] = (struct iovec){o->data + skip, o->size - skip};
		}
		n = sendmsg(a->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			agent_break(a, -errno, "the VMM closed it");
			return;
		}
		drop_sent(a, (size_t)n);
	}
	if (a->ending && !a->broken && a->out_bytes == 0)
		shutdown(a->fd, SHUT_WR);
	watch_events(a);
}

int agent_send(struct agent *a, enum agent_type type, uint16_t code, uint32_t id,
	const struct agent_part *parts, size_t n)
{
	struct agent_header h = {.type = (uint16_t)type, .code = code, .id = id};
	struct agent_out *o;
	size_t length = 0;
	uint8_t *at;

	if (a->broken || a->ending)
		return -ENOTCONN;
	for (size_t i = 0; i < n; i++)
		length += parts[i].size;
	if (length > AGENT_PAYLOAD_MAX)
		return -EMSGSIZE;
	h.length = (uint32_t)length;
	if (a->out_bytes + AGENT_HEADER + length > OUT_MAX)
		return -ENOBUFS;
	o = malloc(sizeof(*o) + AGENT_HEADER + length);
	if (!o)
		return -ENOMEM;
	o->size = AGENT_HEADER + length;
	memcpy(o->data, &h, AGENT_HEADER);
	at = o->data + AGENT_HEADER;
	for (size_t i = 0; i < n; i++) {
		if (parts[i].size > 0)
			memcpy(at, parts[i].data, parts[i].size);
		at += parts[i].size;
	}
	STAILQ_INSERT_TAIL(&a->out, o, link);
	a->out_bytes += o->size;
	if (!a->corked)
		flush(a);
	return 0;
}

static struct agent_request_row *find_request(struct agent *a, uint32_t id)
{
	struct agent_request_row *row;

	LIST_FOREACH (row, &a->requests[id % AGENT_BUCKETS], link)
		if (row->id == id)
			return row;
	return NULL;
}

/* An answer to nobody (forgotten, timed out) is dropped. */
static int on_reply(struct agent *a, const struct agent_header *h, const uint8_t *payload)
{
	struct agent_request_row *row = find_request(a, h->id);

	if (h->code > ERRNO_MAX)
		return -EPROTO;
	if (!row)
		return 0;
	LIST_REMOVE(row, link);
	row->fn(row->user, -(int)h->code, payload, h->length);
	free(row);
	return 0;
}

static bool is_unasked(const uint8_t *hello)
{
	static const uint8_t zeros[AGENT_COOKIE];

	return memcmp(hello + sizeof(uint32_t), zeros, sizeof(zeros)) == 0;
}

static void on_frame(struct agent *a, const struct agent_header *h, const uint8_t *payload)
{
	int r = 0;

	switch (h->type) {
	case AGENT_REPLY:
		r = on_reply(a, h, payload);
		break;
	case AGENT_STDOUT:
	case AGENT_STDERR:
	case AGENT_CREDIT:
	case AGENT_EXIT:
		r = agent_job_frame(a, h, payload);
		break;
	case AGENT_FS_CHANGED:
		if (a->changed)
			a->changed(a->changed_user, payload, h->length);
		break;
	case AGENT_PORTS_CHANGED:
		if (a->ports_changed)
			a->ports_changed(a->ports_user, NULL, 0);
		break;
	case AGENT_HELLO:
		/* To a hello that was said more than once; or of another agent. */
		if (h->length >= HELLO_MIN && is_unasked(payload))
			agent_break(
				a, -ECONNRESET, "the agent has ended in the guest, and another has begun");
		break;
	default:
		r = -EPROTO;
	}
	if (r < 0)
		agent_break(a, r, "the guest broke the protocol");
}

/* Handles the whole frames that have come, *LEFT at most, and moves what remains to the front. */
static void take_frames(struct agent *a, unsigned *left)
{
	size_t at = 0;

	while (!a->broken && *left > 0 && a->in_have - at >= AGENT_HEADER) {
		struct agent_header h;

		memcpy(&h, a->in + at, AGENT_HEADER);
		if (h.length > AGENT_PAYLOAD_MAX) {
			agent_break(a, -EPROTO, "the guest broke the protocol");
			break;
		}
		if (a->in_have - at < AGENT_HEADER + h.length)
			break;
		on_frame(a, &h, a->in + at + AGENT_HEADER);
		at += AGENT_HEADER + h.length;
		--*left;
	}
	a->in_have -= at;
	if (at > 0)
		memmove(a->in, a->in + at, a->in_have);
}

/*
 * One turn of the loop's for this guest: so many bytes, and so many frames, however small; what remains waits for the next. What
 * the frames cause to be said goes out at its end.
 */
static void take_turn(struct agent *a, bool readable)
{
	unsigned frames = TURN_FRAMES;
	size_t bytes = 0;

	a->corked = true;
	for (;;) {
		size_t room;
		ssize_t n;

		take_frames(a, &frames);
		if (a->broken || frames == 0 || !readable || bytes >= TURN_MAX)
			break;
		/* Not a whole frame is there, so there is room. */
		room = FRAME_MAX - a->in_have;
		n = recv(a->fd, a->in + a->in_have, room, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0) {
			agent_break(a, n < 0 ? -errno : -EPIPE, "the VMM closed it");
			break;
		}
		a->in_have += (size_t)n;
		bytes += (size_t)n;
		/* A short read has emptied the socket; what comes later wakes the loop again. */
		readable = (size_t)n == room;
	}
	a->corked = false;
	flush(a);
	if (frames == 0 && !a->broken)
		sd_event_source_set_enabled(a->more, SD_EVENT_ONESHOT);
}

/*
 * A timer that is due at once: it comes up together with what else has happened by then. A deferred source would be older than all of
 * that each time, and go first.
 */
static int on_more(sd_event_source *s, uint64_t usec, void *user)
{
	struct agent *a = user;

	(void)s;
	(void)usec;
	enter(a);
	if (!a->broken)
		take_turn(a, false);
	leave(a);
	return 0;
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *user)
{
	struct agent *a = user;

	(void)s;
	(void)fd;
	enter(a);
	if (revents & EPOLLOUT)
		flush(a);
	/* What was refused for want of room can be said now. */
	if (!a->broken && a->stalled && a->out_bytes <= OUT_LOW) {
		a->stalled = false;
		agent_jobs_drained(a);
		flush(a);
	}
	if (!a->broken && (revents & ~(uint32_t)EPOLLOUT))
		take_turn(a, true);
	leave(a);
	return 0;
}

static void arm_timer(struct agent *a, uint64_t at)
{
	if (a->timer_at && a->timer_at <= at)
		return;
	a->timer_at = at;
	sd_event_source_set_time(a->timer, at);
	sd_event_source_set_enabled(a->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *user)
{
	struct agent *a = user;
	uint64_t now = io_now_usec(), next = 0;

	(void)s;
	(void)usec;
	enter(a);
	a->timer_at = 0;
	for (size_t i = 0; i < AGENT_BUCKETS; i++) {
		struct agent_request_row *row = LIST_FIRST(&a->requests[i]);

		while (row) {
			struct agent_request_row *after = LIST_NEXT(row, link);

			if (row->deadline && row->deadline <= now) {
				LIST_REMOVE(row, link);
				row->fn(row->user, -ETIMEDOUT, NULL, 0);
				free(row);
				/* The callback may have taken others away. */
				after = LIST_FIRST(&a->requests[i]);
			} else if (row->deadline && (next == 0 || row->deadline < next)) {
				next = row->deadline;
			}
			row = after;
		}
	}
	if (next && !a->broken)
		arm_timer(a, next);
	leave(a);
	return 0;
}

int agent_new(sd_event *event, int fd, agent_lost_fn lost, void *user, struct agent **ret, struct err *e)
{
	struct agent *a = calloc(1, sizeof(*a));
	int r;

	if (!a) {
		close_fd(fd);
		return err_sys(e, -ENOMEM, "agent");
	}
	STAILQ_INIT(&a->out);
	a->fd = fd;
	a->event = sd_event_ref(event);
	a->lost = lost;
	a->user = user;
	/* Jobs of an earlier daemon may still run in the guest: theirs are other numbers, most likely. */
	if (getrandom(&a->next_id, sizeof(a->next_id), GRND_NONBLOCK) < 0)
		a->next_id = (uint32_t)io_now_usec();
	a->in = malloc(FRAME_MAX);
	r = a->in ? 0 : -ENOMEM;
	if (r == 0)
		r = sd_event_add_io(event, &a->io, fd, EPOLLIN, on_io, a);
	if (r >= 0)
		r = sd_event_add_time(event, &a->timer, CLOCK_MONOTONIC, 0, TIMER_SLACK, on_timer, a);
	if (r >= 0)
		r = sd_event_source_set_enabled(a->timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_defer(event, &a->dead, on_dead, a);
	if (r >= 0)
		r = sd_event_source_set_enabled(a->dead, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time(event, &a->more, CLOCK_MONOTONIC, 0, 1, on_more, a);
	if (r >= 0)
		r = sd_event_source_set_enabled(a->more, SD_EVENT_OFF);
	if (r < 0) {
		destroy(a);
		return err_sys(e, r, "agent");
	}
	*ret = a;
	return 0;
}

struct agent *agent_free(struct agent *a)
{
	if (!a)
		return NULL;
	/* Once more, from one of the callbacks below, or from lost() after all was told. */
	if (a->freed)
		return NULL;
	a->broken = a->freed = true;
	enter(a);
	drop_requests(a, -ECANCELED);
	agent_jobs_lost(a);
	sd_event_source_set_enabled(a->dead, SD_EVENT_OFF);
	leave(a);
	return NULL;
}

void agent_end(struct agent *a)
{
	if (a->broken || a->ending)
		return;
	a->ending = true;
	if (!a->corked)
		flush(a);
}

void agent_fail(struct agent *a, int code)
{
	enter(a);
	drop_requests(a, code);
	leave(a);
}

bool agent_busy(const struct agent *a)
{
	for (size_t i = 0; i < AGENT_BUCKETS; i++)
		if (!LIST_EMPTY(&a->requests[i]))
			return true;
	return false;
}

void agent_once(struct agent *a, uint64_t token)
{
	a->once = token;
}

/* With its number at the end, where it has one. */
static int send_once(struct agent *a, enum agent_type type, uint16_t flags, uint32_t id,
	const struct agent_part *parts, size_t n)
{
	struct agent_part with[ONCE_PARTS];
	uint64_t token = a->once;

	a->once = 0;
	if (token == 0)
		return agent_send(a, type, flags, id, parts, n);
	if (n >= ONCE_PARTS)
		return -EMSGSIZE;
	if (n > 0)
		memcpy(with, parts, n * sizeof(*parts));
	with[n] = (struct agent_part){&token, sizeof(token)};
	return agent_send(a, type, flags | AGENT_ONCE, id, with, n + 1);
}

static int request_send(struct agent *a, struct agent_request_row *row, enum agent_type type, uint16_t flags,
	const struct agent_part *parts, size_t n, unsigned timeout_msec, struct err *e)
{
	int r;

	if (timeout_msec > 0)
		row->deadline = io_now_usec() + (uint64_t)timeout_msec * 1000;
	r = send_once(a, type, flags, row->id, parts, n);
	if (r < 0) {
		free(row);
		return err_sys(e, r, "agent");
	}
	LIST_INSERT_HEAD(&a->requests[row->id % AGENT_BUCKETS], row, link);
	if (row->deadline)
		arm_timer(a, row->deadline);
	return 0;
}

int agent_request(struct agent *a, enum agent_type type, uint16_t flags, const struct agent_part *parts,
	size_t n, unsigned timeout_msec, agent_reply_fn fn, void *user, uint32_t *ret_id, struct err *e)
{
	struct agent_request_row *row = calloc(1, sizeof(*row));
	uint32_t id;
	int r;

	if (!row)
		return err_sys(e, -ENOMEM, "agent");
	/* 32 bits go round; a number still waited for is passed over. */
	do
		id = a->next_id++;
	while (id == 0 || find_request(a, id) || agent_job_has(a, id));
	*row = (struct agent_request_row){.id = id, .fn = fn, .user = user};
	r = request_send(a, row, type, flags, parts, n, timeout_msec, e);
	if (r == 0 && ret_id)
		*ret_id = id;
	return r;
}

int agent_request_as(struct agent *a, enum agent_type type, uint32_t id, const struct agent_part *parts,
	size_t n, unsigned timeout_msec, agent_reply_fn fn, void *user, struct err *e)
{
	struct agent_request_row *row;

	if (id == 0 || find_request(a, id) || agent_job_has(a, id))
		return err_set(e, -EBUSY, "agent: number %u is in use", id);
	row = calloc(1, sizeof(*row));
	if (!row)
		return err_sys(e, -ENOMEM, "agent");
	*row = (struct agent_request_row){.id = id, .fn = fn, .user = user};
	return request_send(a, row, type, 0, parts, n, timeout_msec, e);
}

void agent_forget(struct agent *a, uint32_t id)
{
	struct agent_request_row *row = find_request(a, id);

	if (!row)
		return;
	LIST_REMOVE(row, link);
	row->fn(row->user, -ECANCELED, NULL, 0);
	free(row);
}

void agent_request_drop(struct agent *a, uint32_t id)
{
	struct agent_request_row *row = find_request(a, id);

	if (!row)
		return;
	LIST_REMOVE(row, link);
	free(row);
}

void agent_on_ports(struct agent *a, agent_event_fn fn, void *user)
{
	a->ports_changed = fn;
	a->ports_user = user;
}

void agent_on_changed(struct agent *a, agent_event_fn fn, void *user)
{
	a->changed = fn;
	a->changed_user = user;
}
