/* Jobs in guests, at a terminal and in pipes. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "exec.h"
#include "relay.h"
#include "tree.h"
#include "vm.h"
#include "workspace.h"

#define COPY_MAX    (256u * 1024) /* what one request brings: as much as the guest says ahead (AGENT_WINDOW) */
#define HUNG_UP_SEC 10            /* what a job of `run` has to end in when its terminal has gone */
#define PATIENCE    3             /* of whoever tells a job to end: so often, and it is left alone */

static char *const shell_argv[] = {(char *)"/bin/sh", (char *)"-c",
	(char *)"[ -x /bin/bash ] && exec /bin/bash -l; exec /bin/sh -l", NULL};

struct running {
	struct ctl *c;
	const char *dir;   /* vms/NAME/exec/N */
	const char *check; /* the VM whose workspace is looked at meanwhile; NULL: none */
	int out, err, in;
	bool tty, ends_with_us;
	struct relay input, listeners[3]; /* of its output and its end */
	atomic_bool ended_itself;
	int over;       /* an eventfd: how many of the listeners are done */
	int code;       /* what it has ended with; -1: WHY is what is known */
	char why[64];   /* "": it is all in CODE */
	unsigned ended; /* how often it was told to end */
	int left;       /* the signal after which it was left; 0: it was not */
};

static struct termios saved;
static volatile sig_atomic_t raw;

static void restore(void)
{
	if (raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
	raw = 0;
}

static void make_raw(void)
{
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &saved) < 0)
		return;
	t = saved;
	cfmakeraw(&t);
	raw = 1;
	atexit(restore);
	tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

/* Strings as the tree takes them where they may hold newlines: each with its NUL. */
static int write_list(struct ctl *c, const char *dir, const char *file, const char *const *list)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	for (; out && *list; list++)
		fwrite(*list, 1, strlen(*list) + 1, out);
	if (!out || fclose(out) != 0 || asprintf(&path, "%s/%s", dir, file) < 0)
		return -ENOMEM;
	return n ? tree_write_bytes(c, path, text, n) : 0;
}

/* One run in a process: no thread's stack need be that large. */
static char buffers[3][COPY_MAX];

/* The job has ended, or what it said has been told. */
static void tell(struct running *r)
{
	const uint64_t one = 1;

	(void)!write(r->over, &one, sizeof(one));
}

static void copy_out(struct relay *l, void *arg)
{
	struct running *r = arg;
	char byte;

	/* Nobody reads us any more: the job gets no reader either, and is told so. */
	if (relay_copy(l, r->out, STDOUT_FILENO, buffers[STDOUT_FILENO], COPY_MAX) < 0 &&
		read(r->out, &byte, 1) > 0)
		tree_write(r->c, "signal PIPE", "%s/ctl", r->dir);
	/* A reader that reads no more would keep from being told what the job has said before its end, and the end after that. */
	r->out = close_fd(r->out);
	tell(r);
}

static void copy_err(struct relay *l, void *arg)
{
	struct running *r = arg;

	relay_copy(l, r->err, STDERR_FILENO, buffers[STDERR_FILENO], COPY_MAX);
	r->err = close_fd(r->err);
	tell(r);
}

static void copy_in(struct relay *l, void *arg)
{
	struct running *r = arg;

	relay_copy(l, STDIN_FILENO, r->in, buffers[STDIN_FILENO], COPY_MAX);
	if (relay_stopped(l))
		return;
	/* The end of ours is the end of the job's; of a terminal it has to be said. */
	if (r->tty)
		tree_write(r->c, "close", "%s/ctl", r->dir);
	r->in = close_fd(r->in);
}

/* To the job's ctl: how large our terminal is, if it is one, and what is to be done THEN. */
static int send_winsize(struct running *r, const char *then)
{
	struct winsize size;
	char line[64];

	/* One that doesn't know has no size. */
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 || size.ws_col == 0)
		return *then ? tree_write(r->c, then, "%s/ctl", r->dir) : 0;
	snprintf(line, sizeof(line), "winsize %u %u\n%s", size.ws_row, size.ws_col, then);
	return tree_write(r->c, line, "%s/ctl", r->dir);
}

