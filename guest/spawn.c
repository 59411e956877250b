#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "banger/agent_proto.h"
#include "banger/cleanup.h"
#include "banger/guest_config.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "spawn.h"

#define ARGS_MAX 1024
/* What a job can write ahead of the agent: as much as the host takes before it gives more credit. */
#define PIPE_SIZE AGENT_WINDOW
#define BASE_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

int spawn_parse(const uint8_t *payload, size_t n, struct spawn *ret)
{
	struct {
		uint32_t flags;
		uint16_t rows, cols;
		uint32_t argc, envc;
	} head;
	struct spawn s = {0};
	size_t at = 0, size;

	*ret = s;
	if (n < sizeof(head) + 2)
		return -EINVAL;
	memcpy(&head, payload, sizeof(head));
	size = n - sizeof(head);
	if (head.argc < 1 || head.argc > ARGS_MAX || head.envc > ARGS_MAX || payload[n - 1] != '\0')
		return -EINVAL;
	s.text = malloc(size);
	s.argv = calloc(head.argc + 1, sizeof(*s.argv));
	s.env = calloc(head.envc + 1, sizeof(*s.env));
	*ret = s;
	if (!s.text || !s.argv || !s.env)
		return -ENOMEM;
	memcpy(s.text, payload + sizeof(head), size);
	for (uint32_t i = 0; i < head.argc + head.envc + 2; i++) {
		char *string = s.text + at;

		if (at >= size)
			return -EINVAL;
		at += strlen(string) + 1;
		if (i < head.argc)
			s.argv[i] = string;
		else if (i < head.argc + head.envc)
			s.env[i - head.argc] = string;
		else if (i == head.argc + head.envc)
			s.cwd = string;
		else
			s.user = string;
	}
	if (at != size)
		return -EINVAL;
	s.tty = head.flags & AGENT_EXEC_TTY;
	s.want_stdin = head.flags & AGENT_EXEC_STDIN;
	s.by_mise = head.flags & AGENT_EXEC_MISE;
	s.stop_signal = (int)(head.flags >> AGENT_EXEC_STOP_SHIFT & 0xff);
	s.rows = head.rows;
	s.cols = head.cols;
	*ret = s;
	return 0;
}

void spawn_clear(struct spawn *s)
{
	free(s->text);
	free(s->argv);
	free(s->env);
	*s = (struct spawn){0};
}

struct account {
	uid_t uid;
	gid_t gid;
	char *name, *home, *shell;
};

static int find_group(const char *name, gid_t *ret)
{
	const struct group *g = getgrnam(name);
	uint64_t number;

	if (!g && parse_u64(name, 0, UINT32_MAX - 1, &number) < 0)
		return -ENOENT;
	*ret = g ? g->gr_gid : (gid_t)number;
	return 0;
}

/* WHO: a name or a number; after a ':' the group, likewise (as OCI image-spec config.md has it for User). */
static int find_account(const char *who, struct account *ret)
{
	_cleanup_free_ char *user = strndup(who, strcspn(who, ":"));
	const char *group = strchr(who, ':');
	uint64_t number = 0;
	struct passwd *p;
	int r;

	if (user && !*user) {
		free(user);
		user = strdup("root");
	}
	if (!user)
		return -ENOMEM;
	p = getpwnam(user);
	if (!p && parse_u64(user, 0, UINT32_MAX - 1, &number) == 0)
		p = getpwuid((uid_t)number);
	else if (!p && strcmp(user, "root") != 0)
		return -ENOENT;
	/* A number, or root, needs no entry. */
	ret->uid = p ? p->pw_uid : (uid_t)number;
	ret->gid = p ? p->pw_gid : (gid_t)number;
	r = group && group[1] ? find_group(group + 1, &ret->gid) : 0;
	if (r < 0)
		return r;
	ret->name = strdup(p ? p->pw_name : user);
	ret->home = strdup(p && *p->pw_dir ? p->pw_dir : ret->uid == 0 ? "/root" : "/");
	ret->shell = strdup(p && *p->pw_shell ? p->pw_shell : "/bin/sh");
	return ret->name && ret->home && ret->shell ? 0 : -ENOMEM;
}

static void free_account(struct account *a)
{
	free(a->name);
	free(a->home);
	free(a->shell);
}

static int open_tty(uint16_t rows, uint16_t cols, int *ret_master, int *ret_slave)
{
	_cleanup_close_ int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	int slave, zero = 0;

	if (master < 0 || ioctl(master, TIOCSPTLCK, &zero) < 0)
		return -errno;
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return -errno;
	ioctl(master, TIOCSWINSZ, &(struct winsize){.ws_row = rows ? rows : 24, .ws_col = cols ? cols : 80});
	*ret_master = TAKE_FD(master);
	*ret_slave = slave;
	return 0;
}

/*
 * As execvp(3), but that it looks first: an execve(2) that finds nothing has made an address space before it knows. Comes back with errno when there is no
 * such program.
 */
static void exec_found(char *const argv[])
{
	const char *at = getenv("PATH"), *name = argv[0];
	bool denied = false;
	char path[PATH_MAX];

	if (strchr(name, '/')) {
		execv(name, argv);
		return;
	}
	while (*name && at) {
		size_t n = strcspn(at, ":");

		/* An empty one is the folder that we are in. */
		if (snprintf(path, sizeof(path), "%.*s%s%s", (int)n, at, n ? "/" : "", name) <
				(int)sizeof(path) &&
			access(path, X_OK) == 0)
			execv(path, argv);
		else
			errno = errno == EACCES ? EACCES : ENOENT;
		denied |= errno == EACCES;
		if (errno != EACCES && errno != ENOENT && errno != ENOTDIR)
			return;
		at = at[n] ? at + n + 1 : NULL;
	}
	errno = denied ? EACCES : ENOENT;
}

