#include <errno.h>
#include <poll.h>
#include <string.h>

#include "banger/cleanup.h"
#include "channel.h"
#include "door.h"

#define FRAME_MAX (AGENT_HEADER + AGENT_PAYLOAD_MAX)
/* Room to read on while a frame is incomplete: what a port yields at once (a page) is never cut in two. */
#define IN_SIZE      (FRAME_MAX + 65536)
#define OUT_MAX      (16u << 20)
#define IN_PLACE_MIN 16384 /* less is cheaper copied, and sent with what else there is */

int channel_init(struct channel *c, int fd, enum channel_kind kind, const uint8_t *token, bool *half_said)
{
	int r;

	*c = (struct channel){.fd = fd,
		.hello = 4 + AGENT_COOKIE + (token ? AGENT_TOKEN : 0),
		.kind = kind,
		.connected = kind != CHANNEL_VSOCK,
		.half_said = half_said};
	if (kind == CHANNEL_VSOCK) {
		c->fd = -EBADF;
		r = token ? door_new(fd, token, &c->door) : -EINVAL;
		if (r < 0)
			return r;
	}
	c->in = malloc(IN_SIZE);
	return c->in ? 0 : -ENOMEM;
}

int channel_poll_fd(const struct channel *c)
{
	/* A port without a host is always ready, with nothing: it is none to poll. */
	return c->connected ? c->fd : -EBADF;
}

int channel_door_fd(const struct channel *c)
{
	return c->door ? door_fd(c->door) : -EBADF;
}

void channel_reset(struct channel *c)
{
	c->out_at = c->out_end = 0;
	c->overflow = false;
}

static void lost(struct channel *c)
{
	channel_reset(c);
	c->in_at = c->in_end = 0;
	c->astray = c->connected = false;
	c->broken = c->kind == CHANNEL_SOCKET;
	if (c->kind == CHANNEL_VSOCK)
		c->fd = close_fd(c->fd);
}

void channel_admit(struct channel *c)
{
	uint8_t hello[DOOR_HELLO];
	int fd;

	if (!door_admit(c->door, &fd, hello))
		return;
	lost(c);
	c->fd = fd;
	c->connected = true;
	memcpy(c->in, hello, sizeof(hello));
	c->in_end = sizeof(hello);
}

/* Of a port: what a read of nothing alone does not say. */
static bool host_gone(const struct channel *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR));
}

static bool is_hello(const struct channel *c, const struct agent_header *h)
{
	return h->length == c->hello && h->type == AGENT_HELLO && h->code == 0 && h->id == 0;
}

/* Whether there is a frame that begins so. */
static bool is_frame(const struct agent_header *h)
{
	return h->length <= AGENT_PAYLOAD_MAX && h->type != 0 && h->type < AGENT_TYPE_END;
}

static int fill(struct channel *c)
{
	struct agent_header h;
	ssize_t n;

	if (c->in_at > 0) {
		memmove(c->in, c->in + c->in_at, c->in_end - c->in_at);
		c->in_end -= c->in_at;
		c->in_at = 0;
	}
	if (c->fd < 0)
		return 0;
	n = read(c->fd, c->in + c->in_end, IN_SIZE - c->in_end);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	/* A port without a host reads as 0 at once, again and again: the loop backs off. */
	if (n <= 0) {
		if (c->kind != CHANNEL_PORT || host_gone(c))
			lost(c);
		return 0;
	}
	c->connected = true;
	/*
	 * A host can go and another come unseen. What one read of a port yields was put there by one write of the VMM, which
	 * never joins what two hosts sent: a read that is a HELLO, no more and no less, belongs to no frame begun before.
	 */
	if (c->kind == CHANNEL_PORT && (size_t)n == AGENT_HEADER + c->hello) {
		memcpy(&h, c->in + c->in_end, AGENT_HEADER);
		if (is_hello(c, &h))
			c->in_at = c->in_end;
	}
	c->in_end += (size_t)n;
	return 1;
}

