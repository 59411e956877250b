/* The root's log: what was done, by whom, and how it ended. One file, bounded; and the little helpers of tables. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "tree/state.h"

#define LOG_NAME "log"
#define LOG_MAX  (4u << 20)

struct log {
	int state_fd, fd;
	uint64_t changed, size;
};

/* Keeps the younger half. */
static void cut(struct log *l)
{
	_cleanup_free_ char *text = NULL;
	char *from;
	size_t n;
	int fd;

	if (io_read_file(l->state_fd, LOG_NAME, 2 * LOG_MAX, &text, &n, NULL) < 0)
		n = 0;
	from = n > LOG_MAX / 2 ? memchr(text + n - LOG_MAX / 2, '\n', LOG_MAX / 2) : NULL;
	if (io_replace_file(l->state_fd, LOG_NAME, from ? from + 1 : "",
		    from ? n - (size_t)(from + 1 - text) : 0, 0600, NULL) < 0)
		return;
	fd = openat(l->state_fd, LOG_NAME, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return;
	close_fd(l->fd);
	l->fd = fd;
}

int log_open(int state_fd, struct log **ret, struct err *e)
{
	struct log *l = calloc(1, sizeof(*l));
	struct stat st;
	int r;

	if (!l)
		return err_sys(e, -ENOMEM, "log");
	l->state_fd = state_fd;
	l->fd = openat(state_fd, LOG_NAME, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	r = l->fd < 0 || fstat(l->fd, &st) < 0 ? -errno : 0;
	if (r < 0) {
		log_close(l);
		return err_sys(e, r, "log");
	}
	l->size = (uint64_t)st.st_size;
	l->changed = (uint64_t)st.st_mtim.tv_sec * 1000000 + (uint64_t)st.st_mtim.tv_nsec / 1000;
	*ret = l;
	return 0;
}

struct log *log_close(struct log *l)
{
	if (l) {
		close_fd(l->fd);
		free(l);
	}
	return NULL;
}

void log_line(struct log *l, const char *line)
{
	size_t n = strlen(line);

	if (l->size + n > LOG_MAX) {
		cut(l);
		l->size = LOG_MAX / 2;
	}
	/* A full disk costs the line, not the operation that it tells of. */
	if (io_write_full(l->fd, line, n) == 0)
		l->size += n;
	l->changed = io_wall_usec();
}

int log_fd(const struct log *l)
{
	return l->fd;
}

uint64_t log_changed(const struct log *l)
{
	return l->changed;
}

static void put(struct tree *t, const char *text)
{
	_cleanup_free_ char *line = NULL;
	time_t now = (time_t)(io_wall_usec() / 1000000);
	char stamp[32];
	struct tm tm;
	int n;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);
	n = asprintf(&line, "%s %s\n", stamp, text);
	if (n < 0) {
		line = NULL;
		return;
	}
	for (int i = 0; i < n - 1; i++)
		if ((unsigned char)line[i] < ' ')
			line[i] = '?';
	log_line(t->log, line);
	tree_stale(t, KIND_ROOT, 0, ROOT_LOG_ID);
	stream_put(t, CHANNEL_LOG, 0, line, (size_t)n);
}

void tree_log(struct tree *t, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		text = NULL;
	put(t, text ? text : fmt);
}

void log_deed(struct tree *t, const struct call *call, const char *what, int code, const char *text)
{
	if (code < 0)
		tree_log(
			t, "uid=%u pid=%u %s: %s", call->uid, call->pid, what, text ? text : strerror(-code));
	else
		tree_log(t, "uid=%u pid=%u %s: done", call->uid, call->pid, what);
}

void call_done_err(void *user, int code, const struct err *e)
{
	(void)e;
	call_done(user, code);
}

void call_file(struct call *call, int fd, size_t size, uint64_t offset)
{
	_cleanup_free_ char *buf = NULL;
	ssize_t n;

	if (fd < 0) {
		call_data(call, NULL, 0);
		return;
	}
	if (size > (1u << 20))
		size = 1u << 20;
	buf = malloc(size ? size : 1);
	if (!buf) {
		call_done(call, -ENOMEM);
		return;
	}
	do {
		n = pread(fd, buf, size, (off_t)offset);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		call_done(call, -errno);
	else
		call_data(call, buf, (size_t)n);
}