/* The program, with the tools that mise has for the folder. Comes back where there is no mise. */
static void exec_by_mise(const struct spawn *s, const char *home)
{
	static char *const front[] = {(char *)"mise", (char *)"exec", (char *)"--"};
	_cleanup_free_ char *own = NULL;
	char *argv[ELEMENTSOF(front) + ARGS_MAX + 1];
	size_t n = 0;

	for (; n < ELEMENTSOF(front); n++)
		argv[n] = front[n];
	for (char **arg = s->argv; *arg; arg++)
		argv[n++] = *arg;
	argv[n] = NULL;
	/* What was prepared is what the user has on his host. */
	setenv("MISE_TRUSTED_CONFIG_PATHS", GUEST_WORKSPACE, 0);
	exec_found(argv);
	if (asprintf(&own, "%s/.local/bin/mise", home) < 0)
		own = NULL;
	else if (access(own, X_OK) == 0)
		execv(own, argv);
}

/* In the child, up to the program; what goes wrong is written to REPORT. */
static void child(const struct spawn *s, const struct account *a, const int fds[3], int report)
{
	sigset_t none;
	int r;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig <= 64; sig++)
		signal(sig, SIG_DFL);
	setsid();
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			goto failed;
	if (s->tty)
		ioctl(0, TIOCSCTTY, 0);
	/* The agent's oom protection is not the job's. */
	r = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (r >= 0 && write(r, "0", 1) < 0)
		errno = 0;
	/* Nor is how many files it may have open: what systemd and the kernel give, for there are programs that close each one that there could be. */
	setrlimit(RLIMIT_NOFILE, &(struct rlimit){1024, 524288});
	clearenv();
	setenv("PATH", BASE_PATH, 1);
	setenv("HOME", a->home, 1);
	setenv("USER", a->name, 1);
	setenv("LOGNAME", a->name, 1);
	setenv("SHELL", a->shell, 1);
	setenv("LANG", "C.UTF-8", 1);
	if (s->tty)
		setenv("TERM", "xterm-256color", 1);
	for (char **env = s->env; *env; env++)
		if (strchr(*env, '='))
			putenv(*env);
	umask(022);
	if (initgroups(a->name, a->gid) < 0 && setgroups(1, &a->gid) < 0)
		goto failed;
	if (setgid(a->gid) < 0 || setuid(a->uid) < 0)
		goto failed;
	/* Nobody else knows of it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (*s->cwd ? chdir(s->cwd) < 0
		    : (chdir(GUEST_WORKSPACE) < 0 && chdir(a->home) < 0 && chdir("/") < 0))
		goto failed;
	if (s->by_mise)
		exec_by_mise(s, a->home);
	exec_found(s->argv);
failed:
	r = errno;
	(void)!write(report, &r, sizeof(r));
	_exit(127);
}

struct pipes {
	int child[3], in, out[2];
	bool tty;
};

static int make_pipes(const struct spawn *s, struct pipes *p)
{
	int in[2] = {-EBADF, -EBADF}, out[2], err[2];
	int r;

	if (s->tty) {
		r = open_tty(s->rows, s->cols, &p->out[0], &p->child[0]);
		if (r < 0)
			return r;
		p->child[1] = fcntl(p->child[0], F_DUPFD_CLOEXEC, 3);
		p->child[2] = fcntl(p->child[0], F_DUPFD_CLOEXEC, 3);
		p->in = p->out[0];
		return p->child[1] < 0 || p->child[2] < 0 ? -errno : 0;
	}
	if (s->want_stdin) {
		if (pipe2(in, O_CLOEXEC) < 0)
			return -errno;
		p->child[0] = in[0];
		p->in = in[1];
	} else {
		p->child[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	if (pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	p->out[0] = out[0];
	p->child[1] = out[1];
	if (pipe2(err, O_CLOEXEC) < 0)
		return -errno;
	p->out[1] = err[0];
	p->child[2] = err[1];
	for (int i = 0; i < 2; i++)
		fcntl(p->out[i], F_SETFL, O_NONBLOCK);
	fcntl(p->out[0], F_SETPIPE_SZ, PIPE_SIZE);
	if (p->in >= 0)
		fcntl(p->in, F_SETFL, O_NONBLOCK);
	return p->child[0] < 0 ? -errno : 0;
}

int spawn_run(const struct spawn *s, struct spawned *ret)
{
	struct pipes p = {
		.child = {-EBADF, -EBADF, -EBADF}, .in = -EBADF, .out = {-EBADF, -EBADF}, .tty = s->tty};
	struct account account = {0};
	int report[2] = {-EBADF, -EBADF}, failed = 0, r;
	pid_t pid = -1;

	r = find_account(s->user, &account);
	if (r == 0)
		r = make_pipes(s, &p);
	if (r == 0 && pipe2(report, O_CLOEXEC) < 0)
		r = -errno;
	if (r == 0) {
		pid = fork();
		if (pid < 0)
			r = -errno;
		else if (pid == 0)
			child(s, &account, p.child, report[1]);
	}
	free_account(&account);
	close_fd(report[1]);
	for (int i = 0; i < 3; i++)
		close_fd(p.child[i]);
	/* The end of the pipe, closed by exec, is the good news. */
	if (r == 0 && io_read_full(report[0], &failed, sizeof(failed)) == 0)
		r = failed > 0 && failed < 4096 ? -failed : -EIO;
	close_fd(report[0]);
	if (r < 0) {
		if (!p.tty)
			close_fd(p.in);
		close_fd(p.out[0]);
		close_fd(p.out[1]);
		return r;
	}
	*ret = (struct spawned){.pid = pid, .tty = p.tty, .in = p.in, .out = {p.out[0], p.out[1]}};
	return 0;
}
