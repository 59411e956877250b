#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/place.h"
#include "tree.h"

#define VALUE_MAX   (16u << 20)
#define KILLED_MSEC 1000

/* The child's look: what it found is its exit code. */
static int look(const struct ctl *c, const char *path)
{
	_cleanup_free_ char *text = NULL, *whole = NULL;
	int r;

	if (asprintf(&whole, "%s/%s", c->mount, path) < 0)
		return TREE_SILENT;
	r = io_read_file(AT_FDCWD, whole, VALUE_MAX, &text, NULL, NULL);
	/* The bare folder of the mount is there while nothing is mounted. */
	return r == 0 ? TREE_ANSWERS : r == -ENOENT ? TREE_ABSENT : TREE_SILENT;
}

enum tree_state tree_probe(const struct ctl *c, const char *path, unsigned msec)
{
	struct pollfd p = {.events = POLLIN};
	pid_t pid = fork();
	int status = 0;
	bool ended;

	if (pid == 0) {
		/* One that stays behind must hold nobody's lock or pipe. */
		syscall(SYS_close_range, 0, ~0u, 0);
		_exit(look(c, path));
	}
	if (pid < 0)
		return TREE_SILENT;
	p.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (poll(&p, 1, (int)msec) <= 0)
		kill(pid, SIGKILL);
	/*
	 * A wait for a request that a daemon has read can't be killed (fs/fuse/dev.c, request_wait_answer: "wait it out"); whoever hangs
	 * in one is left behind, until the next daemon answers.
	 */
	ended = poll(&p, 1, KILLED_MSEC) > 0 && waitpid(pid, &status, 0) == pid;
	close_fd(p.fd);
	return ended && WIFEXITED(status) ? (enum tree_state)WEXITSTATUS(status) : TREE_SILENT;
}

bool tree_open_root(struct ctl *c)
{
	c->fs = open(c->mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return c->fs >= 0;
}

bool ctl_need_tree(struct ctl *c)
{
	const char *instance = *c->instance ? " --instance " : "";
	enum tree_state state;

	if (c->fs >= 0)
		return true;
	state = tree_probe(c, "version", TREE_PATIENCE_MSEC);
	if (state == TREE_ANSWERS && tree_open_root(c))
		return true;
	if (state == TREE_SILENT)
		ctl_fail("the tree at %s doesn't answer: start its daemon again with: sudo banger%s%s up",
			c->mount, instance, c->instance);
	else
		ctl_fail("there is no tree at %s: start banger with: sudo banger%s%s up", c->mount, instance,
			c->instance);
	return false;
}

static char *path_of(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));
static char *path_of(const char *fmt, va_list ap)
{
	char *path = NULL;

	return vasprintf(&path, fmt, ap) < 0 ? NULL : path;
}

char *tree_read(struct ctl *c, const char *fmt, ...)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_err_ struct err e = {0};
	char *text = NULL;
	va_list ap;
	size_t n;

	va_start(ap, fmt);
	path = path_of(fmt, ap);
	va_end(ap);
	if (!path || io_read_file(c->fs, path, VALUE_MAX, &text, &n, &e) < 0) {
		errno = e.code ? -e.code : ENOMEM;
		return NULL;
	}
	if (n > 0 && text[n - 1] == '\n')
		text[n - 1] = '\0';
	return text;
}

int tree_write_bytes(struct ctl *c, const char *path, const void *data, size_t n)
{
	_cleanup_close_ int fd = openat(c->fs, path, O_WRONLY | O_CLOEXEC);
	ssize_t k;

	if (fd < 0)
		return -errno;
	k = write(fd, data, n);
	return k < 0 ? -errno : (size_t)k == n ? 0 : -EIO;
}

int tree_write(struct ctl *c, const char *text, const char *fmt, ...)
{
	_cleanup_free_ char *path = NULL, *line = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	path = path_of(fmt, ap);
	va_end(ap);
	n = asprintf(&line, "%s\n", text);
	if (!path || n < 0) {
		line = n < 0 ? NULL : line;
		return -ENOMEM;
	}
	return tree_write_bytes(c, path, line, (size_t)n);
}

int tree_open(struct ctl *c, int flags, const char *fmt, ...)
{
	_cleanup_free_ char *path = NULL;
	va_list ap;
	int fd;

	va_start(ap, fmt);
	path = path_of(fmt, ap);
	va_end(ap);
	if (!path)
		return -ENOMEM;
	fd = openat(c->fs, path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

bool tree_exists(struct ctl *c, const char *fmt, ...)
{
	_cleanup_free_ char *path = NULL;
	va_list ap;

	va_start(ap, fmt);
	path = path_of(fmt, ap);
	va_end(ap);
	return path && faccessat(c->fs, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char **tree_names(struct ctl *c, const char *path)
{
	int fd = openat(c->fs, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	char **names = calloc(1, sizeof(*names));
	struct dirent *entry;
	size_t n = 0;

	if (!dir || !names) {
		free(names);
		return NULL;
	}
	while ((entry = readdir(dir))) {
		char **bigger;

		if (entry->d_name[0] == '.' || (entry->d_type != DT_DIR && entry->d_type != DT_LNK))
			continue;
		bigger = realloc(names, (n + 2) * sizeof(*names));
		if (!bigger || !(bigger[n] = strdup(entry->d_name))) {
			tree_free_names(bigger ? bigger : names);
			return NULL;
		}
		names = bigger;
		names[++n] = NULL;
	}
	qsort(names, n, sizeof(*names), by_name);
	return names;
}

void tree_free_names(char **names)
{
	for (size_t i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
}

char *tree_printable(const char *s)
{
	char *copy = strdup(s);

	for (char *p = copy; p && *p; p++)
		if (((unsigned char)*p < ' ' && *p != '\t') || *p == 127)
			*p = '?';
	return copy;
}

/* What the root's log says last of this process, "VERB ...: why"; the caller's. NULL: nothing. */
static char *last_words(struct ctl *c)
{
	_cleanup_free_ char *log = tree_read(c, "log"), *who = NULL;
	char *at, *found = NULL, *end;

	if (!log || asprintf(&who, " pid=%d ", getpid()) < 0) {
		who = NULL;
		return NULL;
	}
	for (at = log; (at = strstr(at, who)); at = found)
		found = at + strlen(who);
	if (!found)
		return NULL;
	end = strchrnul(found, '\n');
	*end = '\0';
	return strstr(found, ": ") ? strdup(found) : NULL;
}

int tree_failure(struct ctl *c, const char *what, const char *object, int code)
{
	_cleanup_free_ char *text = NULL, *shown = NULL;

	if (code == -EINTR) {
		ctl_fail("%s: cancelled", what);
		return EXIT_CANCELLED;
	}
	/* Images and kernels have no `error`. */
	text = object ? tree_read(c, "%s/error", object) : last_words(c);
	shown = text && *text ? tree_printable(text) : NULL;
	if (shown && !object)
		return ctl_fail("%s", shown);
	if (code == -EACCES)
		return ctl_fail("%s: permission denied: the tree belongs to another user", what);
	if (code == -ENOENT && object && !tree_exists(c, "%s", object))
		return ctl_fail("%s: there is no %s", what, object);
	return ctl_fail("%s: %s", what, shown ? shown : strerror(-code));
}
