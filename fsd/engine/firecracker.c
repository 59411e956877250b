#include <errno.h>
#include <string.h>

#include "banger/cleanup.h"
#include "banger/launch_disks.h"
#include "banger/program.h"
#include "engine/engines.h"
#include "engine/fc_machine.h"
#include "engine/vmm_json.h"

#define GUEST_CID    3 /* the first that a guest can have: it is alone on its vsock */
#define BALLOON_SEC  10
#define VERSION_MSEC 20000

/* One call with a body of one pair. */
static int say(int vm_dir_fd, const char *method, const char *path, const char *key, const char *value,
	unsigned timeout_msec, struct op *op, struct err *e)
{
	_cleanup_(fc_api_freep) struct fc_api *a = NULL;
	json_object *o, *text;
	int r = fc_api_new(vm_dir_fd, op, &a, e);

	if (r < 0)
		return r;
	o = json_object_new_object();
	text = json_object_new_string(value);
	if (!o || !text || json_object_object_add(o, key, text) < 0) {
		json_object_put(text);
		r = err_sys(e, -ENOMEM, "Firecracker");
	} else {
		r = fc_api_call(a, method, path, o, timeout_msec, NULL, e);
	}
	json_object_put(o);
	return r;
}

/*
 * After a pause and no more than that, 1.16 holds back for ever what goes to the guest over vsock (its #6100): the agent would be lost.
 */
static int check_pause(int vm_dir_fd, struct op *op, struct err *e)
{
	_cleanup_(fc_api_freep) struct fc_api *a = NULL;
	_cleanup_free_ char *note = NULL;
	struct fc_version v;
	int r = fc_api_new(vm_dir_fd, op, &a, e);

	if (r == 0)
		r = fc_version_get(a, &v, &note, e);
	if (r == 0 && fc_version_is(&v, 1, 16) && !fc_version_is(&v, 1, 17))
		return err_set(e, -EOPNOTSUPP,
			"Firecracker %u.%u.%u cannot be paused without losing the guest's agent: install "
			"another release",
			v.major, v.minor, v.patch);
	return r;
}

static int firecracker_pause(int vm_dir_fd, struct op *op, struct err *e)
{
	int r = check_pause(vm_dir_fd, op, e);

	if (r < 0)
		return r;
	return say(vm_dir_fd, "PATCH", "/vm", "state", "Paused", FC_MSEC, op, e);
}

static int firecracker_resume(int vm_dir_fd, struct op *op, struct err *e)
{
	return say(vm_dir_fd, "PATCH", "/vm", "state", "Resumed", FC_MSEC, op, e);
}

/* There is no power button: the three keys make the guest restart itself, which for Firecracker is its end. */
static int firecracker_powerdown(int vm_dir_fd, struct op *op, struct err *e)
{
	return say(vm_dir_fd, "PUT", "/actions", "action_type", "SendCtrlAltDel", FC_MSEC, op, e);
}

static int firecracker_status(int vm_dir_fd, enum engine_status *ret, struct err *e)
{
	_cleanup_(fc_api_freep) struct fc_api *a = NULL;
	json_object *o = NULL;
	const char *text;
	int r = fc_api_new(vm_dir_fd, NULL, &a, e);

	if (r == 0)
		r = fc_api_call(a, "GET", "/", NULL, FC_MSEC, &o, e);
	if (r < 0)
		return r;
	text = vmm_json_text(o, "state");
	*ret = text && !strcmp(text, "Running")  ? ENGINE_RUNNING
	       : text && !strcmp(text, "Paused") ? ENGINE_PAUSED
						 : ENGINE_OTHER;
	json_object_put(o);
	return 0;
}

static int firecracker_stats(int vm_dir_fd, FILE *out, struct err *e)
{
	_cleanup_(fc_api_freep) struct fc_api *a = NULL;
	json_object *o = NULL;
	/* What it has counted goes into its fifo (firecracker_count()). */
	int r = say(
		vm_dir_fd, "PUT", "/actions", "action_type", "FlushMetrics", ENGINE_STATS_MSEC / 2, NULL, e);

	if (r == 0)
		r = fc_api_new(vm_dir_fd, NULL, &a, e);
	if (r == 0)
		r = fc_api_call(a, "GET", "/balloon/statistics", NULL, ENGINE_STATS_MSEC / 2, &o, e);
	counters_print_balloon(o, out);
	json_object_put(o);
	return r;
}

/* Of all disks together, each number since the line before (src/vmm/src/logger/metrics.rs in its sources). */
static void firecracker_count(const char *line, struct disk_counters *c)
{
	static const char *const names[] = {"read_bytes", "write_bytes", "read_count", "write_count"};
	json_object *o = vmm_json_parse(line);

	if (o)
		counters_add(c, o, "block", names);
	json_object_put(o);
}