int channel_receive(struct channel *c, struct agent_header *h, const uint8_t **payload)
{
	for (;;) {
		size_t have = c->in_end - c->in_at;

		if (c->broken)
			return 0;
		if (have >= AGENT_HEADER) {
			memcpy(h, c->in + c->in_at, AGENT_HEADER);
			/*
			 * Not a frame (zeros, with which a new host ends what the one before left half said; or garbage): nothing
			 * that follows can be trusted to be one, until a host says HELLO.
			 */
			c->astray = c->astray ? !is_hello(c, h) : !is_frame(h);
			if (c->astray) {
				c->in_at++;
				continue;
			}
			if (have >= AGENT_HEADER + h->length) {
				*payload = c->in + c->in_at + AGENT_HEADER;
				c->in_at += AGENT_HEADER + h->length;
				return 1;
			}
		}
		if (fill(c) <= 0)
			return 0;
	}
}

size_t channel_waiting(const struct channel *c)
{
	return c->out_end - c->out_at;
}

/* As much of it as the host's side takes now: how much that was. */
static size_t say(struct channel *c, const uint8_t *data, size_t n)
{
	size_t at = 0;

	*c->half_said = true;
	while (at < n) {
		ssize_t k = write(c->fd, data + at, n - at < 65536 ? n - at : 65536);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno == EAGAIN)
			break;
		/* A port whose host has gone says EAGAIN; what else it says (no memory, say) passes, and costs no byte. */
		if (k <= 0) {
			if (c->kind != CHANNEL_PORT)
				lost(c);
			break;
		}
		at += (size_t)k;
	}
	return at;
}

void channel_flush(struct channel *c)
{
	size_t said =
		c->connected && channel_waiting(c) > 0 ? say(c, c->out + c->out_at, channel_waiting(c)) : 0;

	/* Of one that was lost nothing waits. */
	if (c->connected)
		c->out_at += said;
	if (c->out_at == c->out_end) {
		*c->half_said = false;
		c->out_at = c->out_end = 0;
		if (c->out_size > 2 * FRAME_MAX) {
			free(c->out);
			c->out = NULL;
			c->out_size = 0;
		}
	}
}

static bool reserve(struct channel *c, size_t n)
{
	size_t size = c->out_size ? c->out_size : 4096;
	uint8_t *bigger;

	if (channel_waiting(c) + n > OUT_MAX)
		return false;
	if (c->out_at > 0 && c->out_end + n > c->out_size) {
		memmove(c->out, c->out + c->out_at, channel_waiting(c));
		c->out_end -= c->out_at;
		c->out_at = 0;
	}
	if (c->out_end + n <= c->out_size)
		return true;
	while (size < c->out_end + n)
		size *= 2;
	bigger = realloc(c->out, size);
	if (!bigger)
		return false;
	c->out = bigger;
	c->out_size = size;
	return true;
}

/* Behind what waits; false: there is too much of it. */
static bool queue(struct channel *c, const void *data, size_t n)
{
	if (!reserve(c, n)) {
		c->overflow = true;
		return false;
	}
	if (n > 0)
		memcpy(c->out + c->out_end, data, n);
	c->out_end += n;
	return true;
}

void channel_send(struct channel *c, enum agent_type type, uint16_t code, uint32_t id, const void *a,
	size_t a_size, const void *b, size_t b_size)
{
	struct agent_header h = {
		.length = (uint32_t)(a_size + b_size), .type = (uint16_t)type, .code = code, .id = id};

	if (c->overflow || c->broken)
		return;
	if (!reserve(c, AGENT_HEADER + a_size + b_size)) {
		c->overflow = true;
		return;
	}
	queue(c, &h, AGENT_HEADER);
	queue(c, a, a_size);
	queue(c, b, b_size);
}

void channel_send_in_place(struct channel *c, enum agent_type type, uint32_t id, uint8_t *data, size_t n)
{
	struct agent_header h = {.length = (uint32_t)n, .type = (uint16_t)type, .id = id};
	uint8_t *frame = data - AGENT_HEADER, before[AGENT_HEADER];
	size_t said;

	if (n >= IN_PLACE_MIN && c->connected)
		channel_flush(c);
	if (n < IN_PLACE_MIN || !c->connected || channel_waiting(c) > 0 || c->overflow || c->broken) {
		channel_send(c, type, 0, id, data, n, NULL, 0);
		return;
	}
	memcpy(before, frame, AGENT_HEADER);
	memcpy(frame, &h, AGENT_HEADER);
	said = say(c, frame, AGENT_HEADER + n);
	if (c->connected && !c->broken)
		queue(c, frame + said, AGENT_HEADER + n - said);
	if (channel_waiting(c) == 0)
		*c->half_said = false;
	memcpy(frame, before, AGENT_HEADER);
}
