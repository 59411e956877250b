#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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
#include "account.h"
#include "spawn.h"

#define ARGS_MAX 1024
/* What a job can write ahead of the agent: as much as the host takes before it gives more credit. */
#define PIPE_SIZE    AGENT_WINDOW
#define DEFAULTS_MAX 8 /* of what a job's environment has anyway */
#define BASE_PATH    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

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

/* A process to be, with all that takes memory or files to find out: its making shares the agent's memory until the program has begun. */
struct plan {
	const struct spawn *s;
	const struct account *account;
	char **env; /* NULL-terminated; those from MADE on are the plan's own */
	size_t env_count, made;
	const char *path; /* in ENV */
	char *mise;       /* of his own folder */
	char **by_mise;   /* ARGV behind `mise exec --`, ended; NULL: without */
	const int *fds;   /* 0, 1 and 2 */
	volatile int failed;
};

static void clear_plan(struct plan *p)
{
	for (size_t i = p->made; p->env && i < p->env_count; i++)
		free(p->env[i]);
	free(p->env);
	free(p->mise);
	free(p->by_mise);
}

static const char *env_find(const struct plan *p, const char *name, size_t n)
{
	for (size_t i = p->env_count; i-- > 0;)
		if (strncmp(p->env[i], name, n) == 0 && p->env[i][n] == '=')
			return p->env[i] + n + 1;
	return NULL;
}

/* What the job itself says goes before. */
static int env_default(struct plan *p, const char *name, const char *value)
{
	char *made;

	if (env_find(p, name, strlen(name)))
		return 0;
	if (asprintf(&made, "%s=%s", name, value) < 0)
		return -ENOMEM;
	p->env[p->env_count++] = made;
	return 0;
}

static int plan_env(struct plan *p)
{
	const struct spawn *s = p->s;
	const struct account *a = p->account;
	size_t n = 0;

	while (s->env[n])
		n++;
	p->env = calloc(n + DEFAULTS_MAX + 1, sizeof(*p->env));
	if (!p->env)
		return -ENOMEM;
	/* The last one of a name is the one. */
	while (n-- > 0) {
		const char *is = strchr(s->env[n], '=');

		if (is && !env_find(p, s->env[n], (size_t)(is - s->env[n])))
			p->env[p->env_count++] = s->env[n];
	}
	p->made = p->env_count;
	if (env_default(p, "PATH", BASE_PATH) < 0 || env_default(p, "HOME", a->home) < 0 ||
		env_default(p, "USER", a->name) < 0 || env_default(p, "LOGNAME", a->name) < 0 ||
		env_default(p, "SHELL", a->shell) < 0 || env_default(p, "LANG", "C.UTF-8") < 0 ||
		(s->tty && env_default(p, "TERM", "xterm-256color") < 0) ||
		/* What was prepared is what the user has on his host. */
		(s->by_mise && env_default(p, "MISE_TRUSTED_CONFIG_PATHS", GUEST_WORKSPACE) < 0))
		return -ENOMEM;
	p->path = env_find(p, "PATH", 4);
	return 0;
}

/* The program, with the tools that mise has for the folder. */
static int plan_mise(struct plan *p)
{
	static char *const front[] = {(char *)"mise", (char *)"exec", (char *)"--"};
	size_t n = 0;

	while (p->s->argv[n])
		n++;
	p->by_mise = calloc(ELEMENTSOF(front) + n + 1, sizeof(*p->by_mise));
	if (!p->by_mise || asprintf(&p->mise, "%s/.local/bin/mise", p->account->home) < 0)
		return -ENOMEM;
	memcpy(p->by_mise, front, sizeof(front));
	memcpy(p->by_mise + ELEMENTSOF(front), p->s->argv, n * sizeof(*p->by_mise));
	return 0;
}

