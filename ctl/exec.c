/* Jobs in guests, at a terminal and in pipes; and a VM for one command. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <termios.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "tree.h"
#include "vm.h"

#define ENV_MAX 64

static char *const shell_argv[] = {(char *)"/bin/sh", (char *)"-c",
	(char *)"[ -x /bin/bash ] && exec /bin/bash -l; exec /bin/sh -l", NULL};

struct request {
	const char *vm;
	const char *setup; /* a verb of the job's ctl that says what it runs; NULL: ARGV does */
	bool tty, want_stdin, detach;
	const char *env[ENV_MAX + 1], *cwd, *user;
	size_t env_count;
	char *const
		*argv; /* NULL-terminated; NULL: what the VM's image is for, a shell where that is nothing */
};

struct running {
	struct ctl *c;
	char *dir; /* vms/NAME/exec/N */
	int out, err, in;
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

/* FROM to TO until either ends; a reader that has gone ends it quietly. */
static void copy(int from, int to)
{
	char buf[65536];
	ssize_t n;

	while ((n = read(from, buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0 && io_write_full(to, buf, (size_t)n) < 0)
			return;
}

static void *copy_out(void *arg)
{
	struct running *r = arg;

	copy(r->out, STDOUT_FILENO);
	/* Nobody reads us any more: the job gets no reader either, and is told so. */
	if (r->out >= 0) {
		char byte;

		if (read(r->out, &byte, 1) > 0)
			tree_write(r->c, "signal PIPE", "%s/ctl", r->dir);
	}
	return NULL;
}

static void *copy_err(void *arg)
{
	struct running *r = arg;

	copy(r->err, STDERR_FILENO);
	return NULL;
}

static void *copy_in(void *arg)
{
	struct running *r = arg;

	copy(STDIN_FILENO, r->in);
	/* The end of ours is the end of the job's. */
	r->in = close_fd(r->in);
	return NULL;
}

static void send_winsize(struct running *r)
{
	struct winsize size;
	char line[64];

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0)
		return;
	snprintf(line, sizeof(line), "winsize %u %u", size.ws_row, size.ws_col);
	tree_write(r->c, line, "%s/ctl", r->dir);
}

static const struct {
	int number;
	const char *name;
} passed[] = {{SIGINT, "INT"}, {SIGTERM, "TERM"}, {SIGHUP, "HUP"}, {SIGQUIT, "QUIT"}, {SIGUSR1, "USR1"},
	{SIGUSR2, "USR2"}};

/* Signals that we get are the job's. */
static void *pass_signals(void *arg)
{
	struct running *r = arg;
	sigset_t set;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	for (size_t i = 0; i < ELEMENTSOF(passed); i++)
		sigaddset(&set, passed[i].number);
	while (sigwait(&set, &sig) == 0) {
		char line[32];

		if (sig == SIGWINCH) {
			send_winsize(r);
			continue;
		}
		for (size_t i = 0; i < ELEMENTSOF(passed); i++)
			if (passed[i].number == sig) {
				snprintf(line, sizeof(line), "signal %s", passed[i].name);
				tree_write(r->c, line, "%s/ctl", r->dir);
			}
	}
	return NULL;
}

static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	for (size_t i = 0; i < ELEMENTSOF(passed); i++)
		sigaddset(&set, passed[i].number);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
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
	if (asprintf(ret_dir, "vms/%s/exec/%s", vm, number) < 0)
		return -ENOMEM;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int set_up(struct ctl *c, const struct request *q, const char *dir)
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
	return r;
}

/* The exit code: of the job, or 128 + its signal, or 127 for one that could not be run. */
static int exit_code(struct ctl *c, const char *dir)
{
	_cleanup_close_ int fd = tree_open(c, O_RDONLY, "%s/wait/exit", dir);
	char text[64];
	uint64_t code;
	ssize_t n;

	while (fd >= 0 && (n = read(fd, text, sizeof(text) - 1)) >= 0) {
		text[n] = '\0';
		text[strcspn(text, "\n")] = '\0';
		if (n > 0 && parse_u64(text, 0, 255, &code) == 0)
			return (int)code;
		if (n > 0)
			return ctl_fail("the job was lost: the VM went away: %s", text);
		lseek(fd, 0, SEEK_SET);
	}
	return ctl_fail("the job was lost: %s", strerror(errno));
}

static int follow(struct running *r, const struct request *q)
{
	pthread_t out, err, in, signals;
	int code;

	if (q->tty && isatty(STDIN_FILENO)) {
		send_winsize(r);
		make_raw();
	}
	pthread_create(&signals, NULL, pass_signals, r);
	pthread_create(&out, NULL, copy_out, r);
	pthread_create(&err, NULL, copy_err, r);
	if (q->want_stdin && pthread_create(&in, NULL, copy_in, r) == 0)
		pthread_detach(in);
	code = exit_code(r->c, r->dir);
	pthread_join(out, NULL);
	pthread_join(err, NULL);
	restore();
	return code;
}

static int run_job(struct ctl *c, const struct request *q)
{
	/* The signals' thread has it to the program's end. */
	static struct running r;
	_cleanup_close_ int keep = -EBADF;
	_cleanup_free_ char *object = NULL;
	const char *dir;
	int code;

	r = (struct running){.c = c, .out = -EBADF, .err = -EBADF, .in = -EBADF};
	if (!vm_name_good(q->vm))
		return EXIT_USAGE;
	if (asprintf(&object, "vms/%s", q->vm) < 0)
		return EXIT_FAILED;
	code = make_job(c, q->vm, &keep, &r.dir);
	if (code < 0)
		return code == -ENOTCONN ? ctl_fail("vm exec %s: the VM is not running: banger vm start %s",
						   q->vm, q->vm)
					 : tree_failure(c, "vm exec", object, code);
	dir = r.dir;
	code = set_up(c, q, dir);
	if (code == 0 && !q->detach) {
		/* Opened before the start: nothing it says is missed, and it is known who gives it input. */
		r.out = tree_open(c, O_RDONLY, "%s/stream/stdout", dir);
		r.err = tree_open(c, O_RDONLY, "%s/stream/stderr", dir);
		if (q->want_stdin)
			r.in = tree_open(c, O_WRONLY, "%s/stream/stdin", dir);
		code = r.out < 0 ? r.out : r.err < 0 ? r.err : q->want_stdin && r.in < 0 ? r.in : 0;
	}
	if (code == 0) {
		block_signals();
		code = tree_write(c, "start", "%s/ctl", dir);
	}
	if (code < 0) {
		int exit_as = code == -ENOENT || code == -EACCES || code == -ENOEXEC ? EXIT_NO_PROGRAM
										     : EXIT_FAILED;

		if (code == -ENOTCONN)
			ctl_fail("vm exec %s: the VM is not running: banger vm start %s", q->vm, q->vm);
		else if (exit_as == EXIT_NO_PROGRAM && q->argv)
			ctl_fail("vm exec %s: %s: %s", q->vm, q->argv[0], strerror(-code));
		else
			tree_failure(c, "vm exec", object, code);
		unlinkat(c->fs, dir, AT_REMOVEDIR);
		free(r.dir);
		return exit_as;
	}
	if (q->detach) {
		puts(strrchr(dir, '/') + 1);
		free(r.dir);
		return EXIT_OK;
	}
	code = follow(&r, q);
	close_fd(r.out);
	close_fd(r.err);
	unlinkat(c->fs, dir, AT_REMOVEDIR);
	return code;
}

int exec_ssh(struct ctl *c, const char *vm)
{
	return run_job(c, &(struct request){.vm = vm, .setup = "ssh", .want_stdin = true});
}

static int vm_exec(struct ctl *c, int argc, char **argv)
{
	struct request q = {0};
	int i;

	for (i = 1; i < argc && argv[i][0] == '-' && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "-t") == 0)
			q.tty = q.want_stdin = true;
		else if (strcmp(argv[i], "-i") == 0)
			q.want_stdin = true;
		else if (strcmp(argv[i], "-d") == 0)
			q.detach = true;
		else if (strcmp(argv[i], "--env") == 0 && i + 1 < argc && q.env_count < ENV_MAX)
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
	return ctl_need_tree(c) ? run_job(c, &q) : EXIT_FAILED;
}

