#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "child.h"
#include "scope.h"
#include "scope_bus.h"

#define CGROUPS     "/sys/fs/cgroup"
#define BOOTED      "/run/systemd/system" /* sd_booted(3) */
#define ANSWER_MSEC 20000                 /* more than scope_bus.c gives systemd */
#define LEAVE_TRIES 200                   /* of 10 ms each: a reaper writes down how its VMM ended */

struct scopes {
	const struct instance *inst;
	bool by_systemd;
	struct child bus;
	char *name; /* of our cgroup below the root's, where systemd isn't */
	int root;   /* CGROUPS; -1: there are no cgroups either */
};

int scopes_new(const struct instance *inst, struct scopes **ret, struct err *e)
{
	struct scopes *s = calloc(1, sizeof(*s));
	struct statfs fs;
	struct stat st;
	int r = 0;

	if (!s || asprintf(&s->name, "banger%s%s", *inst->name ? "-" : "", inst->name) < 0) {
		free(s);
		return err_sys(e, -ENOMEM, "scopes");
	}
	s->inst = inst;
	s->bus.sock = s->root = -EBADF;
	s->by_systemd = lstat(BOOTED, &st) == 0 && S_ISDIR(st.st_mode);
	if (s->by_systemd)
		r = child_new("banger-scopes", scope_bus_serve, -1, NULL, &s->bus, e);
	else if (statfs(CGROUPS, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC)
		s->root = open(CGROUPS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r < 0) {
		scopes_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

struct scopes *scopes_free(struct scopes *s)
{
	if (s) {
		child_end(&s->bus);
		close_fd(s->root);
		free(s->name);
		free(s);
	}
	return NULL;
}

/* NULL: no memory. */
static char *path_above(const struct scopes *s)
{
	char *path;

	return asprintf(&path, CGROUPS "/%s", s->name) < 0 ? NULL : path;
}

int scopes_make_above(const struct scopes *s)
{
	_cleanup_free_ char *path = s->root < 0 ? NULL : path_above(s);
	mode_t mask;
	int r = 0;

	if (s->root < 0)
		return 0;
	mask = umask(022);
	if (!path)
		r = -ENOMEM;
	else if (mkdir(path, 0755) < 0 && errno != EEXIST)
		r = -errno;
	umask(mask);
	return r;
}

void scopes_remove_above(const struct scopes *s)
{
	_cleanup_free_ char *path = s->root < 0 ? NULL : path_above(s);

	if (path)
		rmdir(path);
}

static int ask_systemd(struct scopes *s, uint32_t vm, const int *pids, size_t n,
	const struct scope_limits *limits, struct err *e)
{
	struct scope_order o = {.memory = limits->memory, .tasks = limits->tasks, .n = (uint32_t)n};
	struct pollfd p = {.fd = s->bus.sock, .events = POLLIN};
	struct scope_answer a;
	size_t nfds = 0;
	int r;

	helper_vm_scope(s->inst->name, vm, o.name);
	snprintf(o.title, sizeof(o.title), "banger: VM %" PRIu32, vm);
	for (size_t i = 0; i < n; i++)
		o.pids[i] = (uint32_t)pids[i];
	r = io_send_fds(s->bus.sock, &o, sizeof(o), NULL, 0);
	if (r < 0)
		return err_sys(e, r, "asking systemd for a scope");
	do
		r = poll(&p, 1, ANSWER_MSEC);
	while (r < 0 && errno == EINTR);
	if (r <= 0 || io_recv_fds(s->bus.sock, &a, sizeof(a), NULL, 0, &nfds, 0) != sizeof(a))
		return err_set(e, -ETIMEDOUT, "systemd doesn't answer about %s", o.name);
	a.text[sizeof(a.text) - 1] = '\0';
	return a.code < 0 ? err_set(e, a.code, "systemd doesn't make %s: %s", o.name, a.text) : 0;
}

/* In one write, as cgroups want it. */
static int put(int dir, const char *file, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int put(int dir, const char *file, const char *fmt, ...)
{
	_cleanup_close_ int fd = openat(dir, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	char text[32];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return fd < 0 || write(fd, text, (size_t)n) != n ? -errno : 0;
}

static int make_cgroup(struct scopes *s, uint32_t vm, const int *pids, size_t n,
	const struct scope_limits *limits, struct err *e)
{
	_cleanup_close_ int above = -EBADF, mine = -EBADF;
	char name[24];

	snprintf(name, sizeof(name), "vm-%" PRIu32, vm);
	above = openat(s->root, s->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (above < 0)
		return err_sys(e, -errno, "cgroup %s", s->name);
	/* Where somebody else has the controllers there is a cgroup without limits. */
	for (int i = 0; i < 2; i++) {
		put(i == 0 ? s->root : above, "cgroup.subtree_control", "+memory");
		put(i == 0 ? s->root : above, "cgroup.subtree_control", "+pids");
	}
	if ((mkdirat(above, name, 0755) < 0 && errno != EEXIST) ||
		(mine = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
		return err_sys(e, -errno, "cgroup %s/%s", s->name, name);
	put(mine, "memory.max", "%" PRIu64, limits->memory);
	put(mine, "pids.max", "%u", limits->tasks);
	for (size_t i = 0; i < n; i++) {
		int r = put(mine, "cgroup.procs", "%d", pids[i]);

		if (r < 0)
			return err_sys(e, r, "cgroup %s/%s", s->name, name);
	}
	return 0;
}

int scope_enter(struct scopes *s, uint32_t vm, const int *pids, size_t n, const struct scope_limits *limits,
	struct err *e)
{
	if (s->by_systemd)
		return ask_systemd(s, vm, pids, n, limits, e);
	return s->root < 0 ? 0 : make_cgroup(s, vm, pids, n, limits, e);
}

int scope_leave(struct scopes *s, uint32_t vm, struct err *e)
{
	_cleanup_close_ int above = -EBADF;
	struct pollfd none = {.fd = -1};
	char name[24];

	if (s->root < 0)
		return 0;
	above = openat(s->root, s->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (above < 0)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "cgroup %s", s->name);
	snprintf(name, sizeof(name), "vm-%" PRIu32, vm);
	for (int i = 0; unlinkat(above, name, AT_REMOVEDIR) < 0 && errno != ENOENT; i++) {
		if (errno != EBUSY || i == LEAVE_TRIES)
			return err_sys(e, -errno, "cgroup %s/%s", s->name, name);
		poll(&none, 1, 10);
	}
	return 0;
}
