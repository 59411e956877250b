#include <errno.h>
#include <fcntl.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "vm/ring.h"

#define HEAD 16 /* FIRST and SIZE */

void ring_init(struct ring *r, int dir_fd, uint32_t number, int stream, uint64_t max)
{
	*r = (struct ring){.dir_fd = dir_fd, .fd = -EBADF, .max = max};
	snprintf(r->name, sizeof(r->name), "%u.%d", number, stream);
}

static int ring_open(struct ring *r)
{
	if (r->fd >= 0)
		return 0;
	r->fd = openat(r->dir_fd, r->name,
		O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | (r->made ? 0 : O_TRUNC), 0600);
	if (r->fd < 0)
		return -errno;
	r->made = true;
	return 0;
}

static int write_head(const struct ring *r)
{
	const uint64_t head[2] = {r->first, r->size};

	return io_pwrite_full(r->fd, head, HEAD, 0);
}

void ring_load(struct ring *r)
{
	_cleanup_close_ int fd = openat(r->dir_fd, r->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	uint64_t head[2];

	if (fd < 0)
		return;
	r->made = true;
	if (pread(fd, head, HEAD, 0) == HEAD && head[0] <= head[1] && head[1] - head[0] <= r->max) {
		r->first = head[0];
		r->size = head[1];
	}
}

void ring_skip(struct ring *r, uint64_t offset)
{
	if (offset <= r->size)
		return;
	r->first = r->size = offset;
	if (ring_open(r) == 0)
		write_head(r);
}

int ring_append(struct ring *r, const void *data, size_t n)
{
	const char *p = data;
	int code = ring_open(r);

	/* Only the end of more than fits would stay. */
	if (n > r->max) {
		r->size += n - r->max;
		p += n - r->max;
		n = r->max;
	}
	while (code == 0 && n > 0) {
		uint64_t at = r->size % r->max;
		size_t k = n < r->max - at ? n : (size_t)(r->max - at);

		code = io_pwrite_full(r->fd, p, k, (off_t)(HEAD + at));
		if (code < 0)
			break;
		p += k;
		n -= k;
		r->size += k;
		if (r->size - r->first > r->max)
			r->first = r->size - r->max;
	}
	if (code < 0)
		r->first = r->size += n;
	else
		code = write_head(r);
	return code;
}

ssize_t ring_read(struct ring *r, uint64_t offset, void *buf, size_t n)
{
	_cleanup_close_ int opened = -EBADF;
	size_t have = 0;
	int fd = r->fd;

	if (n > r->size - offset)
		n = (size_t)(r->size - offset);
	if (n > 0 && fd < 0) {
		fd = opened = openat(r->dir_fd, r->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -errno;
	}
	/* Twice at most: up to the file's end, and from its front. */
	while (have < n) {
		uint64_t at = (offset + have) % r->max;
		size_t piece = n - have < r->max - at ? n - have : (size_t)(r->max - at);
		ssize_t k = pread(fd, (char *)buf + have, piece, (off_t)(HEAD + at));

		if (k < 0 && errno == EINTR)
			continue;
		/* Shorter than what was written: somebody else was at the file. */
		if (k <= 0)
			return have > 0 ? (ssize_t)have : k < 0 ? -errno : -EIO;
		have += (size_t)k;
	}
	return (ssize_t)have;
}

void ring_end(struct ring *r)
{
	r->fd = close_fd(r->fd);
}

void ring_remove(struct ring *r)
{
	ring_end(r);
	if (r->made)
		unlinkat(r->dir_fd, r->name, 0);
	r->made = false;
}