/* The shell that the image has. */

static int vm_shell(struct ctl *c, int argc, char **argv)
{
	bool terminal = isatty(STDIN_FILENO);
	struct request q = {.vm = argv[1], .tty = terminal, .want_stdin = true, .argv = shell_argv};

	if (argc != 2)
		return ctl_usage(ctl_command("vm shell"));
	return ctl_need_tree(c) ? run_job(c, &q) : EXIT_FAILED;
}

static int make_name(char ret[16])
{
	unsigned char random[4];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	snprintf(ret, 16, "run-%02x%02x%02x%02x", random[0], random[1], random[2], random[3]);
	return 0;
}

/* Whether NAME has never said a word: its start failed before there was anything to look at. */
static bool is_untouched(struct ctl *c, const char *name)
{
	_cleanup_free_ char *console = tree_read(c, "vms/%s/console", name);

	return console && !*console;
}

/* A second Ctrl-C doesn't leave the VM behind. */
static int clean_up(struct ctl *c, const char *name)
{
	sigset_t set, before;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, &before);
	r = vm_do(c, name, "kill");
	if (r == EXIT_OK)
		r = vm_remove(c, name);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

/* A VM for one job: made, started, and, where REMOVE says so, deleted afterwards, whatever came of it. */
static int run_once(struct ctl *c, const char *name, const char *image, bool remove, struct request *q)
{
	_cleanup_free_ char *setting = NULL;
	char made[16], *settings[1];
	int r, stopped;

	if (image && asprintf(&setting, "image=%s", image) < 0)
		return EXIT_FAILED;
	if (!q->argv)
		q->tty = isatty(STDIN_FILENO);
	if (!ctl_need_tree(c))
		return EXIT_FAILED;
	if (!name) {
		if (make_name(made) < 0)
			return ctl_fail("no random bytes");
		name = made;
	}
	settings[0] = setting;
	r = vm_make(c, name, settings, setting != NULL);
	if (r != EXIT_OK)
		return r;
	r = vm_do(c, name, "start");
	if (r == EXIT_OK) {
		q->vm = name;
		r = run_job(c, q);
	}
	/* SIGTERM, SIGHUP and Ctrl-C went to the job, so that we come here in any case. */
	if (remove || (r != EXIT_OK && name == made && is_untouched(c, name))) {
		stopped = clean_up(c, name);
		r = r ? r : stopped;
	}
	return r;
}

