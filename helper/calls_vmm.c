/* The calls about a VM's process: its jail, its launch, signals. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "calls_state.h"
#include "check.h"
#include "jail.h"
#include "scope.h"
#include "vsock.h"

#define MEMORY_MIN  (32ull << 20)
#define MEMORY_MAX  (1ull << 40)
#define VCPUS_MAX   64
#define CONSOLE_MAX (64ull << 20)
#define TSC_KHZ_MAX 100000000ull
/* Of a VM's cgroup, beyond the guest's memory and processors: a VMM's own, page tables (which grow with the guest) and the caches of its disks. */
#define VMM_MEMORY (512ull << 20)
#define VMM_TASKS  128 /* QEMU's pool for disks has up to 64 threads */

static uid_t vm_user(const struct helper_state *s, uint32_t vm)
{
	return instance_vm_uid(bridge_piece(s->bridge), vm);
}

int calls_drop_jail(struct helper_state *s, struct journal_vm *slot, struct err *e)
{
	int r;

	if (slot->jail == JOURNAL_NONE)
		return 0;
	slot->jail = JOURNAL_DELETING;
	r = journal_write(s->journal, slot, e);
	if (r == 0)
		r = jail_remove(s->inst, slot->vm, e);
	if (r < 0)
		return r;
	slot->jail = JOURNAL_NONE;
	return journal_write(s->journal, slot, e);
}

int call_jail(struct call *c, struct err *e)
{
	struct helper_state *s = c->s;
	struct journal_vm *slot = journal_find(s->journal, c->q->vm);
	struct held *h;
	int r;

	if ((r = calls_idle(s, slot, e)) < 0 || (r = check_mount_namespace(c->fds[0], e)) < 0 ||
		(r = calls_hold(s, c->q->vm, &h, e)) < 0 ||
		(r = journal_take(s->journal, c->q->vm, &slot, e)) < 0)
		return r;
	slot->jail = JOURNAL_INTENT;
	r = journal_write(s->journal, slot, e);
	if (r == 0)
		r = jail_make(s->inst, c->q->vm, vm_user(s, c->q->vm), e);
	if (r == 0) {
		slot->jail = JOURNAL_LIVE;
		r = journal_write(s->journal, slot, e);
	}
	if (r < 0) {
		calls_drop_jail(s, slot, NULL);
		return r;
	}
	close_fd(h->mounts_fd);
	h->mounts_fd = TAKE_FD(c->fds[0]);
	return 0;
}

struct record {
	struct helper_state *s;
	const struct helper_request *q;
	struct journal_vm *slot;
	struct helper_reply *reply;
};

static int record_process(void *user, int pid, int reaper_pid, uint64_t starttime, struct err *e)
{
	struct record *rec = user;
	const int pids[] = {reaper_pid, pid};
	const struct scope_limits limits = {
		.memory = rec->q->u.launch.memory + rec->q->u.launch.memory / 16 + VMM_MEMORY,
		.tasks = rec->q->u.launch.vcpus + VMM_TASKS,
	};
	int r;

	rec->slot->process = JOURNAL_LIVE;
	rec->slot->pid = pid;
	rec->slot->reaper_pid = reaper_pid;
	rec->slot->starttime = starttime;
	rec->reply->u.launch.pid = pid;
	rec->reply->u.launch.reaper_pid = reaper_pid;
	rec->reply->u.launch.starttime = starttime;
	r = journal_write(rec->s->journal, rec->slot, e);
	return r < 0 ? r
		     : scope_enter(rec->s->inst->scopes, rec->slot->vm, pids, ELEMENTSOF(pids), &limits, e);
}

static int check_launch(const struct call *c, struct err *e)
{
	const struct helper_request *q = c->q;
	int jailed = q->u.launch.engine == HELPER_ENGINE_FIRECRACKER;

	if (q->u.launch.memory < MEMORY_MIN || q->u.launch.memory > MEMORY_MAX ||
		q->u.launch.memory % (1 << 20) || q->u.launch.vcpus < 1 || q->u.launch.vcpus > VCPUS_MAX ||
		q->u.launch.tsc_khz > TSC_KHZ_MAX || q->u.launch.console_max < 4096 ||
		q->u.launch.console_max > CONSOLE_MAX || q->u.launch.no_network > 1 ||
		q->u.launch.disk_rate > HELPER_RATE_MAX || q->u.launch.disk_ops > HELPER_RATE_MAX ||
		(jailed && (q->u.launch.disk_rate || q->u.launch.disk_ops || q->u.launch.vsock)) ||
		q->u.launch.vsock > 1 ||
		(q->u.launch.accel != HELPER_ACCEL_TCG && q->u.launch.accel != HELPER_ACCEL_KVM) ||
		(q->u.launch.storage != HELPER_STORAGE_OVERLAY && q->u.launch.storage != HELPER_STORAGE_DM) ||
		(q->u.launch.engine != HELPER_ENGINE_QEMU && !jailed))
		return err_set(e, -ERANGE, "a number out of its limits");
	if (jailed && q->u.launch.accel != HELPER_ACCEL_KVM)
		return err_set(e, -EINVAL, "Firecracker runs with KVM alone");
	return check_launch_fds(c->fds, c->nfds, c->s->inst->owner, e);
}

