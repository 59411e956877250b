#include "fuse/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "banger/cleanup.h"

#define CHUNK ((size_t)64 << 10) /* so much is asked for at a time */

struct mapping {
	int fd;
	char *data;
	size_t size;
	bool there[]; /* of each chunk */
};

int mapping_open(int dir_fd, const char *name, size_t size, size_t head, bool fresh, struct mapping **ret,
	struct err *e)
{
	struct mapping *m = calloc(1, sizeof(*m) + size / CHUNK + 1);
	int r = 0;

	if (!m)
		return err_sys(e, -ENOMEM, "%s", name);
	m->size = size;
	m->fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (fresh ? O_TRUNC : 0), 0600);
	if (m->fd < 0 || ftruncate(m->fd, (off_t)size) < 0)
		r = -errno;
	if (r == 0) {
		void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);

		if (data == MAP_FAILED)
			r = -errno;
		else
			m->data = data;
	}
	if (r == 0)
		r = mapping_reserve(m, 0, head);
	if (r < 0) {
		mapping_close(m);
		return err_sys(e, r, "%s", name);
	}
	*ret = m;
	return 0;
}

struct mapping *mapping_close(struct mapping *m)
{
	if (!m)
		return NULL;
	if (m->data)
		munmap(m->data, m->size);
	close_fd(m->fd);
	free(m);
	return NULL;
}

void *mapping_data(struct mapping *m)
{
	return m->data;
}

int mapping_reserve(struct mapping *m, size_t offset, size_t n)
{
	for (size_t i = offset / CHUNK; n > 0 && i <= (offset + n - 1) / CHUNK; i++) {
		size_t left = m->size - i * CHUNK;

		if (m->there[i])
			continue;
		if (fallocate(m->fd, 0, (off_t)(i * CHUNK), (off_t)(left < CHUNK ? left : CHUNK)) < 0)
			return -errno;
		m->there[i] = true;
	}
	return 0;
}