/* IMAGE_WORD: the image is a word of its own, not an option's. */
static int parse_and_run(struct ctl *c, int argc, char **argv, bool image_word, const char *usage)
{
	const char *name = NULL, *image = NULL;
	struct request q = {.want_stdin = true};
	bool remove = false;
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--rm") == 0)
			remove = true;
		else if (!image_word && strcmp(argv[i], "--image") == 0 && i + 1 < argc && !image)
			image = argv[++i];
		else if (strcmp(argv[i], "--name") == 0 && i + 1 < argc)
			name = argv[++i];
		else if (strcmp(argv[i], "--env") == 0 && i + 1 < argc && q.env_count < ENV_MAX)
			q.env[q.env_count++] = argv[++i];
		else if (image_word && argv[i][0] != '-' && !image)
			image = argv[i];
		else
			return ctl_usage(ctl_command(usage));
	}
	if (i < argc && argv[i + 1])
		q.argv = argv + i + 1;
	return run_once(c, name, image, remove, &q);
}

static int vm_run(struct ctl *c, int argc, char **argv)
{
	return parse_and_run(c, argc, argv, false, "vm run");
}

static int run(struct ctl *c, int argc, char **argv)
{
	return parse_and_run(c, argc, argv, true, "run");
}

const struct command commands_exec[] = {
	{"vm exec", "[-i] [-t] [-d] [--env K=V]... [--cwd DIR] [--user USER] NAME [--] CMD [ARG...]",
		"run a command in the guest; -i input, -t terminal, -d leave it running", vm_exec},
	{"vm shell", "NAME", "a shell in the guest", vm_shell},
	{"run", "[--rm] [--name NAME] [--env K=V]... [IMAGE] [-- CMD [ARG...]]",
		"a VM of an image, pulled where it isn't there, for what the image is for, or a command; "
		"--rm deletes it "
		"afterwards",
		run},
	{"vm run", "[--rm] [--image I] [--name NAME] [--env K=V]... [-- CMD [ARG...]]", "the same", vm_run},
	{NULL, NULL, NULL, NULL},
};