static int plan_make(const struct spawn *s, const int fds[3], struct plan *p)
{
	int r = account_find(s->user, &p->account);

	p->s = s;
	p->fds = fds;
	if (r == 0)
		r = plan_env(p);
	return r == 0 && s->by_mise ? plan_mise(p) : r;
}

/*
 * As execvpe(3), but that it looks first: an execve(2) that finds nothing has made an address space before it knows. Comes back with errno when there is no
 * such program.
 */
static void exec_found(char *const argv[], const struct plan *p)
{
	const char *at = p->path, *name = argv[0];
	bool denied = false;
	char path[PATH_MAX];

	if (strchr(name, '/')) {
		execve(name, argv, p->env);
		return;
	}
	while (*name && at) {
		size_t n = strcspn(at, ":");

		/* An empty one is the folder that we are in. */
		if (snprintf(path, sizeof(path), "%.*s%s%s", (int)n, at, n ? "/" : "", name) <
				(int)sizeof(path) &&
			access(path, X_OK) == 0)
			execve(path, argv, p->env);
		else
			errno = errno == EACCES ? EACCES : ENOENT;
		denied |= errno == EACCES;
		if (errno != EACCES && errno != ENOENT && errno != ENOTDIR)
			return;
		at = at[n] ? at + n + 1 : NULL;
	}
	errno = denied ? EACCES : ENOENT;
}

/* The agent's oom protection is not the job's. The kernel knows a child of vfork(2) here (mm/oom_kill.c, fs/proc/base.c): the agent keeps its own. */
static void give_up_protection(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)!write(fd, "0", 1);
	close_fd(fd);
}

/* setgroups(2) and the like of this process only: the C library's are for all threads of a program. */
static bool become(const struct plan *p)
{
	return syscall(SYS_setgroups, p->account->group_count, p->account->groups) == 0 &&
	       syscall(SYS_setgid, p->account->gid) == 0 && syscall(SYS_setuid, p->account->uid) == 0;
}

/* In the child, up to the program. Memory is the agent's, which waits: nothing is allocated, and no handler of the agent's is there to run. */
static _Noreturn void child(struct plan *p)
{
	const struct spawn *s = p->s;
	sigset_t none;

	for (int sig = 1; sig <= 64; sig++)
		signal(sig, SIG_DFL);
	setsid();
	for (int i = 0; i < 3; i++)
		if (dup2(p->fds[i], i) < 0)
			goto failed;
	if (s->tty)
		ioctl(0, TIOCSCTTY, 0);
	give_up_protection();
	/* Nor is how many files it may have open: what systemd and the kernel give, for there are programs that close each one that there could be. */
	setrlimit(RLIMIT_NOFILE, &(struct rlimit){1024, 524288});
	umask(022);
	if (!become(p))
		goto failed;
	/* Nobody else knows of it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (*s->cwd ? chdir(s->cwd) < 0
		    : (chdir(GUEST_WORKSPACE) < 0 && chdir(p->account->home) < 0 && chdir("/") < 0))
		goto failed;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (p->by_mise)
		exec_found(p->by_mise, p);
	if (p->by_mise && access(p->mise, X_OK) == 0)
		execve(p->mise, p->by_mise, p->env);
	exec_found(s->argv, p);
failed:
	p->failed = errno;
	_exit(127);
}

/*
 * vfork(2): a copy of the agent's address space, which the program throws away at once, is most of what a start costs. Comes back when the program has begun
 * or the child has ended.
 */
static __attribute__((noinline)) pid_t begin(struct plan *p)
{
	pid_t pid = vfork();

	if (pid == 0)
		child(p);
	return pid < 0 ? -errno : pid;
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
	struct plan plan = {0};
	pid_t pid = -1;
	int r = plan_make(s, p.child, &plan);

	if (r == 0)
		r = make_pipes(s, &p);
	if (r == 0) {
		pid = begin(&plan);
		r = pid < 0 ? pid : -plan.failed;
	}
	clear_plan(&plan);
	for (int i = 0; i < 3; i++)
		close_fd(p.child[i]);
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
