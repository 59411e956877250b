/*
 * The reaper: a VMM's parent. Runs as the VM's own user, from before the VMM's program until after it; so that how it ended, and what it said, is
 * known also when both daemons were away.
 *
 *   banger-reaper CONSOLE_MAX PID     descriptors as in launch_fds.h; PID is its child, the VMM, that waits to be let go
 *
 * It keeps the console's last CONSOLE_MAX bytes in a file, gives it live to who connects, takes their input, and writes to the exit file:
 * `exit CODE` or `signal N`; `event LINE` for the VMM's last events that say why; `stderr LINE` for its last words.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "launch_fds.h"

#define CLIENTS_MAX 4
#define STDERR_MAX  4096
#define LINE_MAX_   8192 /* of the VMM's events; a longer one is passed over */
#define EVENTS_MAX  2

struct reaper {
	int exit_file, console_file, listener, report;
	int serial, events, errors; /* our ends */
	int pidfd;
	pid_t pid;
	int clients[CLIENTS_MAX];
	uint64_t console_size, console_max;
	char last_words[STDERR_MAX];
	size_t words;
	char line[LINE_MAX_];
	size_t line_size;
	bool line_too_long;
	char *kept[EVENTS_MAX]; /* SHUTDOWN, GUEST_PANICKED */
};

static int report_value(int fd, int value, int step, int with_fd)
{
	struct report r = {.value = value, .step = step};

	return io_send_fds(fd, &r, sizeof(r), &with_fd, with_fd >= 0);
}

/* The VMM waits for a byte, and that it runs is told by the end of the other pipe. */
static int release(struct reaper *r)
{
	struct launch_failure failure = {0};
	struct report answer;

	/* The helper writes the process down, and only then may it run. */
	if (report_value(r->report, r->pid, 0, r->pidfd) < 0 ||
		recv(r->report, &answer, sizeof(answer), 0) != sizeof(answer) || write(FD_GO, "g", 1) != 1) {
		close_fd(FD_GO);
		return -EPIPE;
	}
	close_fd(FD_GO);
	if (io_read_full(FD_FAILED, &failure, sizeof(failure)) == 0 && failure.code >= 0)
		failure.code = -EIO;
	close_fd(FD_FAILED);
	report_value(r->report, failure.code, failure.step, -1);
	r->report = close_fd(r->report);
	return failure.code;
}

/* Keeps the last half when the file is full: its readers see one moment or the other. */
static void console_shrink(struct reaper *r)
{
	uint64_t keep = r->console_max / 2, from = r->console_size - keep, at = 0;
	char buf[16384];

	while (at < keep) {
		ssize_t n = pread(r->console_file, buf, sizeof(buf), (off_t)(from + at));

		if (n <= 0 || io_pwrite_full(r->console_file, buf, (size_t)n, (off_t)at) < 0)
			break;
		at += (uint64_t)n;
	}
	if (ftruncate(r->console_file, (off_t)at) == 0)
		r->console_size = at;
}

