#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/proc.h"

#define PATHS        "/usr/sbin", "/usr/bin", "/sbin", "/bin"
#define GRACE_MSEC   2000
#define STDERR_KEEP  4096
#define OUTPUT_SMALL (1u << 20)

struct run {
	pid_t pid;
	int pidfd, out, err;
	char *output;
	size_t have, room, max;
	char tail[STDERR_KEEP]; /* of stderr */
	size_t tail_size;
	bool too_much;
};

/* After fork in a program with threads: system calls only. */
static void child(const struct proc_spec *spec, const char *path, const int fds[3], int report)
{
	static const char *const nothing[] = {NULL};
	sigset_t none;
	int r, high[3];

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (spec->dir_fd >= 0 ? fchdir(spec->dir_fd) < 0 : chdir("/") < 0)
		goto failed;
	for (int i = 0; i < 3; i++) {
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 16);
		if (high[i] < 0)
			goto failed;
	}
	for (int i = 0; i < 3; i++)
		if (dup2(high[i], i) < 0)
			goto failed;
	report = dup2(report, 3);
	fcntl(report, F_SETFD, FD_CLOEXEC);
	syscall(SYS_close_range, 4, ~0u, 0);
	execve(path, (char *const *)spec->argv, (char *const *)(spec->env ? spec->env : nothing));
failed:
	r = errno;
	(void)!write(report, &r, sizeof(r));
	_exit(127);
}

static int find_program(const char *name, char **ret, struct err *e)
{
	static const char *const dirs[] = {PATHS};

	if (strchr(name, '/')) {
		*ret = strdup(name);
		return *ret ? 0 : err_sys(e, -ENOMEM, "%s", name);
	}
	for (size_t i = 0; i < ELEMENTSOF(dirs); i++) {
		_cleanup_free_ char *path = NULL;

		if (asprintf(&path, "%s/%s", dirs[i], name) < 0) {
			path = NULL;
			return err_sys(e, -ENOMEM, "%s", name);
		}
		if (access(path, X_OK) == 0) {
			*ret = TAKE_PTR(path);
			return 0;
		}
	}
	return err_set(e, -ENOENT, "%s is not installed", name);
}

static void keep_tail(struct run *r, const char *buf, size_t n)
{
	size_t over = r->tail_size + n > STDERR_KEEP ? r->tail_size + n - STDERR_KEEP : 0;

	memmove(r->tail, r->tail + over, r->tail_size - over);
	r->tail_size -= over;
	memcpy(r->tail + r->tail_size, buf, n);
	r->tail_size += n;
}

static int keep_output(struct run *r, const char *buf, size_t n)
{
	if (r->have + n > r->max) {
		r->too_much = true;
		return -EFBIG;
	}
	if (r->have + n + 1 > r->room) {
		size_t room = (r->have + n + 1) * 2;
		char *bigger = realloc(r->output, room);

		if (!bigger)
			return -ENOMEM;
		r->output = bigger;
		r->room = room;
	}
	memcpy(r->output + r->have, buf, n);
	r->have += n;
	return 0;
}

/* One read of FD; closes it at its end. */
static int drain(struct run *r, int *fd, bool is_output)
{
	char buf[4096];
	ssize_t n = read(*fd, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0) {
		*fd = close_fd(*fd);
		return 0;
	}
	if (is_output)
		return keep_output(r, buf, (size_t)n);
	keep_tail(r, buf, (size_t)n);
	return 0;
}

static void end_child(struct run *r)
{
	struct pollfd p = {.fd = r->pidfd, .events = POLLIN};

	kill(-r->pid, SIGTERM);
	if (poll(&p, 1, GRACE_MSEC) <= 0)
		kill(-r->pid, SIGKILL);
}

/* Until the child has ended and its streams too (a grandchild that holds them gets no longer than the grace). */
static int follow(struct run *r, const struct proc_spec *spec)
{
	uint64_t end = spec->timeout_msec ? io_now_usec() + spec->timeout_msec * 1000ull : 0, linger = 0;

	for (;;) {
		struct pollfd p[] = {{.fd = linger ? -1 : r->pidfd, .events = POLLIN},
			{.fd = r->out, .events = POLLIN}, {.fd = r->err, .events = POLLIN},
			{.fd = spec->cancel_fd, .events = POLLIN}};
		uint64_t now = io_now_usec(), until = linger ? linger : end;
		int code = 0;

		if (linger && (now >= linger || (r->out < 0 && r->err < 0)))
			return 0;
		if (!linger && end && now >= end)
			return -ETIMEDOUT;
		if (poll(p, ELEMENTSOF(p), until ? (int)((until - now) / 1000 + 1) : -1) < 0 &&
			errno != EINTR)
			return -errno;
		if (p[3].revents)
			return -EINTR;
		if (p[1].revents)
			code = drain(r, &r->out, true);
		if (code == 0 && p[2].revents)
			code = drain(r, &r->err, false);
		if (code < 0)
			return code;
		if (p[0].revents)
			linger = now + GRACE_MSEC * 1000ull;
	}
}

