#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "argv.h"
#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "banger/program.h"
#include "caps.h"
#include "check.h"
#include "launch_fds.h"
#include "launcher.h"

#define ANSWER_MSEC 20000 /* for a reaper to say something; loaded machines are slow */

/* The reaper's file, put into the program by the linker (Makefile). */
extern const char reaper_begin[] __asm__("_binary_reaper_start");
extern const char reaper_end[] __asm__("_binary_reaper_end");

/* What travels to the launcher, with descriptors: report, program, LAUNCH's ten, the tap where there is one. */
struct order {
	struct helper_request request;
	uid_t user;
	int has_tap;
};

struct launcher {
	int sock;
	pid_t pid;
};

/* --- in the launcher --- */

static int make_reaper_file(void)
{
	size_t size = (size_t)(reaper_end - reaper_begin);
	int fd = memfd_create("banger-reaper", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || io_write_full(fd, reaper_begin, size) < 0 || fchmod(fd, 0555) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return -errno;
	return fd;
}

static void report_failure(int fd, int code)
{
	struct report r = {.value = code};

	io_send_fds(fd, &r, sizeof(r), NULL, 0);
	_exit(1);
}

/* In the child that becomes the reaper. FDS in the order of launch_fds.h from FD_REPORT on, those that aren't there negative. */
static void become_reaper(int reaper_file, const struct order *o, int *fds, size_t n)
{
	uid_t id = o->user;
	_cleanup_err_ struct err e = {0};
	struct argv argv;
	struct stat kvm;
	gid_t group = 0;
	size_t groups = 0;
	char *full[ARGV_MAX + 3], max[24];
	int report = fds[0];

	if (argv_qemu(&o->request, &argv, &e) < 0)
		report_failure(report, e.code);
	if (o->request.u.launch.accel == HELPER_ACCEL_KVM && stat("/dev/kvm", &kvm) == 0 &&
		(kvm.st_mode & S_IWGRP)) {
		group = kvm.st_gid;
		groups = 1;
	}
	setsid();
	/* Out of the way of the numbers they shall have, then there. */
	for (size_t i = 0; i < n; i++) {
		int high = fds[i] < 0 ? -EBADF : fcntl(fds[i], F_DUPFD_CLOEXEC, 64);

		if (fds[i] >= 0 && high < 0)
			report_failure(report, -errno);
		fds[i] = high;
	}
	report = fds[0];
	reaper_file = fcntl(reaper_file, F_DUPFD_CLOEXEC, 64);
	for (size_t i = 0; i < n; i++)
		if (fds[i] >= 0 && dup2(fds[i], FD_REPORT + (int)i) < 0)
			report_failure(report, -errno);
	for (int i = 0; i < 3; i++) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		if (null < 0 || dup2(null, i) < 0)
			report_failure(report, -errno);
	}
	if (setgroups(groups, &group) < 0 || setresgid((gid_t)id, (gid_t)id, (gid_t)id) < 0 ||
		setresuid(id, id, id) < 0)
		report_failure(report, -errno);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || chdir("/") < 0)
		report_failure(report, -errno);
	umask(077);
	snprintf(max, sizeof(max), "%llu", (unsigned long long)o->request.u.launch.console_max);
	full[0] = (char *)"banger-reaper";
	full[1] = max;
	for (int i = 0; i <= argv.n; i++)
		full[2 + i] = argv.args[i];
	syscall(SYS_execveat, reaper_file, "", full, (char *[]){NULL}, AT_EMPTY_PATH);
	report_failure(report, -errno);
}

#define ORDERED (FD_TAP + 1 - FD_REPORT)

