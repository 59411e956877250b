#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "banger/program.h"
#include "caps.h"
#include "check.h"
#include "child.h"
#include "launch_fds.h"
#include "launcher.h"
#include "mounter.h"
#include "scope.h"
#include "stage.h"
#include "vmm.h"

#define ANSWER_MSEC 20000 /* for a reaper to say something; loaded machines are slow */
#define ABOVE       64    /* all numbers that a reaper or a VMM finds something at are below */

/* The reaper's file, put into the program by the linker (Makefile). */
extern const char reaper_begin[] __asm__("_binary_reaper_start");
extern const char reaper_end[] __asm__("_binary_reaper_end");

/* What travels to the launcher beside an order; a jailed VMM's alone, or QEMU's alone, are left out of the other's. */
enum parcel {
	PARCEL_REPORT,
	PARCEL_PROGRAM,
	PARCEL_JAILED,
	PARCEL_MOUNTS,
	PARCEL_SOCKETS,
	PARCEL_TAP,
	PARCEL_FDS, /* LAUNCH's, in its order */
	PARCEL_COUNT = PARCEL_FDS + LAUNCH_FD_COUNT,
};

struct order {
	struct helper_request request;
	uid_t user;
	uint32_t cid;
	uint32_t there; /* 1 << enum parcel: its descriptor came */
};

_Static_assert(PARCEL_COUNT <= 32, "a bit each");

struct launcher {
	struct child child;
	struct mounter *mounter; /* borrowed */
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

static _Noreturn void report_failure(int fd, int code, enum launch_step step)
{
	struct report r = {.value = code, .step = (int)step};

	io_send_fds(fd, &r, sizeof(r), NULL, 0);
	_exit(1);
}

/* Out of the way of the numbers that others shall have. */
static int raise_fd(int *fd)
{
	int high = fcntl(*fd, F_DUPFD_CLOEXEC, ABOVE);

	if (high < 0)
		return -errno;
	close_fd(*fd);
	*fd = high;
	return 0;
}

static int raise_pair(int r, int pair[2])
{
	if (r < 0)
		return -errno;
	r = raise_fd(&pair[0]);
	return r == 0 ? raise_fd(&pair[1]) : r;
}

/* Of each the first is the reaper's, the second the VMM's. */
struct lines {
	int serial[2], monitor[2], errors[2], go[2], failed[2];
};

static void swap(int pair[2])
{
	int first = pair[0];

	pair[0] = pair[1];
	pair[1] = first;
}

static int make_lines(struct lines *l, int with_monitor)
{
	int r;

	*l = (struct lines){.monitor = {-EBADF, -EBADF}};
	if ((r = raise_pair(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, l->serial), l->serial)) < 0 ||
		(r = raise_pair(pipe2(l->errors, O_CLOEXEC), l->errors)) < 0 ||
		(r = raise_pair(pipe2(l->go, O_CLOEXEC), l->go)) < 0 ||
		(r = raise_pair(pipe2(l->failed, O_CLOEXEC), l->failed)) < 0)
		return r;
	swap(l->go);
	if (!with_monitor)
		return 0;
	return raise_pair(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, l->monitor), l->monitor);
}

/* A VMM's parent has its rights, and nothing but what the reaper is to have. */
static _Noreturn void become_reaper(int reaper_file, const struct order *o, int report, int pid, int pidfd,
	const struct lines *l, const int parcels[PARCEL_COUNT])
{
	const struct {
		int from, to;
	} rows[] = {
		{report, FD_REPORT},
		{parcels[PARCEL_FDS + LAUNCH_FD_EXIT], FD_EXIT},
		{parcels[PARCEL_FDS + LAUNCH_FD_CONSOLE], FD_CONSOLE},
		{parcels[PARCEL_FDS + LAUNCH_FD_TTY], FD_TTY},
		{pidfd, FD_REAPED},
		{l->go[0], FD_GO},
		{l->failed[0], FD_FAILED},
		{l->serial[0], FD_OUTPUT},
		{l->errors[0], FD_ERRORS},
		{l->monitor[0], FD_MONITOR},
	};
	gid_t group = (gid_t)o->user;
	char max[24], child[24];

	for (size_t i = 0; i < ELEMENTSOF(rows); i++)
		if (rows[i].from < 0)
			close(rows[i].to);
		else if (dup2(rows[i].from, rows[i].to) < 0)
			report_failure(report, -errno, STEP_PROGRAM);
	if (setgroups(0, NULL) < 0 || setresgid(group, group, group) < 0 ||
		setresuid(o->user, o->user, o->user) < 0)
		report_failure(report, -errno, STEP_USER);
	snprintf(max, sizeof(max), "%llu", (unsigned long long)o->request.u.launch.console_max);
	snprintf(child, sizeof(child), "%d", pid);
	syscall(SYS_execveat, reaper_file, "", (char *[]){(char *)"banger-reaper", max, child, NULL},
		(char *[]){NULL}, AT_EMPTY_PATH);
	report_failure(report, -errno, STEP_PROGRAM);
}