static const char *last_line(struct run *r)
{
	char *line;

	if (r->tail_size == STDERR_KEEP)
		r->tail_size--;
	while (r->tail_size > 0 && strchr("\n\r ", r->tail[r->tail_size - 1]))
		r->tail_size--;
	r->tail[r->tail_size] = '\0';
	line = strrchr(r->tail, '\n');
	return line ? line + 1 : r->tail;
}

static int judge(struct run *r, const struct proc_spec *spec, int status, int *ret_exit, struct err *e)
{
	const char *line = last_line(r);
	int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);

	if (ret_exit)
		*ret_exit = code;
	if (code == 0)
		return 0;
	if (WIFSIGNALED(status))
		return err_set(e, -EIO, "%s: ended by signal %d%s%s", spec->argv[0], WTERMSIG(status),
			*line ? ": " : "", line);
	return err_set(e, -EIO, "%s: exit code %d%s%s", spec->argv[0], code, *line ? ": " : "", line);
}

static int start(struct run *r, const struct proc_spec *spec, bool capture, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int out[2] = {-EBADF, -EBADF}, err[2] = {-EBADF, -EBADF}, report[2] = {-EBADF, -EBADF}, failed = 0,
	    code;
	sigset_t all, before;

	code = find_program(spec->program ? spec->program : spec->argv[0], &path, e);
	if (code < 0)
		return code;
	if (null < 0 || pipe2(report, O_CLOEXEC) < 0 || (capture && pipe2(out, O_CLOEXEC) < 0) ||
		(spec->stderr_fd < 0 && pipe2(err, O_CLOEXEC) < 0)) {
		code = err_sys(e, -errno, "%s", spec->argv[0]);
		goto out;
	}
	/* A handler of ours must not run in the child. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r->pid = fork();
	if (r->pid == 0)
		child(spec, path,
			(int[]){spec->stdin_fd < 0 ? null : spec->stdin_fd,
				capture               ? out[1]
				: spec->stdout_fd < 0 ? null
						      : spec->stdout_fd,
				spec->stderr_fd < 0 ? err[1] : spec->stderr_fd},
			report[1]);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r->pid < 0) {
		code = err_sys(e, -errno, "%s", spec->argv[0]);
		goto out;
	}
	setpgid(r->pid, r->pid);
	report[1] = close_fd(report[1]);
	if (io_read_full(report[0], &failed, sizeof(failed)) == 0) {
		waitpid(r->pid, NULL, 0);
		code = err_sys(e, -failed, "%s", path);
		goto out;
	}
	r->pidfd = (int)syscall(SYS_pidfd_open, r->pid, 0);
	r->out = TAKE_FD(out[0]);
	r->err = TAKE_FD(err[0]);
out:
	for (int i = 0; i < 2; i++) {
		close_fd(out[i]);
		close_fd(err[i]);
		close_fd(report[i]);
	}
	return code;
}

int proc_run(const struct proc_spec *spec, char **ret_output, size_t *ret_len, int *ret_exit, struct err *e)
{
	struct run r = {.pidfd = -EBADF, .out = -EBADF, .err = -EBADF};
	bool capture = ret_output && spec->stdout_fd < 0;
	int status = 0, code;

	r.max = spec->max_output ? spec->max_output : OUTPUT_SMALL;
	code = start(&r, spec, capture, e);
	if (code < 0)
		return code;
	code = follow(&r, spec);
	if (code < 0)
		end_child(&r);
	while (waitpid(r.pid, &status, 0) < 0 && errno == EINTR)
		continue;
	close_fd(r.pidfd);
	close_fd(r.out);
	close_fd(r.err);
	if (code == -EINTR)
		err_set(e, code, "%s: cancelled", spec->argv[0]);
	else if (code == -ETIMEDOUT)
		err_set(e, code, "%s: not done after %u ms", spec->argv[0], spec->timeout_msec);
	else if (code < 0)
		err_sys(e, code, "%s: its output", spec->argv[0]);
	else
		code = judge(&r, spec, status, ret_exit, e);
	if (capture && code != -ENOMEM && keep_output(&r, "", 0) == 0 && r.output) {
		r.output[r.have] = '\0';
		*ret_output = r.output;
		if (ret_len)
			*ret_len = r.have;
	} else {
		free(r.output);
	}
	return code;
}