/* What came with O, by the number that it shall have: report, program, LAUNCH's own, the tap. */
static void put_in_order(const struct order *o, const int *fds, int ret[ORDERED])
{
	static const struct {
		int number;
		enum helper_launch_fd fd;
	} places[] = {{FD_EXIT, LAUNCH_FD_EXIT}, {FD_CONSOLE, LAUNCH_FD_CONSOLE}, {FD_TTY, LAUNCH_FD_TTY},
		{FD_KERNEL, LAUNCH_FD_KERNEL}, {FD_INITRD, LAUNCH_FD_INITRD}, {FD_QMP, LAUNCH_FD_QMP},
		{FD_AGENT, LAUNCH_FD_AGENT}};
	size_t n;
	const struct launch_disk *disks = launch_disks(o->request.u.launch.storage, &n);

	for (int i = 0; i < ORDERED; i++)
		ret[i] = -EBADF;
	ret[FD_REPORT - FD_REPORT] = fds[0];
	ret[FD_PROGRAM - FD_REPORT] = fds[1];
	for (size_t i = 0; i < ELEMENTSOF(places); i++)
		ret[places[i].number - FD_REPORT] = fds[2 + places[i].fd];
	for (size_t i = 0; i < n; i++)
		ret[FD_DISK + (int)i - FD_REPORT] = fds[2 + disks[i].fd];
	if (o->has_tap)
		ret[FD_TAP - FD_REPORT] = fds[2 + LAUNCH_FD_COUNT];
}

static void launcher_loop(int sock)
{
	int reaper_file = make_reaper_file();

	signal(SIGCHLD, SIG_IGN); /* reapers are not waited for */
	for (;;) {
		int fds[IO_FDS_MAX];
		struct order o;
		size_t n = 0;
		ssize_t k = io_recv_fds(sock, &o, sizeof(o), fds, IO_FDS_MAX, &n, 0);

		if (k == 0)
			_exit(0);
		if (k != sizeof(o) || n != 2 + LAUNCH_FD_COUNT + (size_t)(o.has_tap != 0))
			_exit(1);
		if (fork() == 0) {
			int ordered[ORDERED];

			put_in_order(&o, fds, ordered);
			signal(SIGCHLD, SIG_DFL);
			become_reaper(reaper_file, &o, ordered, ORDERED);
		}
		while (n > 0)
			close_fd(fds[--n]);
	}
}

/* --- in the helper --- */

int launcher_new(struct launcher **ret, struct err *e)
{
	struct launcher *l = calloc(1, sizeof(*l));
	int pair[2];

	if (!l)
		return err_sys(e, -ENOMEM, "launcher");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		free(l);
		return err_sys(e, -errno, "launcher");
	}
	l->pid = fork();
	if (l->pid < 0) {
		int code = -errno;

		close_fd(pair[0]);
		close_fd(pair[1]);
		free(l);
		return err_sys(e, code, "launcher");
	}
	if (l->pid == 0) {
		sigset_t none;

		/* The helper's signals, blocked for its signalfd, are not ours; nor is anything it has open. */
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		if (dup2(pair[1], 3) < 0)
			_exit(1);
		syscall(SYS_close_range, 4, ~0u, 0);
		fcntl(3, F_SETFD, FD_CLOEXEC);
		if (caps_launcher(e) < 0) {
			fprintf(stderr, "banger-helper: launcher: %s\n", err_text(e));
			_exit(1);
		}
		launcher_loop(3);
	}
	close_fd(pair[1]);
	l->sock = pair[0];
	*ret = l;
	return 0;
}

struct launcher *launcher_free(struct launcher *l)
{
	if (l) {
		close_fd(l->sock);
		waitpid(l->pid, NULL, 0);
		free(l);
	}
	return NULL;
}

/* FIELD, from 4 on, of /proc/PID/stat (proc(5)); -ESRCH. */
static int stat_field(int pid, int wanted, uint64_t *ret)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	char *at, *field;

	if (asprintf(&path, "/proc/%d/stat", pid) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (io_read_file(AT_FDCWD, path, 4096, &text, NULL, NULL) < 0)
		return -ESRCH;
	/* The name, field 2, is in brackets and may hold anything: what follows its last one is field 3. */
	at = strrchr(text, ')');
	if (!at)
		return -ESRCH;
	at += 2;
	for (int i = 3; i < wanted; i++)
		strsep(&at, " ");
	field = strsep(&at, " ");
	return field && parse_u64(field, 0, UINT64_MAX, ret) == 0 ? 0 : -ESRCH;
}