static int firecracker_programs(char **ret, struct err *e)
{
	_cleanup_close_ int jailer = -EBADF, vmm = -EBADF;
	_cleanup_free_ char *first = NULL, *more = NULL;
	int r;

	if ((r = program_open_firecracker("jailer", NULL, &jailer, e)) < 0 ||
		(r = program_open_firecracker("firecracker", NULL, &vmm, e)) < 0 ||
		(r = engine_identify(jailer, "", &first, e)) < 0)
		return r;
	if (asprintf(&more, "%s,", first) < 0) {
		more = NULL;
		return err_sys(e, -ENOMEM, "Firecracker");
	}
	return engine_identify(vmm, more, ret, e);
}

static int firecracker_check(struct op *op, struct err *e)
{
	struct fc_version jailer, vmm;
	int r = fc_version_read(VERSION_MSEC, op_cancel_fd(op), &vmm, &jailer, e);

	return r == 0 ? fc_version_check(&vmm, &jailer, e) : r;
}

/* Filled ten times a second: a guest that waits for tokens waits no longer than that. 0 stays no limit. */
static struct fc_bucket bucket(uint64_t a_second)
{
	return (struct fc_bucket){.size = a_second / 10, .refill_msec = 100};
}

/* As Firecracker sees it, from within its jail (helper_proto.h). */
static int firecracker_boot(int vm_dir_fd, int pidfd, const struct engine_machine *m, struct op *op,
	char **ret_note, struct err *e)
{
	char paths[LAUNCH_DISKS_MAX][32];
	struct fc_disk disks[LAUNCH_DISKS_MAX];
	size_t n;
	const struct launch_disk *staged = launch_disks(m->storage, &n);
	bool probe = !*m->tap;
	char mac[18];
	struct fc_machine machine = {
		.memory = m->memory,
		.vcpus = m->vcpus,
		.kernel = "/" HELPER_JAIL_KERNEL,
		.initrd = "/" HELPER_JAIL_INITRD,
		.disks = disks,
		.disk_count = probe ? 0 : n,
		.tap = probe ? NULL : m->tap,
		.mac = mac,
		.vsock = "/" HELPER_JAIL_SOCKETS "/" HELPER_JAIL_VSOCK,
		.cid = GUEST_CID,
		.receive.bandwidth = bucket(m->rates.net),
		.transmit.bandwidth = bucket(m->rates.net),
		.balloon_stats_sec = BALLOON_SEC,
		.log = "/" HELPER_JAIL_SOCKETS "/" HELPER_JAIL_LOG,
		.metrics = "/" HELPER_JAIL_SOCKETS "/" HELPER_JAIL_METRICS,
	};
	_cleanup_(fc_api_freep) struct fc_api *a = NULL;
	_cleanup_free_ char *note = NULL;
	struct fc_version v;
	int r = fc_api_new(vm_dir_fd, op, &a, e);

	helper_vm_mac(m->vm, mac);
	for (size_t i = 0; i < n; i++) {
		snprintf(paths[i], sizeof(paths[i]), "/%s", staged[i].serial);
		disks[i] = (struct fc_disk){.id = staged[i].serial,
			.path = paths[i],
			.readonly = staged[i].readonly,
			.limit = {bucket(m->rates.disk), bucket(m->rates.ops)}};
	}
	if (r == 0)
		r = fc_api_wait(a, pidfd, FC_START_MSEC, e);
	if (r == 0)
		r = fc_version_get(a, &v, &note, e);
	if (r == 0)
		r = fc_machine_configure(a, &v, &machine, e);
	if (r == 0)
		r = fc_machine_start(a, e);
	if (r == 0)
		*ret_note = TAKE_PTR(note);
	return r;
}

static int firecracker_set_rates(int vm_dir_fd, enum helper_storage storage, const struct engine_rates *rates,
	struct op *op, struct err *e)
{
	const struct fc_limit disk = {bucket(rates->disk), bucket(rates->ops)},
			      net = {.bandwidth = bucket(rates->net)};
	_cleanup_(fc_api_freep) struct fc_api *a = NULL;
	size_t n;
	const struct launch_disk *disks = launch_disks(storage, &n);
	int r = fc_api_new(vm_dir_fd, op, &a, e);

	for (size_t i = 0; r == 0 && i < n; i++)
		r = fc_machine_limit_disk(a, disks[i].serial, &disk, e);
	return r == 0 ? fc_machine_limit_network(a, &net, e) : r;
}

const struct engine engine_firecracker = {
	.name = "firecracker",
	.id = HELPER_ENGINE_FIRECRACKER,
	.jailed = true,
	.makes_serials = true,
	.needs_kvm = true,
	.limits_net = true,
	.programs = firecracker_programs,
	.check = firecracker_check,
	.boot = firecracker_boot,
	.set_rates = firecracker_set_rates,
	.pause = firecracker_pause,
	.resume = firecracker_resume,
	.powerdown = firecracker_powerdown,
	.status = firecracker_status,
	.stats = firecracker_stats,
	.count = firecracker_count,
};
