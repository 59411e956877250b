#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "banger/io.h"
#include "banger/workspace_proto.h"

bool workspace_path_valid(const char *path, size_t n)
{
	if (n == 0 || n > WORKSPACE_PATH_MAX || memchr(path, '\0', n))
		return false;
	for (size_t at = 0; at <= n;) {
		const char *end = memchr(path + at, '/', n - at);
		size_t size = end ? (size_t)(end - path) - at : n - at;

		if (size == 0 || size > 255 ||
			(path[at] == '.' && (size == 1 || (size == 2 && path[at + 1] == '.'))))
			return false;
		at += size + 1;
	}
	return true;
}

void workspace_id(const struct stat *st, uint8_t ret[WORKSPACE_ID])
{
	const uint64_t v[] = {
		st->st_ino,
		(uint64_t)st->st_size ^ (uint64_t)st->st_mode << 48,
		(uint64_t)st->st_mtim.tv_sec * 1000000000 + (uint64_t)st->st_mtim.tv_nsec,
		(uint64_t)st->st_ctim.tv_sec * 1000000000 + (uint64_t)st->st_ctim.tv_nsec,
	};

	_Static_assert(sizeof(v) == WORKSPACE_ID, "as it is on the wire");
	memcpy(ret, v, sizeof(v));
}

int workspace_path(const uint8_t *payload, size_t n, size_t skip, char path[WORKSPACE_PATH_MAX + 1])
{
	if (n < skip || !workspace_path_valid((const char *)payload + skip, n - skip))
		return -EPROTO;
	memcpy(path, payload + skip, n - skip);
	path[n - skip] = '\0';
	return 0;
}

/* At least WANT bytes in the buffer; 0: the end came first. */
static int fill(struct workspace_reader *r, size_t want)
{
	if (r->at > 0 && r->at + want > sizeof(r->buffer)) {
		memmove(r->buffer, r->buffer + r->at, r->end - r->at);
		r->end -= r->at;
		r->at = 0;
	}
	while (r->end - r->at < want) {
		ssize_t n = r->fd < 0 ? 0 : read(r->fd, r->buffer + r->end, sizeof(r->buffer) - r->end);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		r->end += (size_t)n;
	}
	return 1;
}

int workspace_read(struct workspace_reader *r, struct workspace_record *ret)
{
	uint32_t head[2];
	int k;

	if (r->at == r->end)
		r->at = r->end = 0;
	k = fill(r, WORKSPACE_HEAD_SIZE);
	if (k <= 0)
		return k < 0 ? k : r->at == r->end ? 0 : -ENODATA;
	memcpy(head, r->buffer + r->at, WORKSPACE_HEAD_SIZE);
	if (head[0] > WORKSPACE_PAYLOAD_MAX)
		return -EPROTO;
	k = fill(r, WORKSPACE_HEAD_SIZE + head[0]);
	if (k <= 0)
		return k < 0 ? k : -ENODATA;
	*ret = (struct workspace_record){
		.type = head[1], .length = head[0], .payload = r->buffer + r->at + WORKSPACE_HEAD_SIZE};
	r->at += WORKSPACE_HEAD_SIZE + head[0];
	return 1;
}

int workspace_write(int fd, uint32_t type, const void *head, size_t head_n, const void *body, size_t body_n)
{
	uint32_t front[2] = {(uint32_t)(head_n + body_n), type};
	struct iovec iov[] = {{front, WORKSPACE_HEAD_SIZE}, {(void *)head, head_n}, {(void *)body, body_n}},
		     *v = iov;
	int left = 3;

	while (left > 0) {
		ssize_t n = writev(fd, v, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		while (left > 0 && (size_t)n >= v->iov_len) {
			n -= (ssize_t)v->iov_len;
			v++;
			left--;
		}
		if (left > 0) {
			v->iov_base = (char *)v->iov_base + n;
			v->iov_len -= (size_t)n;
		}
	}
	return 0;
}
