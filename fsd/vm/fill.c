/*
 * How full the cows of root disks are: device-mapper says nothing until it is too late, so it is asked, as long as a VM runs on it. Told once for each
 * step: in the VM's log, and from the last step on as its error, which says what helps.
 */
#include <errno.h>

#include "vm/disks.h"
#include "vm/model.h"

#define PERIOD_USEC 10000000

/* Percent; what is told below the last is worth knowing, from there on something has to be done. */
static const unsigned steps[] = {50, 80, 95};
#define URGENT (ELEMENTSOF(steps))

/* What is asked about at once, by a worker. */
struct round {
	struct vms *vms;
	size_t n;
	struct asked {
		uint32_t id;
		int code;
		struct helper_disk_use use;
	} asked[];
};

static bool runs_on_dm(const struct vm *vm)
{
	return vm->pidfd >= 0 && strcmp(vm->row.storage, disks_storage_name(HELPER_STORAGE_DM)) == 0;
}

static int work_round(void *data, struct err *e)
{
	struct round *round = data;

	(void)e;
	for (size_t i = 0; i < round->n; i++)
		round->asked[i].code = helper_disk_status(
			round->vms->config.helper, round->asked[i].id, &round->asked[i].use, NULL);
	return 0;
}

static void say_trouble(struct vm *vm, int code, const char *what)
{
	_cleanup_err_ struct err e = {0};

	err_set(&e, code, "root disk: %s", what);
	vm_set_error(vm, code, 0, err_text(&e));
	vm_changed(vm);
}

/* What helps: as much again. */
static void say_full(struct vm *vm, const char *how)
{
	_cleanup_err_ struct err e = {0};

	err_set(&e, -ENOSPC, "%s: echo stop > ctl; echo %llu > disk; echo start > ctl", how,
		(unsigned long long)vm->row.disk * 2);
	say_trouble(vm, e.code, err_text(&e));
}

static void say_level(struct vm *vm, unsigned level)
{
	_cleanup_free_ char *how = NULL;

	if (level < URGENT)
		vm_log(vm, "root disk: %u %% of what it may hold is written", steps[level - 1]);
	else if (asprintf(&how, "%u %% of what it may hold is written, and then writing fails",
			 steps[level - 1]) < 0)
		how = NULL;
	else
		say_full(vm, how);
}

static void judge(struct vm *vm, int code, const struct helper_disk_use *use)
{
	static const char *const troubles[] = {
		[HELPER_DISK_INVALID] =
			"the host had no space left for it, and it can't be read or written: make room, "
			"then echo kill > ctl; echo start > ctl: what had been written by then is there",
		[HELPER_DISK_LOST] =
			"somebody on the host has put something else in its place, or nothing: echo kill > "
			"ctl; echo start > ctl",
	};
	enum helper_disk_state before = vm->fill.use.state;
	unsigned level = 0;

	/* The helper restarts just now, or the VM ends: asked again. */
	if (code < 0 && code != -ENODEV)
		return;
	vm->fill.use = code < 0 ? (struct helper_disk_use){.state = HELPER_DISK_LOST} : *use;
	if (vm->fill.use.state != HELPER_DISK_OK) {
		if (before == vm->fill.use.state)
			return;
		if (vm->fill.use.state == HELPER_DISK_FULL)
			say_full(vm, "it is full: nothing new can be written, what was is there");
		else if (vm->fill.use.state < ELEMENTSOF(troubles))
			say_trouble(vm, -EIO, troubles[vm->fill.use.state]);
		return;
	}
	while (level < ELEMENTSOF(steps) && use->used / steps[level] >= use->size / 100)
		level++;
	if (level > vm->fill.told)
		say_level(vm, level);
	vm->fill.told = level;
}

static void done_round(void *data, int code, struct err *e)
{
	struct round *round = data;

	(void)code;
	(void)e;
	for (size_t i = 0; i < round->n; i++) {
		struct vm *vm = vms_get(round->vms, round->asked[i].id);

		if (vm && runs_on_dm(vm) && !vm->deed)
			judge(vm, round->asked[i].code, &round->asked[i].use);
	}
	fill_watch(round->vms);
	free(round);
}

static int on_time(sd_event_source *s, uint64_t usec, void *user)
{
	struct vms *vms = user;
	struct round *round;
	size_t n = 0;
	struct vm *vm;

	(void)s;
	(void)usec;
	vms->fill = sd_event_source_disable_unref(vms->fill);
	TAILQ_FOREACH (vm, &vms->list, link)
		n += runs_on_dm(vm);
	/* The next VM that starts begins it again. */
	if (n == 0)
		return 0;
	round = calloc(1, sizeof(*round) + n * sizeof(round->asked[0]));
	if (round) {
		round->vms = vms;
		TAILQ_FOREACH (vm, &vms->list, link)
			if (runs_on_dm(vm))
				round->asked[round->n++].id = vm->row.id;
	}
	if (!round || job_submit(vms->jobs, work_round, done_round, round, NULL) < 0) {
		free(round);
		fill_watch(vms);
	}
	return 0;
}

void fill_watch(struct vms *vms)
{
	if (!vms->fill)
		sd_event_add_time_relative(
			vms->event, &vms->fill, CLOCK_MONOTONIC, PERIOD_USEC, 0, on_time, vms);
}

void fill_begin(struct vm *vm)
{
	vm->fill.use = (struct helper_disk_use){0};
	vm->fill.told = 0;
	if (runs_on_dm(vm))
		fill_watch(vm->vms);
}

void fill_print(const struct vm *vm, FILE *out)
{
	if (runs_on_dm(vm) && vm->fill.use.state == HELPER_DISK_OK)
		fprintf(out, "root_written %llu\nroot_room %llu\n", (unsigned long long)vm->fill.use.used,
			(unsigned long long)vm->fill.use.size);
}
