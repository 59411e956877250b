#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>

#include "banger/cleanup.h"
#include "calls_state.h"
#include "mount.h"
#include "mounter.h"
#include "pool.h"
#include "scope.h"

static struct held *find_held(struct helper_state *s, uint32_t vm)
{
	struct held *h;

	LIST_FOREACH (h, &s->held, link)
		if (h->vm == vm)
			return h;
	return NULL;
}

int calls_hold(struct helper_state *s, uint32_t vm, struct held **ret, struct err *e)
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
	struct process_stat now;
	struct held *h;
	int r;

	if (!slot || slot->process == JOURNAL_NONE || slot->pid <= 0 || calls_hold(s, slot->vm, &h, NULL) < 0)
		return -ESRCH;
	if (h->pidfd < 0) {
		fd = (int)syscall(SYS_pidfd_open, slot->pid, 0);
		/* In this order: the descriptor first, then what it can be no other's. */
		if (fd < 0)
			return -ESRCH;
		r = mounter_see(s->inst->mounter, slot->pid, &now, NULL);
		if (r < 0)
			return r;
		if (now.starttime != slot->starttime)
			return -ESRCH;
		h->pidfd = TAKE_FD(fd);
	}
	if (ended(h->pidfd))
		return -ESRCH;
	*ret_pidfd = h->pidfd;
	return 0;
}

int calls_idle(struct helper_state *s, const struct journal_vm *slot, struct err *e)
{
	int pidfd, r = calls_living(s, slot, &pidfd);

	if (r == -ESRCH)
		return 0;
	return r == 0 ? err_set(e, -EBUSY, "VM %u runs", slot->vm)
		      : err_sys(e, r, "whether VM %u runs", slot->vm);
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

static int release(struct helper_state *s, struct journal_vm *slot, struct err *e)
{
	struct held *h;
	int r = calls_idle(s, slot, e);

	if (r < 0)
		return r;
	h = find_held(s, slot->vm);
	if (h)
		drop_held(h);
	r = slot->process == JOURNAL_NONE ? 0 : scope_leave(s->inst->scopes, slot->vm, e);
	if (r < 0)
		return r;
	slot->process = JOURNAL_NONE;
	if ((r = calls_drop_nat(s, slot, e)) < 0 || (r = calls_drop_tap(s, slot, e)) < 0 ||
		(r = calls_drop_jail(s, slot, e)) < 0 || (r = disk_remove(&s->disk, slot, e)) < 0)
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
	int r;

	if (!slot)
		return err_set(e, -ENOENT, "no further VM");
	r = calls_idle(c->s, slot, e);
	if (r < 0 && r != -EBUSY)
		return r;
	c->reply->vm = slot->vm;
	c->reply->u.list.has_tap = slot->tap != JOURNAL_NONE;
	c->reply->u.list.has_nat = slot->nat != JOURNAL_NONE;
	c->reply->u.list.has_process = slot->process != JOURNAL_NONE;
	c->reply->u.list.alive = r == -EBUSY;
	c->reply->u.list.pid = slot->pid;
	c->reply->u.list.starttime = slot->starttime;
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
	[HELPER_RATE] = {"rate", call_rate, 0, 0, 1, ARGS(rate)},
	[HELPER_LAUNCH] = {"launch", call_launch, LAUNCH_FD_COUNT_JAILED, LAUNCH_FD_COUNT, 1, ARGS(launch)},
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
void calls_reconcile(struct helper_state *s)
{
	_cleanup_err_ struct err e = {0};
	uint32_t vm = 0;
	struct journal_vm *slot;

	if (mount_reconcile(s->mount, &e) < 0)
		fprintf(stderr, "banger-helper: %s\n", err_text(&e));
	if (bridge_reconcile(s->bridge, &e) < 0)
		fprintf(stderr, "banger-helper: %s\n", err_text(&e));
	while ((slot = journal_next(s->journal, vm))) {
		int r;

		vm = slot->vm;
		r = calls_idle(s, slot, &e);
		/* Without its process a tap has no use any more. What lives is the daemon's to ask for. */
		if (r == -EBUSY)
			continue;
		if (r == 0 && slot->process == JOURNAL_INTENT)
			slot->process = JOURNAL_NONE;
		if (r == 0)
			r = slot->process == JOURNAL_NONE ? release(s, slot, &e)
							  : calls_drop_tap(s, slot, &e);
		if (r < 0)
			fprintf(stderr, "banger-helper: VM %u: %s\n", vm, err_text(&e));
	}
}