int launcher_starttime(int pid, uint64_t *ret)
{
	return stat_field(pid, 22, ret);
}

/* One report, and the descriptor it may carry. */
static int hear(int sock, struct report *ret, int *ret_fd, struct err *e)
{
	struct pollfd p = {.fd = sock, .events = POLLIN};
	int fd = -EBADF, r;
	size_t n = 0;
	ssize_t k;

	do
		r = poll(&p, 1, ANSWER_MSEC);
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		return err_set(e, -ETIMEDOUT, "the reaper doesn't answer");
	k = io_recv_fds(sock, ret, sizeof(*ret), &fd, 1, &n, 0);
	if (k != sizeof(*ret)) {
		if (n)
			close_fd(fd);
		return err_set(e, -EIO, "the reaper ended");
	}
	*ret_fd = n ? fd : -EBADF;
	return 0;
}

/* The pid that a pidfd stands for, by its fdinfo (proc(5)); -ESRCH. */
static int pidfd_pid(int pidfd)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	char *at;
	uint64_t pid;

	if (asprintf(&path, "/proc/self/fdinfo/%d", pidfd) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (io_read_file(AT_FDCWD, path, 4096, &text, NULL, NULL) < 0 || !(at = strstr(text, "\nPid:\t")))
		return -ESRCH;
	at += strlen("\nPid:\t");
	at[strcspn(at, "\n")] = '\0';
	return parse_u64(at, 1, INT32_MAX, &pid) == 0 ? (int)pid : -ESRCH;
}

static int converse(int sock, launcher_record_fn record, void *data, int *ret_pidfd, struct err *e)
{
	_cleanup_close_ int pidfd = -EBADF, none = -EBADF;
	struct report said;
	uint64_t starttime, reaper;
	int r;

	r = hear(sock, &said, &pidfd, e);
	if (r < 0)
		return r;
	if (said.value <= 0 || pidfd < 0)
		return err_sys(e, said.value < 0 ? said.value : -EIO, "starting the VMM");
	/* Who speaks is its parent: a socket pair's own credentials are those of who made it, ours. */
	if (pidfd_pid(pidfd) != said.value || launcher_starttime(said.value, &starttime) < 0 ||
		stat_field(said.value, 4, &reaper) < 0)
		return err_set(e, -EIO, "the VMM is not who the reaper says");
	r = record(data, said.value, (int)reaper, starttime, e);
	if (r == 0 && send(sock, &said, sizeof(said), MSG_NOSIGNAL) < 0)
		r = err_sys(e, -errno, "the reaper");
	if (r == 0)
		r = hear(sock, &said, &none, e);
	if (r == 0 && said.value < 0)
		r = err_sys(e, said.value, "running QEMU");
	if (r < 0) {
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
		return r;
	}
	*ret_pidfd = TAKE_FD(pidfd);
	return 0;
}

int launcher_run(struct launcher *l, const struct helper_request *request, uid_t user,
	const int fds[LAUNCH_FD_COUNT], int tap_fd, launcher_record_fn record, void *data, int *ret_pidfd,
	struct err *e)
{
	struct order o = {.request = *request, .user = user, .has_tap = tap_fd >= 0};
	_cleanup_close_ int program = -EBADF, mine = -EBADF, theirs = -EBADF;
	int all[IO_FDS_MAX], pair[2], r;
	size_t n = 0;

	r = program_open_qemu(NULL, &program, e);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, -errno, "launcher");
	mine = pair[0];
	theirs = pair[1];
	all[n++] = theirs;
	all[n++] = program;
	for (int i = 0; i < LAUNCH_FD_COUNT; i++)
		all[n++] = fds[i];
	if (tap_fd >= 0)
		all[n++] = tap_fd;
	r = io_send_fds(l->sock, &o, sizeof(o), all, n);
	if (r < 0)
		return err_sys(e, r, "the launcher");
	theirs = close_fd(theirs);
	return converse(mine, record, data, ret_pidfd, e);
}
