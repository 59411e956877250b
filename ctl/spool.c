#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "show.h"
#include "spool.h"

#define SPOOL_BYTES (1u << 20)
#define LOOK_USEC   200000

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

static void show(uint64_t done, uint64_t *last)
{
	uint64_t now = io_now_usec();
	char buf[16];

	if (now - *last < LOOK_USEC)
		return;
	*last = now;
	fprintf(stderr, "\r\033[Kstandard input: %s", show_size(done, buf));
	fflush(stderr);
}

/* Until there is something to read: 0; -EINTR. Signals come here only: none is missed before a wait. */
static int await(const sigset_t *blocked, const sigset_t *open)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

	/* Those that have come while there always was something. */
	sigprocmask(SIG_SETMASK, open, NULL);
	sigprocmask(SIG_SETMASK, blocked, NULL);
	while (!interrupted && ppoll(&p, 1, NULL, open) < 0 && errno == EINTR)
		continue;
	return interrupted ? -EINTR : 0;
}

/* 0; -EINTR; an error of writing; one of reading goes to *RET_READ. */
static int copy(int to, const sigset_t *open, bool watched, uint64_t *ret_done, int *ret_read)
{
	_cleanup_free_ char *buf = malloc(SPOOL_BYTES);
	uint64_t done = 0, last = 0;
	sigset_t blocked = *open;
	int r = buf ? 0 : -ENOMEM;

	sigaddset(&blocked, SIGINT);
	sigaddset(&blocked, SIGTERM);
	while (r == 0 && (r = await(&blocked, open)) == 0) {
		ssize_t n = read(STDIN_FILENO, buf, SPOOL_BYTES);

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			*ret_read = -errno;
		if (n <= 0)
			break;
		r = io_write_full(to, buf, (size_t)n);
		done += (uint64_t)n;
		if (watched)
			show(done, &last);
	}
	sigprocmask(SIG_SETMASK, open, NULL);
	if (watched && last)
		fputs("\r\033[K", stderr);
	*ret_done = done;
	return r;
}

/* Only the daemon's user may read it; root gives it to that one. */
static int make(struct ctl *c, char *path, int *ret)
{
	int fd = mkostemp(path, O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (geteuid() == 0 && (fstat(c->fs, &st) < 0 || fchown(fd, st.st_uid, (gid_t)-1) < 0)) {
		int r = -errno;

		close(fd);
		unlink(path);
		return r;
	}
	*ret = fd;
	return 0;
}

static struct sigaction before[2];

void spool_remove(const char *path)
{
	unlink(path);
	sigaction(SIGINT, &before[0], NULL);
	sigaction(SIGTERM, &before[1], NULL);
}

/* What went wrong, for who can do something about it. */
static int failed(const char *path, int r, int read_error, uint64_t done)
{
	char size[16];

	if (r == -EINTR)
		return EXIT_CANCELLED;
	if (r == -ENOSPC || r == -EDQUOT)
		return ctl_fail(
			"image import: %s: %s after %s: make room there, or let TMPDIR name another folder",
			path, strerror(-r), done ? show_size(done, size) : "nothing");
	if (r < 0)
		return ctl_fail("image import: %s: %s", path, strerror(-r));
	return ctl_fail("image import: standard input: %s", strerror(-read_error));
}

int spool_stdin(struct ctl *c, char **ret)
{
	/* Without SA_RESTART: what is being waited for ends. */
	const struct sigaction stop = {.sa_handler = on_signal};
	const char *folder = getenv("TMPDIR");
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -EBADF;
	uint64_t done = 0;
	int read_error = 0, r;
	sigset_t mask;

	if (isatty(STDIN_FILENO))
		return ctl_fail("image import: standard input is a terminal: give it a file, or what a "
				"command writes");
	if (asprintf(&path, "%s/banger-stdin-XXXXXX", folder && *folder == '/' ? folder : "/var/tmp") < 0) {
		path = NULL;
		return ctl_fail("image import: %s", strerror(ENOMEM));
	}
	sigprocmask(SIG_BLOCK, NULL, &mask);
	sigaction(SIGINT, &stop, &before[0]);
	sigaction(SIGTERM, &stop, &before[1]);
	r = make(c, path, &fd);
	if (r == 0)
		r = copy(fd, &mask, isatty(STDERR_FILENO), &done, &read_error);
	if (r < 0 || read_error) {
		spool_remove(path);
		return failed(path, r, read_error, done);
	}
	*ret = TAKE_PTR(path);
	return EXIT_OK;
}
