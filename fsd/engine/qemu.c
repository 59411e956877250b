#include <errno.h>
#include <inttypes.h>

#include "banger/cleanup.h"
#include "banger/launch_disks.h"
#include "banger/program.h"
#include "engine/engines.h"
#include "engine/qmp.h"
#include "engine/vmm_json.h"

static int qemu_pause(int vm_dir_fd, struct op *op, struct err *e)
{
	return qmp_command(vm_dir_fd, "stop", op, NULL, e);
}

static int qemu_resume(int vm_dir_fd, struct op *op, struct err *e)
{
	return qmp_command(vm_dir_fd, "cont", op, NULL, e);
}

static int qemu_powerdown(int vm_dir_fd, struct op *op, struct err *e)
{
	return qmp_command(vm_dir_fd, "system_powerdown", op, NULL, e);
}

static int qemu_status(int vm_dir_fd, enum engine_status *ret, struct err *e)
{
	json_object *o = NULL;
	const char *text;
	int r = qmp_command(vm_dir_fd, "query-status", NULL, &o, e);

	if (r < 0)
		return r;
	text = vmm_json_text(o, "status");
	*ret = text && !strcmp(text, "running")  ? ENGINE_RUNNING
	       : text && !strcmp(text, "paused") ? ENGINE_PAUSED
						 : ENGINE_OTHER;
	json_object_put(o);
	return 0;
}

/* Of the groups that argv.c of the helper's has made, a disk each. */
static int qemu_set_rates(int vm_dir_fd, enum helper_storage storage, const struct engine_rates *rates,
	struct op *op, struct err *e)
{
	_cleanup_(qmp_closep) struct qmp *q = NULL;
	size_t n;
	int r = qmp_open(vm_dir_fd, QMP_MSEC, op, &q, e);

	launch_disks(storage, &n);
	for (size_t i = 1; r == 0 && i <= n; i++) {
		_cleanup_free_ char *limits = NULL;

		if (asprintf(&limits,
			    "{\"path\":\"/objects/t%zu\",\"property\":\"limits\","
			    "\"value\":{\"bps-total\":%" PRIu64 ",\"iops-total\":%" PRIu64 "}}",
			    i, rates->disk, rates->ops) < 0) {
			limits = NULL;
			return err_sys(e, -ENOMEM, "QEMU's monitor");
		}
		r = qmp_call(q, "qom-set", limits, NULL, e);
	}
	return r;
}

static const char *const disk_names[] = {"rd_bytes", "wr_bytes", "rd_operations", "wr_operations"};

static int qemu_stats(int vm_dir_fd, FILE *out, struct err *e)
{
	_cleanup_(qmp_closep) struct qmp *q = NULL;
	json_object *o = NULL, *balloon = NULL, *inner;
	struct disk_counters disks = {0};
	int r = qmp_open(vm_dir_fd, ENGINE_STATS_MSEC, NULL, &q, e);

	if (r == 0)
		r = qmp_call(q, "query-blockstats", NULL, &o, e);
	if (r == 0 && json_object_is_type(o, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(o); i++)
			counters_add(&disks, json_object_array_get_idx(o, i), "stats", disk_names);
		counters_print(&disks, out);
	}
	if (r == 0)
		r = qmp_call(q, "qom-get",
			"{\"path\":\"/machine/peripheral/balloon\",\"property\":\"guest-stats\"}", &balloon,
			e);
	if (r == 0 && json_object_is_type(balloon, json_type_object) &&
		json_object_object_get_ex(balloon, "stats", &inner) &&
		json_object_is_type(inner, json_type_object))
		counters_print_balloon(inner, out);
	json_object_put(o);
	json_object_put(balloon);
	return r;
}

static int qemu_programs(char **ret, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	int r = program_open_qemu(NULL, &fd, e);

	return r == 0 ? engine_identify(fd, "", ret, e) : r;
}

const struct engine engine_qemu = {
	.name = "qemu",
	.id = HELPER_ENGINE_QEMU,
	.programs = qemu_programs,
	.pause = qemu_pause,
	.resume = qemu_resume,
	.set_rates = qemu_set_rates,
	.powerdown = qemu_powerdown,
	.status = qemu_status,
	.stats = qemu_stats,
};
