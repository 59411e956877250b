#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "banger/cleanup.h"
#include "child.h"

#define FD_SOCK  3
#define FD_OTHER 4

/* Nothing that the helper has open is the child's, nor are its signals, which it blocks for its signalfd. */
static void become_child(const char *name, child_fn run, int sock, int fd, const void *data)
{
	sigset_t none;

	prctl(PR_SET_NAME, name);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Out of the way of the numbers they shall have. */
	sock = fcntl(sock, F_DUPFD_CLOEXEC, FD_OTHER + 1);
	fd = fd < 0 ? -EBADF : fcntl(fd, F_DUPFD_CLOEXEC, FD_OTHER + 1);
	if (dup3(sock, FD_SOCK, O_CLOEXEC) < 0 || (fd >= 0 && dup3(fd, FD_OTHER, O_CLOEXEC) < 0))
		_exit(1);
	syscall(SYS_close_range, fd >= 0 ? FD_OTHER + 1 : FD_OTHER, ~0u, 0);
	run(FD_SOCK, fd >= 0 ? FD_OTHER : -EBADF, data);
	_exit(0);
}

int child_new(const char *name, child_fn run, int fd, const void *data, struct child *ret, struct err *e)
{
	_cleanup_close_ int mine = -EBADF, theirs = -EBADF;
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, -errno, "%s", name);
	mine = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid < 0)
		return err_sys(e, -errno, "%s", name);
	if (pid == 0)
		become_child(name, run, theirs, fd, data);
	*ret = (struct child){.sock = TAKE_FD(mine), .pid = pid};
	return 0;
}

void child_end(struct child *c)
{
	close_fd(c->sock);
	if (c->pid > 0)
		waitpid(c->pid, NULL, 0);
	*c = (struct child){.sock = -EBADF};
}
