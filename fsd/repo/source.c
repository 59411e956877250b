#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "repo/source.h"

int source_open(int dir, const char *path, struct stat *ret_stat)
{
	int fd = io_open_beneath(dir, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);

	if (fd >= 0 && (fstat(fd, ret_stat) < 0 || !S_ISREG(ret_stat->st_mode)))
		fd = close_fd(fd);
	return fd < 0 ? -ENOENT : fd;
}

int source_link(int dir, const char *path, char ret[WORKSPACE_PATH_MAX + 1], struct stat *ret_stat)
{
	_cleanup_close_ int fd = io_open_beneath(dir, path, O_PATH | O_NOFOLLOW);
	ssize_t n = fd < 0 || fstat(fd, ret_stat) < 0 ? -1 : readlinkat(fd, "", ret, WORKSPACE_PATH_MAX);

	if (n <= 0)
		return -ENOENT;
	ret[n] = '\0';
	return (int)n;
}

static int go_on(void *user, size_t n, struct err *e)
{
	struct source_progress *p = user;

	p->done += n;
	op_progress(p->op, p->done, p->total);
	return op_check(p->op, e);
}

int source_data(struct bring *b, const char *path, int fd, const struct stat *st,
	struct source_progress *progress, bool *ret_changed, struct err *e)
{
	uint8_t before[WORKSPACE_ID], after[WORKSPACE_ID];
	struct stat now;
	int r = bring_data(b, path, fd, go_on, progress, e);

	if (r < 0)
		return r;
	workspace_id(st, before);
	if (fstat(fd, &now) < 0)
		return err_sys(e, -errno, "%s", path);
	workspace_id(&now, after);
	*ret_changed = memcmp(before, after, WORKSPACE_ID) != 0;
	return 0;
}