static const struct {
	int number;
	const char *name;
} passed[] = {{SIGINT, "INT"}, {SIGTERM, "TERM"}, {SIGHUP, "HUP"}, {SIGQUIT, "QUIT"}, {SIGUSR1, "USR1"},
	{SIGUSR2, "USR2"}};

/* The job was to be told SIG; CODE: how that went. Who waits for one that can't be told, or doesn't listen, is let go. */
static void told(struct running *r, int sig, int code)
{
	/* Its end is told by who listens to it. A connection's job is forgotten at the same time, the others stay. */
	const bool over = code == -ESRCH || code == -ENOENT || code == -ESTALE;

	if (sig == SIGUSR1 || sig == SIGUSR2 || over || r->left)
		return;
	if (code == 0 && ++r->ended < PATIENCE)
		return;
	if (code == -EBUSY)
		ctl_fail("the job's VM is paused: it can't be told to end");
	else if (code < 0)
		ctl_fail("the job can't be told to end: %s", strerror(-code));
	else
		ctl_fail("the job was told to end %u times, and is left alone", r->ended);
	r->left = sig;
}

/* A signal that we got is the job's. */
static void pass_signal(struct running *r, int sig)
{
	char line[32];

	if (sig == SIGALRM)
		tree_write(r->c, "signal KILL", "%s/ctl", r->dir);
	else if (sig == SIGWINCH)
		send_winsize(r, "");
	else if (sig == SIGHUP && r->ends_with_us)
		alarm(HUNG_UP_SEC);
	for (size_t i = 0; i < ELEMENTSOF(passed); i++)
		if (passed[i].number == sig) {
			snprintf(line, sizeof(line), "signal %s", passed[i].name);
			told(r, sig, tree_write(r->c, line, "%s/ctl", r->dir));
		}
}

/* By itself, where no job gets it. */
static bool ends_us(int sig)
{
	return sig == SIGINT || sig == SIGTERM || sig == SIGHUP || sig == SIGQUIT;
}

static void block_signals(sigset_t *ret)
{
	sigemptyset(ret);
	sigaddset(ret, SIGWINCH);
	sigaddset(ret, SIGALRM);
	for (size_t i = 0; i < ELEMENTSOF(passed); i++)
		sigaddset(ret, passed[i].number);
	pthread_sigmask(SIG_BLOCK, ret, NULL);
}

