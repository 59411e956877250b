#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "banger/cleanup.h"
#include "bridge.h"
#include "calls.h"
#include "calls_state.h"
#include "check.h"
#include "jail.h"
#include "mount.h"
#include "nat.h"
#include "pool.h"
#include "scope.h"

#define MEMORY_MIN  (32ull << 20)
#define MEMORY_MAX  (1ull << 40)
#define VCPUS_MAX   64
#define CONSOLE_MAX (64ull << 20)
#define TSC_KHZ_MAX 100000000ull
/* Of a VM's cgroup, beyond the guest's memory and processors: a VMM's own, page tables (which grow with the guest) and the caches of its disks. */
#define VMM_MEMORY (512ull << 20)
#define VMM_TASKS  128 /* QEMU's pool for disks has up to 64 threads */

static struct held *find_held(struct helper_state *s, uint32_t vm)
{
	struct held *h;

	LIST_FOREACH (h, &s->held, link)
		if (h->vm == vm)
			return h;
	return NULL;
}

static int take_held(struct helper_state *s, uint32_t vm, struct held **ret, struct err *e)
{
	struct held *h = find_held(s, vm);

	if (!h) {
		h = calloc(1, sizeof(*h));
		if (!h)
			return err_sys(e, -ENOMEM, "VM %u", vm);
		*h = (struct held){.vm = vm, .tap_fd = -EBADF, .pidfd = -EBADF, .mounts_fd = -EBADF};
		LIST_INSERT_HEAD(&s->held, h, link);
	}
	*ret = h;
	return 0;
}

static void drop_held(struct held *h)
{
	LIST_REMOVE(h, link);
	close_fd(h->tap_fd);
	close_fd(h->pidfd);
	close_fd(h->mounts_fd);
	free(h);
}

static uid_t vm_user(const struct helper_state *s, uint32_t vm)
{
	return instance_vm_uid(bridge_piece(s->bridge), vm);
}

/* A call that failed leaves neither a slot with nothing in it nor what is held of a VM that has none: a number costs nothing. */
static void settle(struct helper_state *s, uint32_t vm)
{
	struct journal_vm *slot = journal_find(s->journal, vm);
	struct held *h = find_held(s, vm);

	if (slot)
		journal_settle(slot);
	if (h && !journal_find(s->journal, vm))
		drop_held(h);
}

