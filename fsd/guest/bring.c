#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "guest/bring.h"

#define TEXT_MAX  1024
#define HEAR_MAX  4096 /* records that a guest may still have said before the one that tells why it ended */
#define FILE_HEAD 16

/* The other side has gone, or has said why. */
static int lost(struct bring *b, int code, struct err *e)
{
	struct workspace_record rec;

	for (unsigned i = 0; i < HEAR_MAX && workspace_read(&b->in, &rec) > 0; i++) {
		_cleanup_free_ char *text = NULL;
		uint32_t number;

		if (rec.type != WORKSPACE_FAILED || rec.length < sizeof(number) || rec.length > TEXT_MAX)
			continue;
		memcpy(&number, rec.payload, sizeof(number));
		text = strndup((const char *)rec.payload + sizeof(number), rec.length - sizeof(number));
		for (char *p = text; p && *p; p++)
			if ((unsigned char)*p < ' ' || *p == 127)
				*p = '?';
		return err_set(e, number > 0 && number < TEXT_MAX ? -(int)number : -EIO, "in the guest: %s",
			text ? text : "?");
	}
	return code == -EPROTO ? err_set(e, code, "the guest broke the protocol")
			       : err_set(e, -EPIPE, "the guest's side has ended");
}

int bring_broken(struct bring *b, struct err *e)
{
	return lost(b, -EPROTO, e);
}

static int send_out(struct bring *b, struct err *e)
{
	int r = io_write_full(b->sock, b->out, b->out_n);

	b->out_n = 0;
	return r < 0 ? lost(b, r, e) : 0;
}

/* There is room for N bytes of payload more. */
static int make_room(struct bring *b, size_t n, struct err *e)
{
	return sizeof(b->out) - b->out_n < WORKSPACE_HEAD_SIZE + n ? send_out(b, e) : 0;
}

/* A record of N bytes, that lie behind the place of its head. */
static void put_record(struct bring *b, uint32_t type, size_t n)
{
	const uint32_t front[2] = {(uint32_t)n, type};

	_Static_assert(sizeof(front) == WORKSPACE_HEAD_SIZE, "as it is on the wire");
	memcpy(b->out + b->out_n, front, sizeof(front));
	b->out_n += sizeof(front) + n;
}

int bring_say(struct bring *b, uint32_t type, const void *head, size_t head_n, const void *body,
	size_t body_n, struct err *e)
{
	uint8_t *to;
	int r = head_n + body_n > WORKSPACE_PAYLOAD_MAX ? err_sys(e, -EMSGSIZE, "record")
							: make_room(b, head_n + body_n, e);

	if (r < 0)
		return r;
	to = b->out + b->out_n + WORKSPACE_HEAD_SIZE;
	if (head_n > 0)
		memcpy(to, head, head_n);
	if (body_n > 0)
		memcpy(to + head_n, body, body_n);
	put_record(b, type, head_n + body_n);
	return 0;
}

int bring_hear(struct bring *b, struct workspace_record *ret, struct err *e)
{
	int r = send_out(b, e);

	if (r < 0)
		return r;
	r = workspace_read(&b->in, ret);
	if (r == 1 && ret->type == WORKSPACE_FAILED) {
		/* It is read once more, by who tells. */
		b->in.at -= WORKSPACE_HEAD_SIZE + ret->length;
		return lost(b, -EIO, e);
	}
	return r == 1 ? 0 : lost(b, r, e);
}

int bring_begin(struct bring *b, int sock, uint32_t flags, struct err *e)
{
	uint32_t v[2] = {WORKSPACE_VERSION, flags};

	b->sock = b->in.fd = sock;
	return bring_say(b, WORKSPACE_BEGIN, v, sizeof(v), NULL, 0, e);
}

int bring_open(struct bring *b, const char *path, uint32_t mode, struct timespec mtime, struct err *e)
{
	uint8_t head[FILE_HEAD];
	int64_t sec = mtime.tv_sec;
	uint32_t nsec = (uint32_t)mtime.tv_nsec;

	memcpy(head, &mode, 4);
	memcpy(head + 4, &sec, 8);
	memcpy(head + 12, &nsec, 4);
	return bring_say(b, WORKSPACE_FILE, head, sizeof(head), path, strlen(path), e);
}

int bring_data(struct bring *b, const char *path, int fd, int (*step)(void *user, size_t n, struct err *e),
	void *user, struct err *e)
{
	for (;;) {
		/* What is read lies where it is sent from. */
		int r = make_room(b, WORKSPACE_PAYLOAD_MAX, e);
		ssize_t n =
			r < 0 ? 0 : read(fd, b->out + b->out_n + WORKSPACE_HEAD_SIZE, WORKSPACE_PAYLOAD_MAX);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, -errno, "%s", path);
		if (n == 0)
			return r;
		r = step(user, (size_t)n, e);
		if (r < 0)
			return r;
		put_record(b, WORKSPACE_DATA, (size_t)n);
	}
}