/* A job of our own: *RET_FD keeps it, *RET_DIR is its folder. */
static int make_job(struct ctl *c, const char *vm, int *ret_fd, char **ret_dir)
{
	_cleanup_close_ int fd = tree_open(c, O_RDWR, "vms/%s/exec/clone", vm);
	char number[32];
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, number, sizeof(number) - 1);
	if (n <= 0)
		return n < 0 ? -errno : -EIO;
	number[n] = '\0';
	number[strcspn(number, "\n")] = '\0';
	if (asprintf(ret_dir, "vms/%s/exec/%s", vm, number) < 0) {
		*ret_dir = NULL;
		return -ENOMEM;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Nobody is there to run it. */
static int no_agent(struct ctl *c, const char *vm)
{
	_cleanup_free_ char *state = tree_read(c, "vms/%s/state", vm);

	return state && strcmp(state, "running") == 0
		       ? ctl_fail("vm exec %s: the guest's agent does not answer: try again, and see "
				  "vms/%s/health",
				 vm, vm)
		       : ctl_fail("vm exec %s: the VM is not running: banger vm start %s", vm, vm);
}

static int set_up(struct ctl *c, const struct exec_request *q, const char *dir)
{
	int r = q->argv ? 0 : tree_write(c, q->setup ? q->setup : "main", "%s/ctl", dir);

	if (q->argv || (r == -EINVAL && !q->setup))
		r = write_list(c, dir, "cmd", (const char *const *)(q->argv ? q->argv : shell_argv));
	if (r == 0 && q->env_count > 0)
		r = write_list(c, dir, "env", q->env);
	if (r == 0 && q->cwd)
		r = tree_write(c, q->cwd, "%s/cwd", dir);
	if (r == 0 && q->user)
		r = tree_write(c, q->user, "%s/user", dir);
	if (r == 0 && q->tty)
		r = tree_write(c, "1", "%s/tty", dir);
	/* Whoever takes it up gives it input, and none of them is the last. */
	if (r == 0 && q->detach && q->want_stdin)
		r = tree_write(c, "1", "%s/stdin", dir);
	return r;
}

/* It has an exit code of its own, but its guest, or the agent there, has gone. */
static bool was_lost(struct ctl *c, const char *dir)
{
	_cleanup_free_ char *status = tree_read(c, "%s/status", dir);

	return status && strstr(status, "\nlost 1\n");
}

/* The exit code: of the job, or 128 + its signal, or 127 for one that could not be run. Negative: none is known. WHY: what there is to say. */
static int exit_code(struct ctl *c, const char *dir, char *why, size_t why_size)
{
	_cleanup_close_ int fd = tree_open(c, O_RDONLY, "%s/wait/exit", dir);
	char text[32];
	uint64_t code;
	ssize_t n;

	while (fd >= 0 && (n = read(fd, text, sizeof(text) - 1)) >= 0) {
		text[n] = '\0';
		text[strcspn(text, "\n")] = '\0';
		if (n > 0 && parse_u64(text, 0, 255, &code) == 0) {
			if (code == EXIT_LOST && was_lost(c, dir))
				snprintf(why, why_size, "its guest has gone, or the agent there");
			return (int)code;
		}
		if (n > 0) {
			snprintf(why, why_size, "%s", text);
			return -EPROTO;
		}
		lseek(fd, 0, SEEK_SET);
	}
	snprintf(why, why_size, "%s", strerror(errno));
	return -errno;
}

static void wait_exit(struct relay *l, void *arg)
{
	struct running *r = arg;

	(void)l;
	if (r->check)
		workspace_check(r->c, r->check);
	r->code = exit_code(r->c, r->dir, r->why, sizeof(r->why));
	atomic_store(&r->ended_itself, true);
	tell(r);
}

/* Who listens to the job. Before its start: they come up while the guest is at it. */
static int listen_to(struct running *r)
{
	void (*const bodies[ELEMENTSOF(r->listeners)])(struct relay *, void *) = {
		copy_out, copy_err, wait_exit};
	int code = 0;

	r->over = eventfd(0, EFD_CLOEXEC);
	if (r->over < 0)
		return -errno;
	for (size_t i = 0; code == 0 && i < ELEMENTSOF(bodies); i++)
		code = relay_start(&r->listeners[i], bodies[i], r);
	return code;
}

/* NOW: whatever they are at. */
static void end_listening(struct running *r, bool now)
{
	for (size_t i = 0; i < ELEMENTSOF(r->listeners); i++)
		relay_end(&r->listeners[i], now);
	r->over = close_fd(r->over);
}

/*
 * Until it has ended and all that it said is told, or it is left. SIGNALS, which are blocked, are the job's while there is one, and ours while only somebody
 * who doesn't read keeps us.
 */
static int wait_over(struct running *r, const sigset_t *signals)
{
	_cleanup_close_ int fd = signalfd(-1, signals, SFD_CLOEXEC);
	struct pollfd p[] = {{.fd = r->over, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	struct signalfd_siginfo si;
	uint64_t done = 0, more;

	if (fd < 0)
		return -errno;
	while (done < ELEMENTSOF(r->listeners) && !r->left) {
		if (poll(p, ELEMENTSOF(p), -1) <= 0)
			continue;
		if (p[0].revents && read(r->over, &more, sizeof(more)) == sizeof(more))
			done += more;
		/* What is typed from here on is ours. */
		if (atomic_load(&r->ended_itself))
			relay_end(&r->input, true);
		if (p[1].revents && read(fd, &si, sizeof(si)) == sizeof(si)) {
			if (atomic_load(&r->ended_itself) && ends_us((int)si.ssi_signo))
				r->left = (int)si.ssi_signo;
			else
				pass_signal(r, (int)si.ssi_signo);
		}
	}
	return 0;
}

static int follow(struct running *r, const sigset_t *signals)
{
	int code = r->in >= 0 ? relay_start(&r->input, copy_in, r) : 0;

	if (code == 0)
		code = wait_over(r, signals);
	relay_end(&r->input, true);
	end_listening(r, r->left || code < 0);
	restore();
	if (code < 0)
		return ctl_fail("vm exec: %s", strerror(-code));
	if (r->left)
		return 128 + r->left;
	if (*r->why)
		ctl_fail("the job was lost: %s", r->why);
	return r->code < 0 ? EXIT_FAILED : r->code;
}

/* Before the start: nothing it says is missed, and it is known who gives it input. */
static int open_streams(struct running *r, bool want_stdin)
{
	r->out = tree_open(r->c, O_RDONLY, "%s/stream/stdout", r->dir);
	r->err = tree_open(r->c, O_RDONLY, "%s/stream/stderr", r->dir);
	if (want_stdin)
		r->in = tree_open(r->c, O_WRONLY, "%s/stream/stdin", r->dir);
	return r->out < 0 ? r->out : r->err < 0 ? r->err : want_stdin && r->in < 0 ? r->in : 0;
}

static void close_streams(struct running *r)
{
	r->out = close_fd(r->out);
	r->err = close_fd(r->err);
	r->in = close_fd(r->in);
}

/* Why the job of Q has not begun. */
static int not_begun(struct ctl *c, const struct exec_request *q, const char *object, int code)
{
	int exit_as = code == -ENOENT || code == -EACCES || code == -ENOEXEC ? EXIT_NO_PROGRAM : EXIT_FAILED;

	if (code == -ENOTCONN)
		no_agent(c, q->vm);
	else if (exit_as == EXIT_NO_PROGRAM && q->argv)
		ctl_fail("vm exec %s: %s: %s", q->vm, q->argv[0], strerror(-code));
	else
		tree_failure(c, "vm exec", object, code);
	return exit_as;
}

int exec_run(struct ctl *c, const struct exec_request *q, bool *ret_began)
{
	struct running running = {.c = c,
		.out = -EBADF,
		.err = -EBADF,
		.in = -EBADF,
		.over = -EBADF,
		.tty = q->tty,
		/* Beside the job: it costs it nothing. A terminal that is the job's is not written to. */
		.check = q->check && !q->tty ? q->vm : NULL,
		.ends_with_us = q->ends_with_us};
	_cleanup_free_ char *object = NULL, *dir = NULL;
	_cleanup_close_ int keep = -EBADF;
	sigset_t signals;
	int code;

	if (!vm_name_good(q->vm))
		return EXIT_USAGE;
	if (asprintf(&object, "vms/%s", q->vm) < 0)
		return EXIT_FAILED;
	code = make_job(c, q->vm, &keep, &dir);
	if (code < 0)
		return code == -ENOTCONN ? no_agent(c, q->vm) : tree_failure(c, "vm exec", object, code);
	running.dir = dir;
	code = set_up(c, q, dir);
	if (code == 0 && !q->detach)
		code = open_streams(&running, q->want_stdin);
	if (code == 0 && q->check && q->tty)
		workspace_check(c, q->vm);
	if (code == 0) {
		block_signals(&signals);
		if (q->tty && isatty(STDIN_FILENO) && !q->detach)
			make_raw();
		code = q->detach ? 0 : listen_to(&running);
	}
	if (code == 0)
		code = q->tty ? send_winsize(&running, "start") : tree_write(c, "start", "%s/ctl", dir);
	if (code < 0) {
		restore();
		code = not_begun(c, q, object, code);
		unlinkat(c->fs, dir, AT_REMOVEDIR);
		end_listening(&running, true);
		close_streams(&running);
		return code;
	}
	*ret_began = true;
	if (q->detach) {
		puts(strrchr(dir, '/') + 1);
		return EXIT_OK;
	}
	code = follow(&running, &signals);
	close_streams(&running);
	unlinkat(c->fs, dir, AT_REMOVEDIR);
	return code;
}

int exec_attach(struct ctl *c, const char *vm, const char *number, bool want_stdin)
{
	struct running running = {.c = c, .out = -EBADF, .err = -EBADF, .in = -EBADF, .over = -EBADF},
		       *r = &running;
	_cleanup_free_ char *tty = NULL, *dir = NULL;
	sigset_t signals;
	int code = 0;

	if (asprintf(&dir, "vms/%s/exec/%s", vm, number) < 0) {
		dir = NULL;
		return EXIT_FAILED;
	}
	r->dir = dir;
	tty = tree_read(c, "%s/tty", r->dir);
	if (!tty)
		return ctl_fail("job attach: there is no job %s in %s: banger job ls %s", number, vm, vm);
	r->tty = *tty == '1';
	code = open_streams(r, want_stdin);
	if (code < 0) {
		close_streams(r);
		return ctl_fail("job attach: %s", strerror(-code));
	}
	block_signals(&signals);
	if (r->tty && isatty(STDIN_FILENO)) {
		send_winsize(r, "");
		make_raw();
	}
	code = listen_to(r);
	if (code < 0)
		end_listening(r, true);
	code = code < 0 ? ctl_fail("job attach: %s", strerror(-code)) : follow(r, &signals);
	close_streams(r);
	return code;
}

int exec_ssh(struct ctl *c, const char *vm)
{
	bool began;

	return exec_run(c, &(struct exec_request){.vm = vm, .setup = "ssh", .want_stdin = true}, &began);
}

static int vm_exec(struct ctl *c, int argc, char **argv)
{
	struct exec_request q = {.check = true};
	bool prepare = false, began = false;
	int i;

	for (i = 1; i < argc && argv[i][0] == '-' && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "-t") == 0)
			q.tty = q.want_stdin = true;
		else if (strcmp(argv[i], "-i") == 0)
			q.want_stdin = true;
		else if (strcmp(argv[i], "-d") == 0)
			q.detach = true;
		else if (strcmp(argv[i], "--auto-prepare") == 0)
			prepare = true;
		else if (strcmp(argv[i], "--env") == 0 && i + 1 < argc && q.env_count < EXEC_ENV_MAX)
			q.env[q.env_count++] = argv[++i];
		else if (strcmp(argv[i], "--cwd") == 0 && i + 1 < argc)
			q.cwd = argv[++i];
		else if (strcmp(argv[i], "--user") == 0 && i + 1 < argc)
			q.user = argv[++i];
		else
			return ctl_usage(ctl_command("vm exec"));
	}
	if (i + 1 < argc && strcmp(argv[i + 1], "--") == 0) {
		q.vm = argv[i];
		q.argv = argv + i + 2;
	} else if (i < argc) {
		q.vm = argv[i];
		q.argv = argv + i + 1;
	}
	if (!q.vm || !q.argv[0])
		return ctl_usage(ctl_command("vm exec"));
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (prepare && vm_name_good(q.vm) && (i = workspace_refresh(c, q.vm)) != EXIT_OK)
		return i;
	return exec_run(c, &q, &began);
}

/* The shell that the image has. */

static int vm_shell(struct ctl *c, int argc, char **argv)
{
	bool terminal = isatty(STDIN_FILENO);
	struct exec_request q = {
		.vm = argv[1], .tty = terminal, .want_stdin = true, .check = true, .argv = shell_argv};
	bool began = false;

	if (argc != 2)
		return ctl_usage(ctl_command("vm shell"));
	return ctl_need_tree(c) ? exec_run(c, &q, &began) : EXIT_FAILED;
}

const struct command commands_exec[] = {
	{"vm exec",
		"[-i] [-t] [-d] [--env K=V]... [--cwd DIR] [--user USER] [--auto-prepare] NAME [--] CMD "
		"[ARG...]",
		"run a command in the guest; -i input, -t terminal, -d leave it running; --auto-prepare "
		"brings what has moved on first",
		vm_exec},
	{"vm shell", "NAME", "a shell in the guest", vm_shell},
	{NULL, NULL, NULL, NULL},
};
