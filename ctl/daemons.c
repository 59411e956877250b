#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "banger/place.h"
#include "daemons.h"
#include "tree.h"

#define LOG_MAX    (1 << 20)
#define READY_MSEC 60000 /* sanitizers on a loaded machine */

static char *place(struct ctl *c, enum place which)
{
	_cleanup_err_ struct err e = {0};
	char *path = NULL;

	if (place_path(c->instance, which, &path, &e) < 0)
		ctl_fail("%s", err_text(&e));
	return path;
}

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

pid_t daemons_fsd(struct ctl *c)
{
	_cleanup_free_ char *dir = place(c, PLACE_FSD_DIR), *path = NULL, *text = NULL;
	_cleanup_close_ int fd = -EBADF;
	uint64_t pid;

	if (!dir || asprintf(&path, "%s/pid", dir) < 0)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	/* A lock that can be had is nobody's: the file is of one that has gone. */
	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK)
		return 0;
	if (io_read_file(AT_FDCWD, path, 64, &text, NULL, NULL) < 0)
		return 0;
	text[strcspn(text, "\n")] = '\0';
	return parse_u64(text, 1, INT32_MAX, &pid) == 0 ? (pid_t)pid : 0;
}

bool daemons_helper(struct ctl *c, struct helper_hello *ret)
{
	_cleanup_free_ char *path = place(c, PLACE_HELPER_SOCKET);
	_cleanup_(helper_freep) struct helper *h = NULL;
	struct helper_hello hello;

	if (!path || helper_new(path, &h, NULL) < 0 || helper_hello(h, &hello, NULL) < 0)
		return false;
	if (ret)
		*ret = hello;
	return true;
}

bool daemons_gone(pid_t pid, unsigned msec)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return fd < 0 || poll(&p, 1, (int)msec) > 0;
}

int daemons_lock(struct ctl *c)
{
	_cleanup_free_ char *run = place(c, PLACE_RUN), *path = NULL;
	int fd;

	/* Beside the folder, not in it: it outlives the folder's removal. */
	if (!run || asprintf(&path, "%s.lock", run) < 0)
		return -1;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || flock(fd, LOCK_EX) < 0) {
		ctl_fail("%s: %s", path, strerror(errno));
		return -1;
	}
	return fd;
}

