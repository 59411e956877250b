#include <errno.h>
#include <poll.h>
#include <string.h>

#include "banger/cleanup.h"
#include "channel.h"

#define FRAME_MAX (AGENT_HEADER + AGENT_PAYLOAD_MAX)
#define OUT_MAX   (16u << 20)

int channel_init(struct channel *c, int fd, bool port)
{
	*c = (struct channel){.fd = fd, .port = port, .connected = true};
	c->in = malloc(FRAME_MAX);
	return c->in ? 0 : -ENOMEM;
}

void channel_reset(struct channel *c)
{
	c->in_have = 0;
	c->out_at = c->out_end = 0;
	c->overflow = false;
}

static void lost(struct channel *c)
{
	channel_reset(c);
	c->connected = false;
	c->broken = !c->port;
}

/* Of a port: what a read of nothing alone does not say. */
static bool host_gone(const struct channel *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR));
}

static int fill(struct channel *c, size_t wanted)
{
	ssize_t n = read(c->fd, c->in + c->in_have, wanted - c->in_have);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	/* A port without a host reads as 0 at once, again and again: the loop backs off. */
	if (n <= 0) {
		if (!c->port || host_gone(c))
			lost(c);
		return 0;
	}
	c->connected = true;
	c->in_have += (size_t)n;
	return 1;
}

int channel_receive(struct channel *c, struct agent_header *h, const uint8_t **payload)
{
	for (;;) {
		size_t wanted = AGENT_HEADER;

		if (c->broken)
			return 0;
		if (c->in_have >= AGENT_HEADER) {
			memcpy(h, c->in, AGENT_HEADER);
			/*
			 * Not a frame (zeros, with which a new host ends what the one before left half said; or garbage): the next
			 * one is looked for byte by byte.
			 */
			if (h->length > AGENT_PAYLOAD_MAX || h->type == 0 || h->type > AGENT_FS_LSEEK) {
				memmove(c->in, c->in + 1, --c->in_have);
				continue;
			}
			wanted += h->length;
		}
		if (c->in_have >= wanted) {
			c->in_have = 0;
			*payload = c->in + AGENT_HEADER;
			return 1;
		}
		if (fill(c, wanted) <= 0)
			return 0;
	}
}

size_t channel_waiting(const struct channel *c)
{
	return c->out_end - c->out_at;
}

void channel_flush(struct channel *c)
{
	while (c->connected && channel_waiting(c) > 0) {
		size_t n = channel_waiting(c);
		ssize_t k = write(c->fd, c->out + c->out_at, n < 65536 ? n : 65536);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno == EAGAIN)
			return;
		/* A port whose host has gone says EAGAIN; what else it says (no memory, say) passes, and costs no byte. */
		if (k <= 0) {
			if (!c->port)
				lost(c);
			return;
		}
		c->out_at += (size_t)k;
	}
	if (c->out_at == c->out_end) {
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
	memcpy(c->out + c->out_end, &h, AGENT_HEADER);
	if (a_size > 0)
		memcpy(c->out + c->out_end + AGENT_HEADER, a, a_size);
	if (b_size > 0)
		memcpy(c->out + c->out_end + AGENT_HEADER + a_size, b, b_size);
	c->out_end += AGENT_HEADER + a_size + b_size;
}
