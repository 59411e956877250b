#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>

#include "banger/io.h"
#include "banger/launch_disks.h"
#include "banger/parse.h"
#include "job/steps.h"
#include "kernel/kernel.h"
#include "net/ssh_key.h"
#include "vm/start_steps.h"

#define PROVE_MSEC 10000
#define DEAD_MSEC  5000
#define DNS_MAX    3

static uint64_t op_of(const struct start *s)
{
	return op_id(s->deed->op);
}

static int open_file(struct start *s, const char *name, int *ret, struct err *e)
{
	*ret = openat(s->dir_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	return *ret < 0 ? err_sys(e, -errno, "%s", name) : 0;
}

static int step_disks(void *ctx, struct err *e)
{
	struct start *s = ctx;
	int r = vm_open_dir(s->vms, s->id, &s->dir_fd, e);

	if (r < 0)
		return r;
	s->disks.dir_fd = s->dir_fd;
	s->disks.image_fd = s->fds[LAUNCH_FD_IMAGE];
	s->disks.op = s->deed->op;
	r = disks_open(&s->disks, e);
	if (r == 0)
		r = disks_take(&s->disks, e);
	s->fds[LAUNCH_FD_OVERLAY] = s->disks.over_fd;
	s->fds[LAUNCH_FD_WORK] = s->disks.work_fd;
	/* The guest's agent keeps its own; those would be another mount's by the time that this disk is served without it. */
	if (r == 0)
		unlinkat(s->dir_fd, DISKS_ANSWERS, 0);
	if (r < 0 || (r = open_file(s, "console", &s->fds[LAUNCH_FD_CONSOLE], e)) < 0)
		return r;
	return open_file(s, "exit", &s->fds[LAUNCH_FD_EXIT], e);
}

static unsigned read_dns(const struct start *s, uint32_t ret[DNS_MAX])
{
	if (parse_ipv4(s->dns, &ret[0]) == 0)
		return 1;
	return resolvers_of_host(ret, DNS_MAX);
}

static int step_engine(void *ctx, struct err *e)
{
	struct start *s = ctx;
	/* Where it is KVM or nothing, a slow proof is better than none. */
	bool must = strcmp(s->want_accel, "kvm") == 0 && s->timeout_usec / 1000 > PROVE_MSEC;
	const struct engine_wish wish = {
		.engine = s->want_engine,
		.accel = s->want_accel,
		.kernel_dir_fd = s->kernel_fd,
		.cache_dir_fd = s->vms->config.run_fd,
		.timeout_msec = must ? (unsigned)(s->timeout_usec / 1000) : PROVE_MSEC,
	};
	int r = kernel_initramfs_base(s->kernel_fd, s->vms->config.guest_fd, e);

	if (r == 0)
		r = engine_choose(
			s->vms->config.helper, &wish, s->deed->op, &s->engine, &s->accel, &s->accel_why, e);
	return r;
}

/* Until a guest has come up on what is the image as it came; one that can't be had leaves those of the image. */
static void own_host_key(struct start *s, char **ret, char **ret_public)
{
	_cleanup_err_ struct err e = {0};

	if (faccessat(s->dir_fd, DISKS_FRESH, F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
		ssh_key_of_vm(s->dir_fd, ret, ret_public, &e) < 0)
		s->key_why = strdup(err_text(&e));
}

static int step_initramfs(void *ctx, struct err *e)
{
	struct start *s = ctx;
	const char *serials[LAUNCH_DISKS_MAX];
	uint32_t dns[DNS_MAX];
	size_t n;
	const struct launch_disk *disks = launch_disks(s->disks.storage, &n);
	uint8_t gateway6[16];
	_cleanup_free_ char *host_key = NULL, *host_key_public = NULL;
	struct guest_spec spec = {
		.hostname = s->name,
		.address = s->address,
		.prefix = s->vms->subnet.prefix,
		.gateway = s->vms->subnet.gateway,
		.ip6 = s->has_ip6 ? s->ip6 : NULL,
		.gateway6 = s->has_ip6 && host_forwards_ip6() ? gateway6 : NULL,
		.dns = dns,
		.dns_count = read_dns(s, dns),
		.ssh_key = s->vms->config.ssh_key,
		.token = s->token,
		.root_disk = s->disks.storage == HELPER_STORAGE_DM,
		.disks = serials,
		.disk_count = s->engine->makes_serials ? n : 0,
	};
	int r = engine_make_token(s->token, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		serials[i] = disks[i].serial;
	helper_gateway_ip6(s->vms->subnet.prefix6, gateway6);
	own_host_key(s, &host_key, &host_key_public);
	spec.host_key = host_key;
	spec.host_key_public = host_key_public;
	r = kernel_initramfs_for(s->kernel_fd, &spec, &s->fds[LAUNCH_FD_INITRD], e);
	if (r < 0)
		return r;
	s->fds[LAUNCH_FD_KERNEL] = openat(s->kernel_fd, "vmlinux", O_RDONLY | O_CLOEXEC);
	return s->fds[LAUNCH_FD_KERNEL] < 0 ? err_sys(e, -errno, "vmlinux") : 0;
}

static int step_root(void *ctx, struct err *e)
{
	struct start *s = ctx;

	return disks_up(&s->disks, e);
}

static int undo_root(void *ctx, struct err *e)
{
	struct start *s = ctx;

	return s->disks.storage == HELPER_STORAGE_DM
		       ? helper_disk_off(s->vms->config.helper, op_of(s), s->id, e)
		       : 0;
}

static int step_sockets(void *ctx, struct err *e)
{
	struct start *s = ctx;
	char name[16];

	snprintf(name, sizeof(name), "%u", s->id);
	return engine_make_folder(s->engine, s->vms->runs_fd, name, s->token, s->fds, &s->run_fd, e);
}

static int undo_sockets(void *ctx, struct err *e)
{
	struct start *s = ctx;

	(void)e;
	stop_remove_sockets(s->vms, s->id);
	return 0;
}

static int step_network(void *ctx, struct err *e)
{
	struct start *s = ctx;

	return helper_net_up(s->vms->config.helper, e);
}

static int undo_launch(void *ctx, struct err *e)
{
	struct start *s = ctx;
	_cleanup_err_ struct err mine = {0};
	struct pollfd p = {.events = POLLIN};

	/* An answer that was lost may have been that it runs. */
	if (s->pidfd < 0 && helper_pidfd(s->vms->config.helper, s->id, &s->process, &s->pidfd, NULL) < 0)
		return 0;
	p.fd = s->pidfd;
	/* That it has ended by itself is as good. */
	if (helper_signal(s->vms->config.helper, op_of(s), s->id, HELPER_SIGKILL, &mine) < 0 &&
		mine.code != -ESRCH)
		return err_move(e, &mine);
	return poll(&p, 1, DEAD_MSEC) > 0 ? 0 : err_set(e, -ETIMEDOUT, "the VMM cannot be killed");
}

static int step_tap(void *ctx, struct err *e)
{
	struct start *s = ctx;
	_cleanup_err_ struct err mine = {0};
	int r = helper_tap(s->vms->config.helper, op_of(s), s->id, s->address, &mine);

	if (r != -EBUSY)
		return r < 0 ? err_move(e, &mine) : r;
	/* A helper that died before it could answer has left a VMM that nobody here knew of. */
	r = undo_launch(s, e);
	s->pidfd = close_fd(s->pidfd);
	return r < 0 ? r : helper_tap(s->vms->config.helper, op_of(s), s->id, s->address, e);
}

/* One call lets go of tap, nat and jail alike. */
static int undo_tap(void *ctx, struct err *e)
{
	struct start *s = ctx;

	return helper_release(s->vms->config.helper, op_of(s), s->id, e);
}

static int step_rate(void *ctx, struct err *e)
{
	struct start *s = ctx;
	int r = !s->rates.net || s->engine->limits_net
			? 0
			: helper_rate(s->vms->config.helper, op_of(s), s->id, s->rates.net, e);

	if (r == -EOPNOTSUPP)
		err_join(e, "or: echo max > net_rate, or where there is KVM: echo firecracker > engine");
	return r;
}

static int step_nat(void *ctx, struct err *e)
{
	struct start *s = ctx;

	return s->nat ? helper_nat(s->vms->config.helper, op_of(s), s->id, s->address, true, e) : 0;
}

static int step_jail(void *ctx, struct err *e)
{
	struct start *s = ctx;

	return s->engine->jailed ? helper_jail(s->vms->config.helper, op_of(s), s->id, e) : 0;
}

/* Firecracker has its own. */
static bool wants_vsock(struct start *s)
{
	if (s->engine->jailed || !engine_has_vsock())
		return false;
	s->no_driver = !kernel_has_vsock(s->kernel_fd);
	return !s->no_driver;
}

static int step_launch(void *ctx, struct err *e)
{
	struct start *s = ctx;
	struct helper_launch what = {
		.memory = s->memory,
		.tsc_khz = s->accel == HELPER_ACCEL_TCG ? engine_tsc_khz() : 0,
		.console_max = s->console_max,
		.vcpus = s->vcpus,
		.accel = s->accel,
		.storage = s->disks.storage,
		.engine = s->engine->id,
		.disk_rate = s->engine->jailed ? 0 : s->rates.disk,
		.disk_ops = s->engine->jailed ? 0 : s->rates.ops,
		.vsock = wants_vsock(s),
	};
	int r;

	memcpy(what.fds, s->fds, sizeof(what.fds));
	r = helper_launch(s->vms->config.helper, op_of(s), s->id, &what, &s->process, &s->pidfd, e);
	return r < 0 ? r : engine_keep_cid(s->run_fd, s->process.cid, e);
}

/* The VMM has ended, or is about to: it says why. */
static int ended(struct start *s, struct err *e)
{
	struct pollfd p = {.fd = s->pidfd, .events = POLLIN};

	poll(&p, 1, DEAD_MSEC);
	if (stop_reason(s->dir_fd, e) == 0)
		err_set(e, -EIO, "the guest switched itself off before its agent answered: cat console");
	s->reset = stop_was_reset(s->dir_fd);
	return -EIO;
}

static int step_boot(void *ctx, struct err *e)
{
	struct start *s = ctx;
	const struct engine_machine machine = {.memory = s->memory,
		.vcpus = s->vcpus,
		.vm = s->id,
		.storage = s->disks.storage,
		.rates = s->rates,
		.tap = s->process.tap};
	_cleanup_err_ struct err mine = {0};
	int r;

	if (!s->engine->boot)
		return 0;
	r = s->engine->boot(s->run_fd, s->pidfd, &machine, s->deed->op, &s->note, &mine);
	if (r == -ESRCH || r == -EPIPE)
		return ended(s, e);
	return r < 0 ? err_move(e, &mine) : 0;
}

static int step_agent(void *ctx, struct err *e)
{
	struct start *s = ctx;
	_cleanup_err_ struct err mine = {0};
	int r;

	r = engine_wait_agent(s->run_fd, s->pidfd, (unsigned)(s->timeout_usec / 1000),
		op_cancel_fd(s->deed->op), &s->agent_fd, s->boot_id, &mine);
	if (r == -ESRCH || r == -EPIPE || r == -ECONNRESET)
		return ended(s, e);
	if (r == -ETIMEDOUT)
		return err_set(e, r,
			"no answer from the guest's agent in %" PRIu64
			" s: cat console shows how far it came; the limit is config/start_timeout_usec",
			s->timeout_usec / 1000000);
	if (r < 0)
		return err_move(e, &mine);
	if (unlinkat(s->dir_fd, DISKS_FRESH, 0) < 0 && errno != ENOENT)
		return err_sys(e, -errno, DISKS_FRESH);
	return 0;
}

static const struct step steps[] = {
	{"disks", step_disks, NULL},
	{"engine", step_engine, NULL},
	{"initramfs", step_initramfs, NULL},
	{"root disk", step_root, undo_root},
	{"sockets", step_sockets, undo_sockets},
	{"network", step_network, NULL},
	{"tap", step_tap, undo_tap},
	{"net_rate", step_rate, NULL},
	{"jail", step_jail, NULL},
	{"launch", step_launch, undo_launch},
	{"boot", step_boot, NULL},
	{"nat", step_nat, NULL},
	{"agent", step_agent, NULL},
};

int start_work(void *data, struct err *e)
{
	struct start *s = data;

	return steps_run(steps, ELEMENTSOF(steps), s, s->deed->op, e);
}

void start_undo(struct start *s, struct err *e)
{
	steps_undo(steps, ELEMENTSOF(steps), s, e);
}

void start_free(struct start *s)
{
	for (int i = 0; i < LAUNCH_FD_COUNT; i++)
		close_fd(s->fds[i]);
	close_fd(s->kernel_fd);
	close_fd(s->dir_fd);
	close_fd(s->run_fd);
	close_fd(s->pidfd);
	close_fd(s->agent_fd);
	free(s->name);
	free(s->want_engine);
	free(s->want_accel);
	free(s->want_storage);
	free(s->disks.why);
	free(s->dns);
	free(s->image_file);
	free(s->accel_why);
	free(s->note);
	free(s->key_why);
	free(s);
}
