#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "banger/agent_proto.h"
#include "banger/cleanup.h"
#include "banger/io.h"
#include "guest/hello.h"

#define HELLO_SKIP_MAX (1u << 20)
#define HELLO_CHUNK    16384u
#define HELLO_SIZE     (4 + AGENT_COOKIE)
#define WINDOW         (AGENT_HEADER + HELLO_SIZE)
#define HELLO_REPLY    (HELLO_SIZE + 8 + 36)

#define HELLO_AGAIN 1000000 /* usec */
#define HELLO_ZEROS 5       /* each so many hellos again zeros go before it */

struct hello {
	struct agent_header header;
	uint32_t version;
	uint8_t cookie[AGENT_COOKIE];
	uint8_t token[AGENT_TOKEN];
} __attribute__((packed));

struct deadline {
	uint64_t end;   /* CLOCK_MONOTONIC usec */
	uint64_t again; /* when to say hello once more; 0: not yet begun */
	unsigned said;  /* times so far, but the first */
	const struct hello *hello;
	size_t size; /* of it: some have no token */
	int cancel_fd, pidfd;
};

static int transmit(int fd, const void *buf, size_t n, struct deadline *d, struct err *e);

/* Waits until FD is ready for EVENTS. */
static int wait_for(int fd, short events, struct deadline *d, struct err *e)
{
	for (;;) {
		struct pollfd p[] = {
			{.fd = fd, .events = events},
			{.fd = d->cancel_fd, .events = POLLIN},
			{.fd = d->pidfd, .events = POLLIN},
		};
		uint64_t now = io_now_usec(), until = d->end;
		int r;

		if (now >= d->end)
			return err_set(e, -ETIMEDOUT, "the guest's agent did not answer in time");
		if (d->again && now >= d->again) {
			static const uint8_t zeros[AGENT_HEADER + AGENT_PAYLOAD_MAX];

			d->again = 0;
			/*
			 * An earlier daemon may have died in the middle of a frame, whose rest the guest now takes our hellos
			 * for: zeros are that rest, and no frame (agent_proto.h).
			 */
			r = ++d->said % HELLO_ZEROS == 0 ? transmit(fd, zeros, sizeof(zeros), d, e) : 0;
			if (r == 0)
				r = transmit(fd, d->hello, d->size, d, e);
			if (r < 0)
				return r;
			d->again = now + HELLO_AGAIN;
		}
		if (d->again && d->again < until)
			until = d->again;
		r = poll(p, ELEMENTSOF(p), (int)((until - now) / 1000 + 1));
		if (r < 0 && errno != EINTR)
			return err_sys(e, -errno, "poll");
		if (r <= 0)
			continue;
		if (p[1].revents)
			return err_set(e, -EINTR, "cancelled");
		if (p[0].revents)
			return 0;
		if (p[2].revents)
			return err_set(e, -ESRCH, "the VMM ended before the guest's agent answered");
	}
}

static int receive(int fd, void *buf, size_t n, struct deadline *d, struct err *e)
{
	char *p = buf;

	while (n > 0) {
		int r = wait_for(fd, POLLIN, d, e);
		ssize_t k;

		if (r < 0)
			return r;
		k = recv(fd, p, n, MSG_DONTWAIT);
		if (k < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (k < 0)
			return err_sys(e, -errno, "agent");
		if (k == 0)
			return err_set(e, -EPIPE, "the VMM closed the agent's channel");
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

static int transmit(int fd, const void *buf, size_t n, struct deadline *d, struct err *e)
{
	const char *p = buf;

	while (n > 0) {
		int r = wait_for(fd, POLLOUT, d, e);
		ssize_t k;

		if (r < 0)
			return r;
		k = send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (k < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (k < 0)
			return err_sys(e, -errno, "agent");
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

/*
 * Reads up to and with the header, version and cookie of the agent's answer, and not a byte more: what is there is looked at
 * first. TAIL holds the end of what was thrown away, where the answer may have begun.
 */
static int find_answer(
	int fd, const uint8_t cookie[AGENT_COOKIE], uint32_t *ret_version, struct deadline *d, struct err *e)
{
	const struct agent_header answer = {.length = HELLO_REPLY, .type = AGENT_HELLO};
	uint8_t buf[WINDOW - 1 + HELLO_CHUNK];
	size_t tail = 0, skipped = 0;

	while (skipped <= HELLO_SKIP_MAX) {
		size_t end = 0, have;
		ssize_t n;
		int r = wait_for(fd, POLLIN, d, e);

		if (r < 0)
			return r;
		n = recv(fd, buf + tail, HELLO_CHUNK, MSG_DONTWAIT | MSG_PEEK);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return err_sys(e, -errno, "agent");
		if (n == 0)
			return err_set(e, -EPIPE, "the VMM closed the agent's channel");
		have = tail + (size_t)n;
		for (size_t i = 0; i + WINDOW <= have && end == 0; i++)
			if (memcmp(buf + i, &answer, AGENT_HEADER) == 0 &&
				memcmp(buf + i + AGENT_HEADER + 4, cookie, AGENT_COOKIE) == 0)
				end = i + WINDOW;
		r = receive(fd, buf + tail, end ? end - tail : (size_t)n, d, e);
		if (r < 0)
			return r;
		if (end) {
			memcpy(ret_version, buf + end - AGENT_COOKIE - 4, sizeof(*ret_version));
			return 0;
		}
		skipped += (size_t)n;
		tail = have < WINDOW - 1 ? have : WINDOW - 1;
		memmove(buf, buf + have - tail, tail);
	}
	return err_set(e, -EPROTO, "the guest sends something else than its agent's answer");
}

int agent_hello(int fd, const uint8_t *token, unsigned timeout_msec, int cancel_fd, int pidfd,
	char ret_boot_id[40], struct err *e)
{
	uint32_t length = HELLO_SIZE + (token ? AGENT_TOKEN : 0);
	struct deadline d = {.end = io_now_usec() + (uint64_t)timeout_msec * 1000,
		.size = AGENT_HEADER + length,
		.cancel_fd = cancel_fd,
		.pidfd = pidfd};
	struct hello hello = {.header = {.length = length, .type = AGENT_HELLO}, .version = AGENT_VERSION};
	uint8_t rest[HELLO_REPLY - HELLO_SIZE];
	uint32_t version;
	int r;

	if (getrandom(hello.cookie, sizeof(hello.cookie), 0) != sizeof(hello.cookie))
		return err_sys(e, -errno, "random bytes");
	if (token)
		memcpy(hello.token, token, AGENT_TOKEN);
	r = transmit(fd, &hello, d.size, &d, e);
	if (r < 0)
		return r;
	d.hello = &hello;
	d.again = io_now_usec() + HELLO_AGAIN;
	r = find_answer(fd, hello.cookie, &version, &d, e);
	if (r < 0)
		return r;
	if (version != AGENT_VERSION)
		return err_set(e, -EPROTO,
			"the guest's agent speaks version %u, banger %u: echo restart > ctl", version,
			AGENT_VERSION);
	r = receive(fd, rest, sizeof(rest), &d, e);
	if (r < 0)
		return r;
	for (size_t i = 8; i < sizeof(rest); i++)
		if (!strchr("0123456789abcdef-", rest[i]) || rest[i] == '\0')
			return err_set(e, -EPROTO, "the guest's agent sent no boot id");
	memcpy(ret_boot_id, rest + 8, 36);
	ret_boot_id[36] = '\0';
	return 0;
}
