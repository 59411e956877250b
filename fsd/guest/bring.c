#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "guest/bring.h"

#define TEXT_MAX  1024
#define HEAR_MAX  4096 /* records that a guest may still have said before the one that tells why it ended */
#define FILE_HEAD 16
#define PIECE     65536

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

int bring_say(struct bring *b, uint32_t type, const void *head, size_t head_n, const void *body,
	size_t body_n, struct err *e)
{
	int r = workspace_write(b->sock, type, head, head_n, body, body_n);

	return r < 0 ? lost(b, r, e) : 0;
}

int bring_hear(struct bring *b, struct workspace_record *ret, struct err *e)
{
	int r = workspace_read(&b->in, ret);

	if (r == 1 && ret->type == WORKSPACE_FAILED) {
		/* It is read once more, by who tells. */
		b->in.at -= 8 + ret->length;
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

static int begin_file(struct bring *b, const char *path, uint32_t mode, struct timespec mtime, struct err *e)
{
	uint8_t head[FILE_HEAD];
	int64_t sec = mtime.tv_sec;
	uint32_t nsec = (uint32_t)mtime.tv_nsec;

	memcpy(head, &mode, 4);
	memcpy(head + 4, &sec, 8);
	memcpy(head + 12, &nsec, 4);
	return bring_say(b, WORKSPACE_FILE, head, sizeof(head), path, strlen(path), e);
}

int bring_bytes(struct bring *b, const char *path, uint32_t mode, const void *data, size_t n, struct err *e)
{
	struct timespec now = {0};
	int r;

	clock_gettime(CLOCK_REALTIME, &now);
	r = begin_file(b, path, mode, now, e);
	for (size_t at = 0; r == 0 && at < n; at += PIECE)
		r = bring_say(b, WORKSPACE_DATA, (const char *)data + at, n - at < PIECE ? n - at : PIECE,
			NULL, 0, e);
	return r < 0 ? r : bring_say(b, WORKSPACE_END_OF_FILE, NULL, 0, NULL, 0, e);
}

int bring_file(struct bring *b, const char *path, uint32_t mode, struct timespec mtime, int fd, uint64_t max,
	uint64_t *ret_n, struct err *e)
{
	_cleanup_free_ char *piece = malloc(PIECE);
	uint64_t all = 0;
	int r = piece ? begin_file(b, path, mode, mtime, e) : err_sys(e, -ENOMEM, "%s", path);

	while (r == 0) {
		ssize_t n = read(fd, piece, PIECE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = err_sys(e, -errno, "%s", path);
		if (n <= 0)
			break;
		all += (uint64_t)n;
		r = all > max ? err_set(e, -EFBIG, "%s: more than %lu bytes", path, (unsigned long)max)
			      : bring_say(b, WORKSPACE_DATA, piece, (size_t)n, NULL, 0, e);
	}
	if (r == 0)
		r = bring_say(b, WORKSPACE_END_OF_FILE, NULL, 0, NULL, 0, e);
	if (r == 0 && ret_n)
		*ret_n = all;
	return r;
}

int bring_compare(struct bring *b, const char *const *paths, const uint8_t (*states)[WORKSPACE_ID], size_t n,
	bool *same, struct err *e)
{
	struct workspace_record rec;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		uint8_t head[4 + WORKSPACE_ID] = {0};

		same[i] = true;
		memcpy(head + 4, states[i], WORKSPACE_ID);
		r = bring_say(b, WORKSPACE_CHECK, head, sizeof(head), paths[i], strlen(paths[i]), e);
	}
	if (r == 0)
		r = bring_say(b, WORKSPACE_ANSWERS, NULL, 0, NULL, 0, e);
	while (r == 0 && (r = bring_hear(b, &rec, e)) == 0 && rec.length > 0) {
		if (rec.type != WORKSPACE_ANSWERS || rec.length % 4 != 0)
			return lost(b, -EPROTO, e);
		for (size_t at = 0; at < rec.length; at += 4) {
			uint32_t number;

			memcpy(&number, rec.payload + at, 4);
			if (number >= n)
				return lost(b, -EPROTO, e);
			same[number] = false;
		}
	}
	return r;
}

int bring_end(struct bring *b, uint8_t (*states)[WORKSPACE_ID], size_t count, struct err *e)
{
	int r = bring_say(b, WORKSPACE_END, NULL, 0, NULL, 0, e);
	struct workspace_record rec;
	size_t have = 0;

	while (r == 0 && (r = bring_hear(b, &rec, e)) == 0 && rec.type == WORKSPACE_STATES) {
		size_t n = rec.length / WORKSPACE_ID;

		if (rec.length % WORKSPACE_ID != 0 || n > count - have)
			return lost(b, -EPROTO, e);
		if (states)
			memcpy(states[have], rec.payload, rec.length);
		have += n;
	}
	if (r == 0 && (rec.type != WORKSPACE_DONE || have != count))
		return lost(b, -EPROTO, e);
	return r;
}