/* In a child of the launcher's: has the VMM as its own child, then is its reaper. */
static _Noreturn void start(
	const struct instance *inst, int reaper_file, const struct order *o, int parcels[PARCEL_COUNT])
{
	enum helper_engine engine = o->request.u.launch.engine;
	int jailed = engine == HELPER_ENGINE_FIRECRACKER, report = parcels[PARCEL_REPORT], pidfd = -EBADF, r;
	struct lines l;
	struct vmm v = {
		.inst = inst,
		.request = &o->request,
		.user = o->user,
		.cid = o->cid,
		.idmap_fd = -EBADF,
	};
	pid_t pid;

	for (int i = 0; i < 3; i++) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		if (null < 0 || dup2(null, i) < 0)
			report_failure(report, -errno, STEP_PROGRAM);
	}
	for (int i = 0; i < PARCEL_COUNT; i++)
		if (parcels[i] >= 0 && (r = raise_fd(&parcels[i])) < 0)
			report_failure(report, r, STEP_PROGRAM);
	report = parcels[PARCEL_REPORT];
	if ((r = raise_fd(&reaper_file)) < 0 || (r = make_lines(&l, !jailed)) < 0)
		report_failure(report, r, STEP_PROGRAM);
	if (jailed && (r = stage_idmap(inst, o->user, &v.idmap_fd)) < 0)
		report_failure(report, r, STEP_NAMESPACE);
	v.program_fd = parcels[PARCEL_PROGRAM];
	v.jailed_fd = parcels[PARCEL_JAILED];
	v.mounts_fd = parcels[PARCEL_MOUNTS];
	v.sockets_fd = parcels[PARCEL_SOCKETS];
	v.tap_fd = parcels[PARCEL_TAP];
	memcpy(v.fds, parcels + PARCEL_FDS, sizeof(v.fds));
	v.go_fd = l.go[1];
	v.failed_fd = l.failed[1];
	v.serial = l.serial[1];
	v.monitor = l.monitor[1];
	v.errors = l.errors[1];
	if ((r = scopes_make_above(inst->scopes)) < 0)
		report_failure(report, r, STEP_CGROUP);
	/* Not clone3(): its flags are out of a filter's sight, so a unit with RestrictNamespaces= has none of it. */
	pid = (pid_t)syscall(SYS_clone, CLONE_PIDFD | SIGCHLD | VMM_NAMESPACES, NULL, &pidfd, NULL, 0);
	if (pid < 0)
		report_failure(report, -errno, STEP_NAMESPACE);
	if (pid == 0) {
		/* The reaper's end of the pipe would let it wait for ever, for itself. */
		close_fd(l.go[0]);
		vmm_become(&v);
	}
	if ((r = raise_fd(&pidfd)) < 0)
		report_failure(report, r, STEP_PROGRAM);
	become_reaper(reaper_file, o, report, pid, pidfd, &l, parcels);
}

/* Whether what came is what O says, put in its places. */
static int unpack(const struct order *o, const int *fds, size_t n, int ret[PARCEL_COUNT])
{
	size_t k = 0;

	for (int i = 0; i < PARCEL_COUNT; i++)
		if (!(o->there & 1u << i))
			ret[i] = -EBADF;
		else if (k < n)
			ret[i] = fds[k++];
		else
			return -EBADMSG;
	return k == n ? 0 : -EBADMSG;
}

static void launcher_loop(int sock, int none, const void *data)
{
	const struct instance *inst = data;
	int reaper_file = make_reaper_file();
	_cleanup_err_ struct err e = {0};

	(void)none;
	/*
	 * All VMMs are of this session, and none has its own: the scheduler would share the processors among sessions (sched(7), autogroup), and let one
	 * emulated processor wait for the others' for 100 to 350 ms. A guest that is measuring its timer's pace meanwhile gives the timer up, and hangs
	 * (Linux 6.1, calibrate_APIC_clock()). They are of this process group too, which the kernel takes for an orphan from its beginning: of one that
	 * became so when this process ends, it would hang up who was stopped (_exit(2)).
	 */
	setsid();
	if (caps_launcher(&e) < 0) {
		fprintf(stderr, "banger-helper: launcher: %s\n", err_text(&e));
		return;
	}
	signal(SIGCHLD, SIG_IGN); /* reapers are not waited for */
	for (;;) {
		int fds[IO_FDS_MAX], parcels[PARCEL_COUNT];
		struct order o;
		size_t n = 0;
		ssize_t k = io_recv_fds(sock, &o, sizeof(o), fds, IO_FDS_MAX, &n, 0);

		if (k == 0) {
			scopes_remove_above(inst->scopes);
			_exit(0);
		}
		if (k != sizeof(o) || unpack(&o, fds, n, parcels) < 0)
			_exit(1);
		if (fork() == 0) {
			signal(SIGCHLD, SIG_DFL);
			start(inst, reaper_file, &o, parcels);
		}
		while (n > 0)
			close_fd(fds[--n]);
	}
}

/* --- in the helper --- */

