/* An ext4 that somebody else made, as an image: a copy of it, which nobody changes. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "image/worker.h"
#include "vm/objects_make.h"

#define COPY_STEP (16u << 20) /* how much is copied until the next look at whether it still has to be */

/* N bytes at AT, or fewer; the kernel does it, where it can. */
static ssize_t copy_some(int from, int to, off_t at, size_t n, char **buf)
{
	off_t in = at, out = at;
	ssize_t k = copy_file_range(from, &in, to, &out, n, 0);
	int r;

	if (k >= 0 || (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP))
		return k < 0 ? -errno : k;
	if (!*buf && !(*buf = malloc(COPY_STEP)))
		return -ENOMEM;
	k = pread(from, *buf, n < COPY_STEP ? n : COPY_STEP, at);
	if (k <= 0)
		return k < 0 ? -errno : 0;
	r = io_pwrite_full(to, *buf, (size_t)k, at);
	return r < 0 ? r : k;
}

/* Shared blocks where the file system can; else what is data in it: holes stay holes. */
static int copy(int from, int to, uint64_t size, struct op *op, struct err *e)
{
	_cleanup_free_ char *buf = NULL;
	off_t at = 0, end;

	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	if (ftruncate(to, (off_t)size) < 0)
		return err_sys(e, -errno, "copying");
	while ((uint64_t)at < size) {
		at = lseek(from, at, SEEK_DATA);
		if (at < 0 && errno == ENXIO)
			break;
		if (at < 0 || (end = lseek(from, at, SEEK_HOLE)) < 0)
			return err_sys(e, -errno, "copying");
		end = (uint64_t)end < size ? end : (off_t)size;
		while (at < end) {
			size_t want = end - at < (off_t)COPY_STEP ? (size_t)(end - at) : COPY_STEP;
			ssize_t n = copy_some(from, to, at, want, &buf);
			int r = op_check(op, e);

			if (r < 0)
				return r;
			if (n == -EINTR)
				continue;
			if (n <= 0)
				return n < 0 ? err_sys(e, (int)n, "copying")
					     : err_set(e, -EBUSY, "it became shorter while it was copied");
			at += n;
			op_progress(op, (uint64_t)at, size);
		}
	}
	return 0;
}

int make_registered(const struct make *m, int out, struct op *op, struct store_object *row, struct err *e)
{
	struct worker_request request = {.task = WORKER_EXT4, .input = -1, .output = out};
	struct image_result result = {0};
	_cleanup_close_ int fd = -EBADF;
	struct stat st;
	bool is_dir = false;
	int r = make_open_source(m->source, &is_dir, &fd, e);

	if (r < 0)
		return r;
	if (is_dir)
		return err_set(e, -EISDIR, "%s: a folder: `import` it", m->source);
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", m->source);
	op_stage(op, "copy");
	r = copy(fd, out, (uint64_t)st.st_size, op, e);
	if (r == 0)
		r = worker_run(&request, op, &result, e);
	if (r < 0 && r != -EINTR)
		err_wrap(e, "%s", m->source);
	return r == 0 ? make_describe(&result, row, e) : r;
}