static void on_serial(struct reaper *r)
{
	char buf[16384];
	ssize_t n = read(r->serial, buf, sizeof(buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		r->serial = close_fd(r->serial);
		return;
	}
	if (r->console_size + (uint64_t)n > r->console_max)
		console_shrink(r);
	/* A full disk loses output, never the VM. */
	if (r->console_size + (uint64_t)n <= r->console_max &&
		io_pwrite_full(r->console_file, buf, (size_t)n, (off_t)r->console_size) == 0)
		r->console_size += (uint64_t)n;
	for (int i = 0; i < CLIENTS_MAX; i++)
		if (r->clients[i] >= 0)
			/* Who doesn't keep up misses some: the file has it. */
			(void)!send(r->clients[i], buf, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void on_client(struct reaper *r, int i)
{
	char buf[1024];
	ssize_t n = recv(r->clients[i], buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		r->clients[i] = close_fd(r->clients[i]);
	else if (r->serial >= 0)
		(void)!send(r->serial, buf, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void on_listener(struct reaper *r)
{
	int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	for (int i = 0; fd >= 0 && i < CLIENTS_MAX; i++)
		if (r->clients[i] < 0) {
			r->clients[i] = fd;
			return;
		}
	close_fd(fd);
}

static void on_errors(struct reaper *r)
{
	char buf[STDERR_MAX];
	ssize_t n = read(r->errors, buf, sizeof(buf));
	size_t over;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		r->errors = close_fd(r->errors);
		return;
	}
	over = r->words + (size_t)n > STDERR_MAX ? r->words + (size_t)n - STDERR_MAX : 0;
	memmove(r->last_words, r->last_words + over, r->words - over);
	r->words -= over;
	memcpy(r->last_words + r->words, buf, (size_t)n);
	r->words += (size_t)n;
}

static void on_event_line(struct reaper *r)
{
	static const char *const wanted[EVENTS_MAX] = {"\"SHUTDOWN\"", "\"GUEST_PANICKED\""};

	r->line[r->line_size] = '\0';
	for (int i = 0; i < EVENTS_MAX; i++)
		if (strstr(r->line, wanted[i])) {
			free(r->kept[i]);
			r->kept[i] = strdup(r->line);
		}
}

static void on_events(struct reaper *r)
{
	char buf[4096];
	ssize_t n = read(r->events, buf, sizeof(buf));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		r->events = close_fd(r->events);
		return;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (buf[i] == '\n') {
			if (!r->line_too_long)
				on_event_line(r);
			r->line_size = 0;
			r->line_too_long = false;
		} else if (r->line_size + 1 < sizeof(r->line)) {
			if (buf[i] != '\r')
				r->line[r->line_size++] = buf[i];
		} else {
			r->line_too_long = true;
		}
	}
}

static bool ended(struct reaper *r)
{
	struct pollfd p = {.fd = r->pidfd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

static void serve(struct reaper *r)
{
	while (!ended(r)) {
		struct pollfd p[5 + CLIENTS_MAX] = {{.fd = r->pidfd, .events = POLLIN},
			{.fd = r->serial, .events = POLLIN}, {.fd = r->events, .events = POLLIN},
			{.fd = r->errors, .events = POLLIN}, {.fd = r->listener, .events = POLLIN}};

		for (int i = 0; i < CLIENTS_MAX; i++)
			p[5 + i] = (struct pollfd){.fd = r->clients[i], .events = POLLIN};
		if (poll(p, ELEMENTSOF(p), -1) < 0)
			continue;
		if (p[1].revents)
			on_serial(r);
		if (p[2].revents)
			on_events(r);
		if (p[3].revents)
			on_errors(r);
		if (p[4].revents)
			on_listener(r);
		for (int i = 0; i < CLIENTS_MAX; i++)
			if (p[5 + i].revents && r->clients[i] >= 0)
				on_client(r, i);
	}
	/* What was said last is still in the sockets: a bound, for another may hold an end open. */
	for (int i = 0; i < 64; i++) {
		if (r->serial >= 0)
			on_serial(r);
		if (r->events >= 0)
			on_events(r);
		if (r->errors >= 0)
			on_errors(r);
	}
}

static void write_exit(struct reaper *r, int status)
{
	char *text = NULL, *rest, *line;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return;
	if (WIFSIGNALED(status))
		fprintf(out, "signal %d\n", WTERMSIG(status));
	else
		fprintf(out, "exit %d\n", WEXITSTATUS(status));
	for (int i = 0; i < EVENTS_MAX; i++)
		if (r->kept[i])
			fprintf(out, "event %s\n", r->kept[i]);
	r->last_words[r->words < STDERR_MAX ? r->words : STDERR_MAX - 1] = '\0';
	rest = r->last_words;
	while ((line = strsep(&rest, "\n")))
		if (*line)
			fprintf(out, "stderr %s\n", line);
	if (fclose(out) == 0 && ftruncate(r->exit_file, 0) == 0 &&
		io_pwrite_full(r->exit_file, text, size, 0) == 0)
		fsync(r->exit_file);
}

static int there(int fd)
{
	return fcntl(fd, F_GETFD) < 0 ? -EBADF : fd;
}

int main(int argc, char **argv)
{
	static struct reaper r = {.exit_file = FD_EXIT,
		.console_file = FD_CONSOLE,
		.listener = FD_TTY,
		.report = FD_REPORT,
		.serial = FD_OUTPUT,
		.errors = FD_ERRORS,
		.pidfd = FD_REAPED};
	uint64_t pid;
	int status = 0;

	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_NAME, "banger-reaper");
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (argc != 3 || parse_u64(argv[1], 4096, UINT32_MAX, &r.console_max) < 0 ||
		parse_u64(argv[2], 1, INT32_MAX, &pid) < 0)
		return 2;
	r.pid = (pid_t)pid;
	for (int i = 0; i < CLIENTS_MAX; i++)
		r.clients[i] = -1;
	syscall(SYS_close_range, FD_REAPER_END, ~0u, 0);
	r.events = there(FD_MONITOR);
	if (release(&r) < 0)
		return 1;
	for (int i = 0; i < 4; i++)
		fcntl(((int[]){r.serial, r.events, r.errors, r.listener})[i], F_SETFL, O_NONBLOCK);
	/* The answer to the greeting opens the monitor (QEMU's docs/interop/qmp-spec: qmp_capabilities). */
	if (r.events >= 0)
		(void)!send(r.events, "{\"execute\":\"qmp_capabilities\"}\n", 31, MSG_NOSIGNAL);
	serve(&r);
	while (waitpid(r.pid, &status, 0) < 0 && errno == EINTR)
		continue;
	write_exit(&r, status);
	return 0;
}