static int launch(
	struct call *c, struct held *h, const int fds[LAUNCH_FD_COUNT], struct record *rec, struct err *e)
{
	struct helper_state *s = c->s;
	int jailed = c->q->u.launch.engine == HELPER_ENGINE_FIRECRACKER;
	int no_network = (int)c->q->u.launch.no_network, r = 0;
	_cleanup_close_ int sockets = -EBADF, lent = -EBADF;
	struct launch what = {
		.request = c->q,
		.cid = c->reply->u.launch.cid,
		.user = vm_user(s, c->q->vm),
		.fds = fds,
		.tap_fd = no_network || jailed ? -EBADF : h->tap_fd,
		.mounts_fd = jailed ? h->mounts_fd : -EBADF,
		.lent_fd = &lent,
	};

	/* Firecracker opens its tap by name: it is lent to its user, and no longer held by us. */
	if (jailed && !no_network && (r = bridge_lend(h->tap_fd, what.user, e)) == 0)
		lent = TAKE_FD(h->tap_fd);
	if (r == 0 && jailed)
		r = jail_open(s->inst, c->q->vm, &sockets, e);
	what.sockets_fd = sockets;
	return r < 0 ? r : launcher_run(s->launcher, &what, record_process, rec, &h->pidfd, e);
}

/* With a disk of ours, the descriptors that the VMM gets are LAUNCH's but for that: the device in the place of what it is made of. */
static int open_root_disk(const struct call *c, const struct journal_vm *slot, int *ret, struct err *e)
{
	struct stat cow;
	int r = disk_open(slot, O_RDWR, ret, e);

	if (r == 0 && (fstat(c->fds[LAUNCH_FD_OVERLAY], &cow) < 0 || cow.st_ino != slot->cow_ino))
		r = err_set(e, -EINVAL, "VM %u's root disk is made of another cow", slot->vm);
	return r;
}

int call_launch(struct call *c, struct err *e)
{
	struct record rec = {.s = c->s, .q = c->q, .reply = c->reply};
	_cleanup_close_ int root = -EBADF, vsock = -EBADF;
	struct held *h;
	int fds[LAUNCH_FD_COUNT], r;

	if ((r = check_launch(c, e)) < 0 || (r = journal_take(c->s->journal, c->q->vm, &rec.slot, e)) < 0 ||
		(r = calls_hold(c->s, c->q->vm, &h, e)) < 0 || (r = calls_idle(c->s, rec.slot, e)) < 0)
		return r;
	h->pidfd = close_fd(h->pidfd);
	if (!c->q->u.launch.no_network && h->tap_fd < 0)
		return err_set(e, -ENODEV, "VM %u has no tap", c->q->vm);
	if (c->q->u.launch.engine == HELPER_ENGINE_FIRECRACKER && h->mounts_fd < 0)
		return err_set(e, -ENODEV, "VM %u has no jail", c->q->vm);
	memcpy(fds, c->fds, c->nfds * sizeof(fds[0]));
	if (c->q->u.launch.storage == HELPER_STORAGE_DM) {
		r = open_root_disk(c, rec.slot, &root, e);
		if (r < 0)
			return r;
		fds[LAUNCH_FD_OVERLAY] = root;
	}
	/* Likewise the device in the place of the port. A host without it is as good. */
	if (c->q->u.launch.vsock && vsock_take(&vsock, &c->reply->u.launch.cid, NULL) == 0)
		fds[LAUNCH_FD_AGENT] = vsock;
	rec.slot->process = JOURNAL_INTENT;
	rec.slot->pid = 0;
	r = journal_write(c->s->journal, rec.slot, e);
	if (r == 0)
		r = launch(c, h, fds, &rec, e);
	/* From here the tap is the VMM's: it goes when that does. */
	h->tap_fd = close_fd(h->tap_fd);
	h->mounts_fd = close_fd(h->mounts_fd);
	if (r < 0) {
		if (scope_leave(c->s->inst->scopes, c->q->vm, NULL) == 0)
			rec.slot->process = JOURNAL_NONE;
		journal_write(c->s->journal, rec.slot, NULL);
		calls_drop_tap(c->s, rec.slot, NULL);
		calls_drop_jail(c->s, rec.slot, NULL);
		return r;
	}
	if (!c->q->u.launch.no_network)
		instance_tap_name(c->s->inst, c->q->vm, c->reply->u.launch.tap);
	c->ret_fd = h->pidfd;
	return 0;
}

int call_signal(struct call *c, struct err *e)
{
	static const int signals[] = {[HELPER_SIGTERM] = SIGTERM,
		[HELPER_SIGKILL] = SIGKILL,
		[HELPER_SIGSTOP] = SIGSTOP,
		[HELPER_SIGCONT] = SIGCONT};
	uint32_t which = c->q->u.signal.signal;
	int pidfd, r;

	if (which < HELPER_SIGTERM || which > HELPER_SIGCONT)
		return err_set(e, -EINVAL, "no such signal");
	r = calls_living(c->s, journal_find(c->s->journal, c->q->vm), &pidfd);
	if (r < 0)
		return err_sys(e, r, "VM %u's process", c->q->vm);
	if (syscall(SYS_pidfd_send_signal, pidfd, signals[which], NULL, 0) < 0)
		return err_sys(e, -errno, "signal to VM %u", c->q->vm);
	return 0;
}

int call_pidfd(struct call *c, struct err *e)
{
	struct journal_vm *slot = journal_find(c->s->journal, c->q->vm);
	int r = calls_living(c->s, slot, &c->ret_fd);

	if (r < 0)
		return err_sys(e, r, "VM %u's process", c->q->vm);
	c->reply->u.launch.pid = slot->pid;
	c->reply->u.launch.reaper_pid = slot->reaper_pid;
	c->reply->u.launch.starttime = slot->starttime;
	return 0;
}