int launcher_new(const struct instance *inst, struct launcher **ret, struct err *e)
{
	struct launcher *l = calloc(1, sizeof(*l));
	int r = l ? child_new("banger-launcher", launcher_loop, -1, inst, &l->child, e)
		  : err_sys(e, -ENOMEM, "launcher");

	if (r < 0) {
		free(l);
		return r;
	}
	l->mounter = inst->mounter;
	*ret = l;
	return 0;
}

struct launcher *launcher_free(struct launcher *l)
{
	if (l) {
		child_end(&l->child);
		free(l);
	}
	return NULL;
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

static const char *step_text(int step)
{
	static const char *const texts[STEP_COUNT] = {
		[STEP_PROGRAM] = "running the VMM",
		[STEP_USER] = "becoming the VM's user",
		[STEP_NAMESPACE] = "the VMM's namespaces",
		[STEP_CGROUP] = "the VMs' cgroup",
		[STEP_KERNEL] = "the kernel in the jail",
		[STEP_INITRD] = "the initramfs in the jail",
		[STEP_DISKS] = "the disks in the jail",
		[STEP_JAIL] = "the jail",
	};

	return step >= 0 && step < STEP_COUNT ? texts[step] : "starting the VMM";
}

static int converse(
	struct launcher *l, int sock, launcher_record_fn record, void *data, int *ret_pidfd, struct err *e)
{
	_cleanup_close_ int pidfd = -EBADF, none = -EBADF;
	struct process_stat vmm;
	struct report said;
	int r;

	r = hear(sock, &said, &pidfd, e);
	if (r < 0)
		return r;
	if (said.value <= 0 || pidfd < 0)
		return err_sys(e, said.value < 0 ? said.value : -EIO, "%s",
			said.value < 0 ? step_text(said.step) : "starting the VMM");
	/* Who speaks is its parent: a socket pair's own credentials are those of who made it, ours. */
	if (pidfd_pid(pidfd) != said.value || mounter_see(l->mounter, said.value, &vmm, NULL) < 0)
		return err_set(e, -EIO, "the VMM is not who the reaper says");
	r = record(data, said.value, vmm.parent, vmm.starttime, e);
	if (r == 0 && send(sock, &said, sizeof(said), MSG_NOSIGNAL) < 0)
		r = err_sys(e, -errno, "the reaper");
	if (r == 0)
		r = hear(sock, &said, &none, e);
	if (r == 0 && said.value < 0)
		r = err_sys(e, said.value, "%s", step_text(said.step));
	if (r < 0) {
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
		return r;
	}
	*ret_pidfd = TAKE_FD(pidfd);
	return 0;
}

static int open_programs(enum helper_engine engine, int *ret_program, int *ret_jailed, struct err *e)
{
	int r;

	if (engine == HELPER_ENGINE_QEMU)
		return program_open_qemu(NULL, ret_program, e);
	r = program_open_firecracker("jailer", NULL, ret_program, e);
	return r == 0 ? program_open_firecracker("firecracker", NULL, ret_jailed, e) : r;
}

int launcher_run(struct launcher *l, const struct launch *what, launcher_record_fn record, void *data,
	int *ret_pidfd, struct err *e)
{
	enum helper_engine engine = what->request->u.launch.engine;
	int count = engine == HELPER_ENGINE_QEMU ? LAUNCH_FD_COUNT : LAUNCH_FD_COUNT_JAILED;
	_cleanup_close_ int program = -EBADF, jailed = -EBADF, mine = -EBADF, theirs = -EBADF;
	struct order o = {.request = *what->request, .user = what->user, .cid = what->cid};
	int parcels[PARCEL_COUNT], all[PARCEL_COUNT], pair[2], r;
	size_t n = 0;

	r = open_programs(engine, &program, &jailed, e);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, -errno, "launcher");
	mine = pair[0];
	theirs = pair[1];
	parcels[PARCEL_REPORT] = theirs;
	parcels[PARCEL_PROGRAM] = program;
	parcels[PARCEL_JAILED] = jailed;
	parcels[PARCEL_MOUNTS] = what->mounts_fd;
	parcels[PARCEL_SOCKETS] = what->sockets_fd;
	parcels[PARCEL_TAP] = what->tap_fd;
	for (int i = 0; i < LAUNCH_FD_COUNT; i++)
		parcels[PARCEL_FDS + i] = i < count ? what->fds[i] : -EBADF;
	for (int i = 0; i < PARCEL_COUNT; i++)
		if (parcels[i] >= 0) {
			o.there |= 1u << i;
			all[n++] = parcels[i];
		}
	r = io_send_fds(l->child.sock, &o, sizeof(o), all, n);
	if (r < 0)
		return err_sys(e, r, "the launcher");
	theirs = close_fd(theirs);
	/* Here, for the kernel takes its time (tun.c: __tun_detach() waits for all processors), and the reaper is on its way meanwhile. */
	*what->lent_fd = close_fd(*what->lent_fd);
	return converse(l, mine, record, data, ret_pidfd, e);
}