char *daemons_program(const char *name)
{
	_cleanup_free_ char *self = realpath("/proc/self/exe", NULL);
	static const char *const beside[] = {"", "../libexec/banger/"};
	char *slash = self ? strrchr(self, '/') : NULL;

	for (size_t i = 0; slash && i < ELEMENTSOF(beside); i++) {
		char *path = NULL;

		if (asprintf(&path, "%.*s/%s%s", (int)(slash - self), self, beside[i], name) < 0)
			return NULL;
		if (access(path, X_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

/* In the child: a daemon's beginnings. LOG is its standard error. */
static void become_daemon(int log)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	umask(077);
	if (null < 0 || chdir("/") < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(log, 2) < 0)
		_exit(126);
	syscall(SYS_close_range, 3, ~0u, 0);
}

/* Those of NAMES that are set here, into ENV from *N on. */
static int pass_on(char **env, size_t *n, const char *const *names)
{
	for (; *names; names++) {
		const char *value = getenv(*names);

		if (value && asprintf(&env[(*n)++], "%s=%s", *names, value) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* NET: it asks the world, so what libcurl(3) reads is passed on as well. */
static char **environment(const char *home, bool net)
{
	static const char *const passed[] = {"BANGER_RUN_BASE", "BANGER_STATE_BASE", "ASAN_OPTIONS",
		"UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS", NULL};
	static const char *const proxies[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
		"ALL_PROXY", "no_proxy", "NO_PROXY", NULL};
	char **env = calloc(ELEMENTSOF(passed) + ELEMENTSOF(proxies) + 3, sizeof(*env));
	size_t n = 0;

	if (!env || asprintf(&env[n++], "PATH=/usr/sbin:/usr/bin:/sbin:/bin") < 0 ||
		asprintf(&env[n++], "HOME=%s", home) < 0 || pass_on(env, &n, passed) < 0 ||
		(net && pass_on(env, &n, proxies) < 0))
		return NULL;
	return env;
}

static int open_log(const char *path, uid_t owner, gid_t group)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		if (st.st_size > LOG_MAX)
			(void)!ftruncate(fd, 0);
		(void)!fchown(fd, owner, group);
	}
	return fd;
}

/* What a daemon that didn't come up said last. */
static int say_why(const char *what, const char *log)
{
	_cleanup_free_ char *text = NULL;
	char *line;
	size_t n;

	if (io_read_file(AT_FDCWD, log, 16 << 20, &text, &n, NULL) < 0)
		return ctl_fail("%s didn't come up", what);
	while (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	line = strrchr(text, '\n');
	return ctl_fail("%s didn't come up: %s (its log: %s)", what, line ? line + 1 : text, log);
}

int daemons_start_helper(struct ctl *c, uid_t owner)
{
	_cleanup_free_ char *program = daemons_program("banger-helper"), *run = place(c, PLACE_RUN),
			    *log_path = NULL, *uid = NULL;
	_cleanup_close_ int log = -EBADF;
	struct passwd *p = getpwuid(owner);
	uint64_t end = io_now_usec() + READY_MSEC * 1000ull;
	int status;
	pid_t pid;

	if (!program)
		return ctl_fail("banger-helper is not beside this program: make, or install banger");
	if (!run || asprintf(&log_path, "%s/helper.log", run) < 0 || asprintf(&uid, "%u", owner) < 0)
		return EXIT_FAILED;
	if (mkdir(run, 0755) < 0 && errno != EEXIST)
		return ctl_fail("%s: %s", run, strerror(errno));
	(void)!chmod(run, 0755);
	log = open_log(log_path, 0, 0);
	if (log < 0)
		return ctl_fail("%s: %s", log_path, strerror(errno));
	pid = fork();
	if (pid == 0) {
		become_daemon(log);
		if (*c->instance)
			execle(program, "banger-helper", "--owner", uid, "--instance", c->instance, NULL,
				environment(p ? p->pw_dir : "/", false));
		else
			execle(program, "banger-helper", "--owner", uid, NULL,
				environment(p ? p->pw_dir : "/", false));
		_exit(127);
	}
	while (pid > 0 && io_now_usec() < end) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			break;
		if (daemons_helper(c, NULL))
			return EXIT_OK;
		nap();
	}
	return say_why("banger-helper", log_path);
}

int daemons_start_fsd(struct ctl *c, uid_t owner, char *const *options, size_t n)
{
	_cleanup_free_ char *program = daemons_program("banger-fsd"), *state = place(c, PLACE_STATE),
			    *log_path = NULL;
	struct passwd *p = getpwuid(owner);
	_cleanup_close_ int log = -EBADF, dir = -EBADF;
	uint64_t end = io_now_usec() + READY_MSEC * 1000ull;
	char *argv[4 + 2 * 64] = {(char *)"banger-fsd"};
	size_t argc = 1;
	struct stat st;
	int status;
	pid_t pid;

	if (!program)
		return ctl_fail("banger-fsd is not beside this program: make, or install banger");
	if (!p)
		return ctl_fail("user %u has no entry in /etc/passwd", owner);
	if (!state || asprintf(&log_path, "%s/fsd.log", state) < 0)
		return EXIT_FAILED;
	if (mkdir(state, 0700) < 0 && errno != EEXIST)
		return ctl_fail("%s: %s", state, strerror(errno));
	dir = open(state, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0 || fstat(dir, &st) < 0)
		return ctl_fail("%s: %s", state, strerror(errno));
	if (st.st_uid != 0 && st.st_uid != owner)
		return ctl_fail(
			"%s belongs to another user (%u): banger up --owner that one, or move it away", state,
			st.st_uid);
	if (fchown(dir, owner, p->pw_gid) < 0 || fchmod(dir, 0700) < 0)
		return ctl_fail("%s: %s", state, strerror(errno));
	log = open_log(log_path, owner, p->pw_gid);
	if (log < 0)
		return ctl_fail("%s: %s", log_path, strerror(errno));
	if (*c->instance) {
		argv[argc++] = (char *)"--instance";
		argv[argc++] = (char *)c->instance;
	}
	for (size_t i = 0; i < n && i < 60; i++) {
		argv[argc++] = (char *)"--set";
		argv[argc++] = options[i];
	}
	pid = fork();
	if (pid == 0) {
		become_daemon(log);
		if (initgroups(p->pw_name, p->pw_gid) < 0 || setgid(p->pw_gid) < 0 || setuid(owner) < 0)
			_exit(126);
		execve(program, argv, environment(p->pw_dir, true));
		dprintf(2, "banger-fsd: %s: %s: can user %s reach it?\n", program, strerror(errno),
			p->pw_name);
		_exit(127);
	}
	/* It is ready when it answers; its own lock says that it is it, not one before. */
	while (pid > 0 && io_now_usec() < end) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			break;
		if (daemons_fsd(c) == pid && tree_probe(c, "version", 2000) == TREE_ANSWERS)
			return EXIT_OK;
		nap();
	}
	return say_why("banger-fsd", log_path);
}