static int ended(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

int calls_living(struct helper_state *s, const struct journal_vm *slot, int *ret_pidfd)
{
	_cleanup_close_ int fd = -EBADF;
	struct held *h;
	uint64_t starttime;

	if (!slot || slot->process == JOURNAL_NONE || slot->pid <= 0 || take_held(s, slot->vm, &h, NULL) < 0)
		return -ESRCH;
	if (h->pidfd < 0) {
		fd = (int)syscall(SYS_pidfd_open, slot->pid, 0);
		/* In this order: the descriptor first, then what it can be no other's. */
		if (fd < 0 || launcher_starttime(slot->pid, &starttime) < 0 || starttime != slot->starttime)
			return -ESRCH;
		h->pidfd = TAKE_FD(fd);
	}
	if (ended(h->pidfd))
		return -ESRCH;
	*ret_pidfd = h->pidfd;
	return 0;
}

static int call_hello(struct call *c, struct err *e)
{
	struct helper_reply *r = c->reply;

	(void)e;
	r->u.hello.network = bridge_network(c->s->bridge);
	r->u.hello.prefix = POOL_PREFIX;
	r->u.hello.gateway = r->u.hello.network + 1;
	r->u.hello.mount_held = (uint32_t)mount_is_held(c->s->mount);
	r->u.hello.pid = getpid();
	r->u.hello.owner = c->s->inst->owner;
	if (!bridge_prefix6(c->s->bridge, r->u.hello.prefix6))
		memset(r->u.hello.prefix6, 0, sizeof(r->u.hello.prefix6));
	snprintf(r->u.hello.version, sizeof(r->u.hello.version), "%s", BANGER_VERSION);
	snprintf(r->u.hello.bridge, sizeof(r->u.hello.bridge), "%s", c->s->inst->bridge);
	return 0;
}

static int call_mount(struct call *c, struct err *e)
{
	int adopted = 0, r;

	if (c->nfds == 1) {
		int fd = c->fds[0];

		c->fds[0] = -EBADF;
		return mount_keep(c->s->mount, fd, e);
	}
	r = mount_get(c->s->mount, &c->ret_fd, &adopted, e);
	c->reply->u.mount.adopted = (uint32_t)adopted;
	return r;
}

static int call_unmount(struct call *c, struct err *e)
{
	return mount_remove(c->s->mount, e);
}

static struct nat_guest guest_of(const struct helper_state *s, const struct journal_vm *slot)
{
	struct nat_guest g = {.vm = slot->vm, .address = slot->address};
	uint8_t prefix[8];

	/* Where this host has no IPv6 its rules stand all the same: it may have it tomorrow. */
	bridge_prefix6(s->bridge, prefix);
	helper_vm_ip6(prefix, slot->vm, g.ip6);
	return g;
}

static int let_out(struct helper_state *s, const struct journal_vm *slot, int on, struct err *e)
{
	const struct nat_guest g = guest_of(s, slot);

	return nat_set(s->nat, &g, on, e);
}

static int let_send(struct helper_state *s, const struct journal_vm *slot, int on, struct err *e)
{
	const struct nat_guest g = guest_of(s, slot);

	return nat_tap(s->nat, &g, on, e);
}

/* The guests that run, into a bridge or tables that were made anew. */
static int rejoin_all(struct helper_state *s, struct err *e)
{
	int r = 0;

	for (struct journal_vm *v = journal_next(s->journal, 0); r == 0 && v;
		v = journal_next(s->journal, v->vm)) {
		if (v->tap == JOURNAL_LIVE) {
			r = bridge_rejoin(s->bridge, v->vm, v->ifindex, e);
			if (r == 0)
				r = let_send(s, v, 1, e);
		}
		if (r == 0 && v->nat == JOURNAL_LIVE)
			r = let_out(s, v, 1, e);
	}
	return r;
}

static int net_up(struct helper_state *s, struct err *e)
{
	struct journal_head *head = journal_head(s->journal);
	int fresh = head->net == JOURNAL_NONE;
	int whole = !fresh && nat_is_up(s->nat);
	uint32_t before = head->bridge_ifindex;
	int r = bridge_up(s->bridge, e);

	if (r < 0)
		return r;
	r = nat_up(s->nat, fresh, e);
	/* Tables that were there before us are never taken for ours later. */
	if (r < 0 && fresh)
		bridge_down(s->bridge, NULL);
	if (r == 0 && !fresh && (!whole || head->bridge_ifindex != before))
		r = rejoin_all(s, e);
	return r;
}

static int call_net_up(struct call *c, struct err *e)
{
	return net_up(c->s, e);
}

static int call_net_down(struct call *c, struct err *e)
{
	int r;

	for (struct journal_vm *v = journal_next(c->s->journal, 0); v; v = journal_next(c->s->journal, v->vm))
		if (v->tap != JOURNAL_NONE)
			return err_set(e, -EBUSY, "VM %u has a tap on %s", v->vm, c->s->inst->bridge);
	if (journal_head(c->s->journal)->net == JOURNAL_NONE)
		return 0;
	r = nat_down(c->s->nat, e);
	return r == 0 ? bridge_down(c->s->bridge, e) : r;
}

/* ADDRESS is one that a guest can have, and no other VM has. */
static int check_address(struct helper_state *s, uint32_t vm, uint32_t address, struct err *e)
{
	uint32_t network = bridge_network(s->bridge);

	if (address <= network + 1 || address >= network + (1u << (32 - POOL_PREFIX)) - 1)
		return err_set(e, -EINVAL, "an address outside of the instance's network");
	for (struct journal_vm *v = journal_next(s->journal, 0); v; v = journal_next(s->journal, v->vm)) {
		if ((v->nat == JOURNAL_NONE && v->tap == JOURNAL_NONE) ||
			(v->vm == vm) != (v->address != address))
			continue;
		return v->vm == vm ? err_set(e, -EBUSY, "VM %u has another address", vm)
				   : err_set(e, -EADDRINUSE, "VM %u has that address", v->vm);
	}
	return 0;
}

/* Removes the tap, where it doesn't go with its last descriptor, and what it may send. */
static int drop_tap(struct helper_state *s, struct journal_vm *slot, struct err *e)
{
	int r;

	if (slot->tap == JOURNAL_NONE)
		return 0;
	slot->tap = JOURNAL_DELETING;
	r = journal_write(s->journal, slot, e);
	if (r == 0 && journal_head(s->journal)->net == JOURNAL_LIVE)
		r = let_send(s, slot, 0, e);
	if (r == 0)
		r = bridge_untap(s->bridge, slot->vm, slot->ifindex, e);
	if (r < 0)
		return r;
	slot->tap = JOURNAL_NONE;
	return journal_write(s->journal, slot, e);
}

static int drop_nat(struct helper_state *s, struct journal_vm *slot, struct err *e)
{
	int r;

	if (slot->nat == JOURNAL_NONE)
		return 0;
	slot->nat = JOURNAL_DELETING;
	r = journal_write(s->journal, slot, e);
	if (r == 0 && journal_head(s->journal)->net == JOURNAL_LIVE)
		r = let_out(s, slot, 0, e);
	if (r < 0)
		return r;
	slot->nat = JOURNAL_NONE;
	return journal_write(s->journal, slot, e);
}

static int call_tap(struct call *c, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	struct helper_state *s = c->s;
	struct journal_vm *slot = journal_find(s->journal, c->q->vm);
	struct held *h;
	int pidfd, r;

	if (calls_living(s, slot, &pidfd) == 0)
		return err_set(e, -EBUSY, "VM %u runs", c->q->vm);
	r = take_held(s, c->q->vm, &h, e);
	if (r < 0)
		return r;
	/* One made before and not used goes with its descriptor. */
	h->tap_fd = close_fd(h->tap_fd);
	if (slot && (r = drop_tap(s, slot, e)) < 0)
		return r;
	if ((r = check_address(s, c->q->vm, c->q->u.tap.address, e)) < 0 ||
		(r = journal_take(s->journal, c->q->vm, &slot, e)) < 0)
		return r;
	slot->tap = JOURNAL_INTENT;
	slot->ifindex = 0;
	slot->address = c->q->u.tap.address;
	r = journal_write(s->journal, slot, e);
	if (r == 0)
		r = bridge_tap(s->bridge, c->q->vm, &fd, &slot->ifindex, e);
	if (r == 0)
		r = let_send(s, slot, 1, e);
	if (r == 0) {
		slot->tap = JOURNAL_LIVE;
		r = journal_write(s->journal, slot, e);
	}
	if (r < 0) {
		drop_tap(s, slot, NULL);
		return r;
	}
	h->tap_fd = TAKE_FD(fd);
	return 0;
}

static int call_nat(struct call *c, struct err *e)
{
	struct journal_vm *slot;
	int r;

	if (c->q->u.nat.on > 1)
		return err_set(e, -EINVAL, "on is 0 or 1");
	r = check_address(c->s, c->q->vm, c->q->u.nat.address, e);
	if (r < 0)
		return r;
	if (!c->q->u.nat.on) {
		slot = journal_find(c->s->journal, c->q->vm);
		return slot ? drop_nat(c->s, slot, e) : 0;
	}
	r = journal_take(c->s->journal, c->q->vm, &slot, e);
	if (r < 0)
		return r;
	slot->nat = JOURNAL_INTENT;
	slot->address = c->q->u.nat.address;
	r = journal_write(c->s->journal, slot, e);
	/* Tables that somebody has taken away, or that a helper before this one made with less in them. */
	if (r == 0 && journal_head(c->s->journal)->net == JOURNAL_LIVE && !nat_is_up(c->s->nat))
		r = net_up(c->s, e);
	if (r == 0)
		r = bridge_uplinks(c->s->bridge, e);
	if (r == 0)
		r = let_out(c->s, slot, 1, e);
	if (r < 0)
		return r;
	slot->nat = JOURNAL_LIVE;
	return journal_write(c->s->journal, slot, e);
}

static int drop_jail(struct helper_state *s, struct journal_vm *slot, struct err *e)
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

static int call_jail(struct call *c, struct err *e)
{
	struct helper_state *s = c->s;
	struct journal_vm *slot = journal_find(s->journal, c->q->vm);
	struct held *h;
	int pidfd, r;

	if (calls_living(s, slot, &pidfd) == 0)
		return err_set(e, -EBUSY, "VM %u runs", c->q->vm);
	if ((r = check_mount_namespace(c->fds[0], e)) < 0 || (r = take_held(s, c->q->vm, &h, e)) < 0 ||
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
		drop_jail(s, slot, NULL);
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
		(q->u.launch.accel != HELPER_ACCEL_TCG && q->u.launch.accel != HELPER_ACCEL_KVM) ||
		(q->u.launch.storage != HELPER_STORAGE_OVERLAY && q->u.launch.storage != HELPER_STORAGE_DM) ||
		(q->u.launch.engine != HELPER_ENGINE_QEMU && !jailed))
		return err_set(e, -ERANGE, "a number out of its limits");
	if (jailed && q->u.launch.accel != HELPER_ACCEL_KVM)
		return err_set(e, -EINVAL, "Firecracker runs with KVM alone");
	return check_launch_fds(c->fds, c->nfds, c->s->inst->owner, e);
}

/* Firecracker opens its tap by name: it is lent to its user, and no longer held by us. */
static int lend_tap(struct helper_state *s, struct held *h, struct err *e)
{
	int r = bridge_lend(h->tap_fd, vm_user(s, h->vm), e);

	if (r == 0)
		h->tap_fd = close_fd(h->tap_fd);
	return r;
}

static int launch(
	struct call *c, struct held *h, const int fds[LAUNCH_FD_COUNT], struct record *rec, struct err *e)
{
	struct helper_state *s = c->s;
	int jailed = c->q->u.launch.engine == HELPER_ENGINE_FIRECRACKER;
	int no_network = (int)c->q->u.launch.no_network, r = 0;
	_cleanup_close_ int sockets = -EBADF;
	struct launch what = {
		.request = c->q,
		.user = vm_user(s, c->q->vm),
		.fds = fds,
		.tap_fd = no_network || jailed ? -EBADF : h->tap_fd,
		.mounts_fd = jailed ? h->mounts_fd : -EBADF,
	};

	if (jailed && !no_network)
		r = lend_tap(s, h, e);
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

static int call_launch(struct call *c, struct err *e)
{
	struct record rec = {.s = c->s, .q = c->q, .reply = c->reply};
	_cleanup_close_ int root = -EBADF;
	struct held *h;
	int fds[LAUNCH_FD_COUNT], pidfd = -EBADF, r;

	r = check_launch(c, e);
	if (r == 0)
		r = journal_take(c->s->journal, c->q->vm, &rec.slot, e);
	if (r == 0)
		r = take_held(c->s, c->q->vm, &h, e);
	if (r < 0)
		return r;
	if (calls_living(c->s, rec.slot, &pidfd) == 0)
		return err_set(e, -EBUSY, "VM %u runs already", c->q->vm);
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
		drop_tap(c->s, rec.slot, NULL);
		drop_jail(c->s, rec.slot, NULL);
		return r;
	}
	if (!c->q->u.launch.no_network)
		instance_tap_name(c->s->inst, c->q->vm, c->reply->u.launch.tap);
	c->ret_fd = h->pidfd;
	return 0;
}

static int call_signal(struct call *c, struct err *e)
{
	static const int signals[] = {[HELPER_SIGTERM] = SIGTERM,
		[HELPER_SIGKILL] = SIGKILL,
		[HELPER_SIGSTOP] = SIGSTOP,
		[HELPER_SIGCONT] = SIGCONT};
	uint32_t which = c->q->u.signal.signal;
	int pidfd;

	if (which < HELPER_SIGTERM || which > HELPER_SIGCONT)
		return err_set(e, -EINVAL, "no such signal");
	if (calls_living(c->s, journal_find(c->s->journal, c->q->vm), &pidfd) < 0)
		return err_set(e, -ESRCH, "VM %u has no process", c->q->vm);
	if (syscall(SYS_pidfd_send_signal, pidfd, signals[which], NULL, 0) < 0)
		return err_sys(e, -errno, "signal to VM %u", c->q->vm);
	return 0;
}

static int release(struct helper_state *s, struct journal_vm *slot, struct err *e)
{
	struct held *h;
	int pidfd, r;

	if (calls_living(s, slot, &pidfd) == 0)
		return err_set(e, -EBUSY, "VM %u runs", slot->vm);
	h = find_held(s, slot->vm);
	if (h)
		drop_held(h);
	r = slot->process == JOURNAL_NONE ? 0 : scope_leave(s->inst->scopes, slot->vm, e);
	if (r < 0)
		return r;
	slot->process = JOURNAL_NONE;
	if ((r = drop_nat(s, slot, e)) < 0 || (r = drop_tap(s, slot, e)) < 0 ||
		(r = drop_jail(s, slot, e)) < 0 || (r = disk_remove(&s->disk, slot, e)) < 0)
		return r;
	return journal_write(s->journal, slot, e);
}

static int call_release(struct call *c, struct err *e)
{
	struct journal_vm *slot = journal_find(c->s->journal, c->q->vm);

	return slot ? release(c->s, slot, e) : 0;
}

static int call_list(struct call *c, struct err *e)
{
	struct journal_vm *slot = journal_next(c->s->journal, c->q->u.list.after);
	int pidfd;

	if (!slot)
		return err_set(e, -ENOENT, "no further VM");
	c->reply->vm = slot->vm;
	c->reply->u.list.has_tap = slot->tap != JOURNAL_NONE;
	c->reply->u.list.has_nat = slot->nat != JOURNAL_NONE;
	c->reply->u.list.has_process = slot->process != JOURNAL_NONE;
	c->reply->u.list.alive = calls_living(c->s, slot, &pidfd) == 0;
	c->reply->u.list.pid = slot->pid;
	c->reply->u.list.starttime = slot->starttime;
	return 0;
}

static int call_pidfd(struct call *c, struct err *e)
{
	struct journal_vm *slot = journal_find(c->s->journal, c->q->vm);

	if (calls_living(c->s, slot, &c->ret_fd) < 0)
		return err_set(e, -ESRCH, "VM %u has no process", c->q->vm);
	c->reply->u.launch.pid = slot->pid;
	c->reply->u.launch.reaper_pid = slot->reaper_pid;
	c->reply->u.launch.starttime = slot->starttime;
	return 0;
}

#define ARGS(member) sizeof(((struct helper_request *)NULL)->u.member)
/* Likewise, but for the reserved field at its end. */
#define ARGS_USED(member)                                                                                    \
	(offsetof(struct helper_request, u.member.reserved) - offsetof(struct helper_request, u))

static const struct {
	const char *name;
	int (*run)(struct call *c, struct err *e);
	size_t fds_min, fds_max;
	int needs_vm;
	size_t args; /* bytes of the union in use; the rest must be zero */
} table[] = {
	[HELPER_HELLO] = {"hello", call_hello, 0, 0, 0, 0},
	[HELPER_MOUNT] = {"mount", call_mount, 0, 1, 0, 0},
	[HELPER_UNMOUNT] = {"unmount", call_unmount, 0, 0, 0, 0},
	[HELPER_NET_UP] = {"net-up", call_net_up, 0, 0, 0, 0},
	[HELPER_NET_DOWN] = {"net-down", call_net_down, 0, 0, 0, 0},
	[HELPER_TAP] = {"tap", call_tap, 0, 0, 1, ARGS_USED(tap)},
	[HELPER_NAT] = {"nat", call_nat, 0, 0, 1, ARGS(nat)},
	[HELPER_LAUNCH] = {"launch", call_launch, LAUNCH_FD_COUNT_JAILED, LAUNCH_FD_COUNT, 1,
		ARGS_USED(launch)},
	[HELPER_SIGNAL] = {"signal", call_signal, 0, 0, 1, ARGS_USED(signal)},
	[HELPER_RELEASE] = {"release", call_release, 0, 0, 1, 0},
	[HELPER_LIST] = {"list", call_list, 0, 0, 0, ARGS_USED(list)},
	[HELPER_PIDFD] = {"pidfd", call_pidfd, 0, 0, 1, 0},
	[HELPER_STORAGE] = {"storage", call_storage, 0, 0, 0, 0},
	[HELPER_DISK] = {"disk", call_disk, 0, DISK_FD_COUNT, 1, ARGS_USED(disk)},
	[HELPER_DISK_STATUS] = {"disk-status", call_disk_status, 0, 0, 1, 0},
	[HELPER_JAIL] = {"jail", call_jail, 1, 1, 1, 0},
};

static size_t launch_fds(const struct helper_request *q)
{
	return q->u.launch.engine == HELPER_ENGINE_FIRECRACKER ? LAUNCH_FD_COUNT_JAILED : LAUNCH_FD_COUNT;
}

int calls_check(const struct helper_request *q, size_t nfds, const char **ret_name, struct err *e)
{
	size_t row = q->call;

	if (q->magic != HELPER_MAGIC || q->version != HELPER_VERSION)
		return err_set(e, -EPROTO, "not this version of the protocol");
	if (row >= ELEMENTSOF(table) || !table[row].run)
		return err_set(e, -EPROTO, "no call %zu", row);
	*ret_name = table[row].name;
	if (nfds < table[row].fds_min || nfds > table[row].fds_max ||
		(row == HELPER_LAUNCH && nfds != launch_fds(q)))
		return err_set(e, -EPROTO, "%s: %zu descriptors", table[row].name, nfds);
	if (table[row].needs_vm ? q->vm < 1 || q->vm > HELPER_VM_MAX : q->vm != 0)
		return err_set(e, -EPROTO, "%s: VM number %u", table[row].name, q->vm);
	if (q->reserved != 0)
		return err_set(e, -EPROTO, "%s: reserved bytes are in use", table[row].name);
	for (size_t i = table[row].args; i < sizeof(q->u); i++)
		if (q->u.bytes[i] != 0)
			return err_set(e, -EPROTO, "%s: reserved bytes are in use", table[row].name);
	return 0;
}

int calls_run(struct helper_state *s, const struct helper_request *q, int *fds, size_t nfds,
	struct helper_reply *reply, int *ret_fd, int *ret_owned, struct err *e)
{
	struct call c = {.s = s, .q = q, .fds = fds, .nfds = nfds, .reply = reply, .ret_fd = -EBADF};
	int r;

	reply->vm = q->vm;
	r = table[q->call].run(&c, e);
	if (r < 0 && q->vm != 0)
		settle(s, q->vm);
	for (size_t i = 0; i < nfds; i++)
		close_fd(fds[i]);
	*ret_fd = r == 0 ? c.ret_fd : -EBADF;
	*ret_owned = c.ret_owned;
	return r;
}

int calls_new(const struct instance *inst, struct journal *journal, struct launcher *launcher,
	struct helper_state **ret, struct err *e)
{
	struct helper_state *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_sys(e, -ENOMEM, "helper");
	s->inst = inst;
	s->journal = journal;
	s->launcher = launcher;
	if ((r = mount_new(inst, journal, &s->mount, e)) < 0 ||
		(r = bridge_new(inst, journal, &s->bridge, e)) < 0 || (r = nat_new(inst, &s->nat, e)) < 0 ||
		(r = disk_init(&s->disk, inst, journal, e)) < 0) {
		calls_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

struct helper_state *calls_free(struct helper_state *s)
{
	if (s) {
		while (LIST_FIRST(&s->held))
			drop_held(LIST_FIRST(&s->held));
		mount_free(s->mount);
		bridge_free(s->bridge);
		nat_free(s->nat);
		free(s);
	}
	return NULL;
}

/* What one helper left half done, the next puts right; what can't be now is said, and is no reason not to serve. */
int calls_reconcile(struct helper_state *s, struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	uint32_t vm = 0;
	struct journal_vm *slot;

	if (mount_reconcile(s->mount, &mine) < 0 || bridge_reconcile(s->bridge, &mine) < 0)
		fprintf(stderr, "banger-helper: %s\n", err_text(&mine));
	while ((slot = journal_next(s->journal, vm))) {
		int pidfd;

		vm = slot->vm;
		/* Without its process a tap has no use any more. What lives is the daemon's to ask for. */
		if (calls_living(s, slot, &pidfd) < 0) {
			int r;

			if (slot->process == JOURNAL_INTENT)
				slot->process = JOURNAL_NONE;
			r = slot->process == JOURNAL_NONE ? release(s, slot, &mine)
							  : drop_tap(s, slot, &mine);
			if (r == -EBUSY)
				fprintf(stderr, "banger-helper: %s\n", err_text(&mine));
			else if (r < 0)
				return err_move(e, &mine);
		}
	}
	return 0;
}
