#include "image/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "image/sandbox.h"

static int compare_fds(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return x < y ? -1 : x > y;
}

/* After fork in a program with threads: system calls only. What goes wrong is told through REPORT, which an exec closes. */
static _Noreturn void child(
	char *const argv[], const int *fds, size_t n, int null, int report, bool orphan, pid_t parent)
{
	static char *const nothing[] = {NULL};
	sigset_t none;
	int next = 3, r;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	setsid();
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (!orphan) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* Or it died before that was said. */
		if (getppid() != parent)
			_exit(1);
	}
	if (chdir("/") < 0)
		goto failed;
	/* A sanitizer's report is for whoever tests; nothing else may write to the daemon's log. */
	for (int fd = 0; fd < (SANDBOX_ASAN ? 2 : 3); fd++)
		if (dup2(null, fd) < 0)
			goto failed;
	for (size_t i = 0; i < n; i++) {
		if (fds[i] < next)
			continue;
		if (fds[i] != report && fcntl(fds[i], F_SETFD, 0) < 0)
			goto failed;
		if (fds[i] > next)
			syscall(SYS_close_range, next, fds[i] - 1, 0);
		next = fds[i] + 1;
	}
	syscall(SYS_close_range, next, ~0u, 0);
	execve("/proc/self/exe", argv, nothing);
failed:
	r = errno;
	(void)!write(report, &r, sizeof(r));
	_exit(127);
}

static void reap(pid_t pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
}

int spawn_self(
	char *const argv[], int *fds, size_t n, bool orphan, pid_t *ret_pid, int *ret_pidfd, struct err *e)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC), mine = -EBADF, its = -EBADF;
	_cleanup_free_ int *all = calloc(n + 1, sizeof(*all));
	sigset_t every, before;
	pid_t parent = getpid(), pid;
	int pipes[2], r = 0, failure, pidfd;

	if (!all)
		return err_sys(e, -ENOMEM, "worker");
	if (null < 0 || pipe2(pipes, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "worker");
	mine = pipes[0];
	its = pipes[1];
	qsort(fds, n, sizeof(*fds), compare_fds);
	for (size_t i = 0; i < n; i++)
		if (fds[i] >= 0 && fds[i] <= 2)
			return err_set(e, -EBADF, "descriptors 0 to 2 are not for workers");
	for (size_t i = 0; i < n; i++)
		all[i] = fds[i];
	all[n] = its;
	qsort(all, n + 1, sizeof(*all), compare_fds);
	/* A handler of ours must not run in the child. */
	sigfillset(&every);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	pid = fork();
	if (pid == 0)
		child(argv, all, n + 1, null, its, orphan, parent);
	r = -errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return err_sys(e, r, "worker");
	its = close_fd(its);
	if (io_read_full(mine, &failure, sizeof(failure)) == 0) {
		reap(pid);
		return err_sys(e, -failure, "the worker's program can't be started");
	}
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		r = err_sys(e, -errno, "worker");
		reap(pid);
		return r;
	}
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	return 0;
}
