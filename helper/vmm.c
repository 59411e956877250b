#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "argv.h"
#include "banger/cleanup.h"
#include "caps.h"
#include "stage.h"
#include "view.h"
#include "vmm.h"

static _Noreturn void fail(const struct vmm *v, int code, enum launch_step step)
{
	struct launch_failure failure = {.code = code, .step = (int)step};

	(void)!write(v->failed_fd, &failure, sizeof(failure));
	_exit(1);
}

/* TO is FROM, for the program. A negative FROM is none. */
static int give(int from, int to)
{
	return from < 0 || dup2(from, to) >= 0 ? 0 : -errno;
}

static int give_standard(int input, int output, int errors)
{
	int r = give(input, 0);

	if (r == 0)
		r = give(output, 1);
	return r == 0 ? give(errors, 2) : r;
}

static _Noreturn void run(const struct vmm *v, const struct argv *argv)
{
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	syscall(SYS_execveat, v->program_fd, "", argv->args, (char *[]){NULL}, AT_EMPTY_PATH);
	fail(v, -errno, STEP_PROGRAM);
}

/* The device's group, where that is how one gets at it. */
static int become_user(const struct vmm *v)
{
	struct stat kvm;
	gid_t group = 0, id = (gid_t)v->user;
	size_t groups = 0;

	if (v->request->u.launch.accel == HELPER_ACCEL_KVM && stat("/dev/kvm", &kvm) == 0 &&
		(kvm.st_mode & S_IWGRP)) {
		group = kvm.st_gid;
		groups = 1;
	}
	return setgroups(groups, &group) < 0 || setresgid(id, id, id) < 0 ||
			       setresuid(v->user, v->user, v->user) < 0
		       ? -errno
		       : 0;
}

static _Noreturn void become_qemu(const struct vmm *v)
{
	const struct {
		int from, to;
	} rows[] = {
		{v->fds[LAUNCH_FD_KERNEL], FD_KERNEL},
		{v->fds[LAUNCH_FD_INITRD], FD_INITRD},
		{v->fds[LAUNCH_FD_QMP], FD_QMP},
		{v->fds[LAUNCH_FD_AGENT], FD_AGENT},
		{v->tap_fd, FD_TAP},
		{v->serial, FD_SERIAL},
		{v->monitor, FD_EVENTS},
	};
	size_t n;
	const struct launch_disk *disks = launch_disks(v->request->u.launch.storage, &n);
	struct argv argv;
	int r = argv_qemu(v->request, v->cid, &argv, NULL);

	if (r == 0)
		r = give_standard(open("/dev/null", O_RDWR | O_CLOEXEC), v->errors, v->errors);
	if (r < 0)
		fail(v, r, STEP_PROGRAM);
	r = view_enter(v->inst, v->request->u.launch.accel == HELPER_ACCEL_KVM, v->program_fd);
	if (r < 0)
		fail(v, r, STEP_JAIL);
	for (size_t i = 0; r == 0 && i < ELEMENTSOF(rows); i++)
		r = give(rows[i].from, rows[i].to);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = give(v->fds[disks[i].fd], FD_DISK + (int)i);
	if (r < 0)
		fail(v, r, STEP_PROGRAM);
	r = become_user(v);
	if (r == 0)
		r = view_restrict(FD_KERNEL, FD_INITRD);
	if (r < 0)
		fail(v, r, STEP_USER);
	run(v, &argv);
}

/* In the VM's cgroup, and on record, from here on. */
static void await_go(const struct vmm *v)
{
	char byte;

	if (read(v->go_fd, &byte, 1) != 1)
		_exit(1);
}

/* The jailer is root until its chroot is done. */
static _Noreturn void become_jailer(const struct vmm *v)
{
	const struct stage stage = {
		.inst = v->inst,
		.request = v->request,
		.user = v->user,
		.fds = v->fds,
		.mounts_fd = v->mounts_fd,
		.idmap_fd = v->idmap_fd,
		.program_fd = v->jailed_fd,
		.sockets_fd = v->sockets_fd,
	};
	enum launch_step step = STEP_JAIL;
	struct argv argv;
	/* Mounts of its own namespace, while the cgroup is being made. */
	int root = -EBADF, r = stage_jail(&stage, &root, &step);

	await_go(v);
	if (r == 0)
		r = stage_fill(&stage, root, &step);
	close_fd(root);
	if (r < 0)
		fail(v, r, step);
	r = argv_jailer(v->request, v->user, v->inst->helper_dir, &argv, NULL);
	if (r == 0)
		r = give_standard(v->serial, v->serial, v->errors);
	if (r == 0)
		r = caps_jailer(NULL);
	if (r < 0)
		fail(v, r, STEP_USER);
	/* Its sockets are for the group as well. */
	umask(007);
	run(v, &argv);
}

_Noreturn void vmm_become(const struct vmm *v)
{
	if (v->request->u.launch.engine == HELPER_ENGINE_FIRECRACKER)
		become_jailer(v);
	await_go(v);
	become_qemu(v);
}