int bring_close(struct bring *b, struct err *e)
{
	return bring_say(b, WORKSPACE_END_OF_FILE, NULL, 0, NULL, 0, e);
}

int bring_bytes(struct bring *b, const char *path, uint32_t mode, const void *data, size_t n, struct err *e)
{
	struct timespec now = {0};
	int r;

	clock_gettime(CLOCK_REALTIME, &now);
	r = bring_open(b, path, mode, now, e);
	for (size_t at = 0; r == 0 && at < n; at += WORKSPACE_PAYLOAD_MAX)
		r = bring_say(b, WORKSPACE_DATA, (const char *)data + at,
			n - at < WORKSPACE_PAYLOAD_MAX ? n - at : WORKSPACE_PAYLOAD_MAX, NULL, 0, e);
	return r < 0 ? r : bring_close(b, e);
}

struct bounded {
	const char *path;
	uint64_t n, max;
};

static int count_bounded(void *user, size_t n, struct err *e)
{
	struct bounded *b = user;

	b->n += n;
	return b->n <= b->max ? 0
			      : err_set(e, -EFBIG, "%s: more than %lu bytes", b->path, (unsigned long)b->max);
}

int bring_file(struct bring *b, const char *path, uint32_t mode, struct timespec mtime, int fd, uint64_t max,
	uint64_t *ret_n, struct err *e)
{
	struct bounded bounded = {path, 0, max};
	int r = bring_open(b, path, mode, mtime, e);

	if (r == 0)
		r = bring_data(b, path, fd, count_bounded, &bounded, e);
	if (r == 0)
		r = bring_close(b, e);
	if (r == 0 && ret_n)
		*ret_n = bounded.n;
	return r;
}

/* u32 number of the question, content of HEAD, NUL, the commit that is. */
static int on_head(struct bring *b, const struct workspace_record *rec, const struct bring_answers *answers,
	void *user, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	uint32_t number;
	size_t n;
	int r;

	if (!answers->head || rec->length <= sizeof(number))
		return bring_broken(b, e);
	memcpy(&number, rec->payload, sizeof(number));
	n = rec->length - sizeof(number);
	text = malloc(n + 1);
	if (!text)
		return err_sys(e, -ENOMEM, "HEAD");
	memcpy(text, rec->payload + sizeof(number), n);
	text[n] = '\0';
	if (strlen(text) == n)
		return bring_broken(b, e);
	r = answers->head(user, number, text, text + strlen(text) + 1);
	return r == -EPROTO ? bring_broken(b, e) : r < 0 ? err_sys(e, r, "HEAD") : 0;
}

int bring_answers(
	struct bring *b, size_t asked, const struct bring_answers *answers, void *user, struct err *e)
{
	struct workspace_record rec;
	size_t heard = 0;
	int r = bring_say(b, WORKSPACE_ANSWERS, NULL, 0, NULL, 0, e);

	while (r == 0 && (r = bring_hear(b, &rec, e)) == 0) {
		if (rec.type == WORKSPACE_HEAD && ++heard <= asked) {
			r = on_head(b, &rec, answers, user, e);
			continue;
		}
		if (rec.type != WORKSPACE_ANSWERS || rec.length % 4 != 0)
			return bring_broken(b, e);
		if (rec.length == 0)
			break;
		for (size_t at = 0; at < rec.length; at += 4) {
			uint32_t number;

			memcpy(&number, rec.payload + at, 4);
			if (number >= asked || ++heard > asked)
				return bring_broken(b, e);
			answers->no(user, number);
		}
	}
	return r;
}

static void differs(void *user, uint32_t number)
{
	bool *same = user;

	same[number] = false;
}

int bring_compare(struct bring *b, const char *const *paths, const uint8_t (*states)[WORKSPACE_ID], size_t n,
	bool *same, struct err *e)
{
	static const struct bring_answers answers = {.no = differs};
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		uint8_t head[4 + WORKSPACE_ID] = {0};

		same[i] = true;
		memcpy(head + 4, states[i], WORKSPACE_ID);
		r = bring_say(b, WORKSPACE_CHECK, head, sizeof(head), paths[i], strlen(paths[i]), e);
	}
	return r < 0 ? r : bring_answers(b, n, &answers, same, e);
}

int bring_end(struct bring *b, uint8_t (*states)[WORKSPACE_ID], size_t count, struct err *e)
{
	int r = bring_say(b, WORKSPACE_END, NULL, 0, NULL, 0, e);
	struct workspace_record rec;
	size_t have = 0;

	while (r == 0 && (r = bring_hear(b, &rec, e)) == 0 && rec.type == WORKSPACE_STATES) {
		size_t n = rec.length / WORKSPACE_ID;

		if (n == 0 || rec.length % WORKSPACE_ID != 0 || n > count - have)
			return bring_broken(b, e);
		if (states)
			memcpy(states[have], rec.payload, rec.length);
		have += n;
	}
	if (r == 0 && (rec.type != WORKSPACE_DONE || have != count))
		return bring_broken(b, e);
	return r;
}
