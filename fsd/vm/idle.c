/*
 * Idle VMs are stopped (promise A11). What uses a VM holds it by a count: who has `keep`, its console's stream or a file of its open, each
 * job, each connection that is carried to it. While the count is 0 its clock runs; at its end the guest is asked whether a job runs that this
 * daemon doesn't know of, for the one before it may have begun some.
 */
#include <errno.h>
#include <inttypes.h>

#include "banger/io.h"
#include "banger/parse.h"
#include "vm/model.h"

#define ASK_MSEC  5000
#define SLACK     100000    /* usec that a stop may come late, so that many timers fire at once */
#define TEXT_MAX  4096      /* of what the guest says */
#define JOBS_LINE "\njobs " /* of AGENT_HEALTH */

static void nobody(void *user, int code, const struct err *e)
{
	(void)user;
	(void)code;
	(void)e;
}

static bool runs(const struct vm *vm)
{
	return vm->state == VM_RUNNING && vm->pidfd >= 0;
}

static bool busy(const struct vm *vm)
{
	return vm->deed || vm->preparing;
}

static uint64_t limit_usec(const struct vm *vm)
{
	return (uint64_t)vm->row.autostop * 1000000;
}

static void stop(struct vm *vm)
{
	_cleanup_err_ struct err e = {0};
	struct vm_waiter *w;

	vm_log(vm, "autostop: nobody has used it for %" PRIu32 " s: stopping it", vm->row.autostop);
	if (vm_verb(vm, VM_STOP, nobody, NULL, &w, &e) < 0)
		vm_log(vm, "autostop: %s", err_text(&e));
}

/* Lines of text that a guest has made. */
static bool has_jobs(const char *data, size_t n)
{
	char text[TEXT_MAX + 1];
	const char *line;
	uint64_t count;

	if (n > TEXT_MAX)
		n = TEXT_MAX;
	memcpy(text, data, n);
	text[n] = '\0';
	line = strstr(text, JOBS_LINE);
	if (!line)
		return false;
	line += strlen(JOBS_LINE);
	text[(size_t)(line - text) + strcspn(line, "\n")] = '\0';
	return parse_u64(line, 0, UINT64_MAX, &count) == 0 && count > 0;
}

struct question {
	struct vms *vms;
	uint32_t id;
};

static void on_health(void *user, int code, const void *data, size_t n)
{
	struct question *q = user;
	struct vm *vm = vms_get(q->vms, q->id);

	free(q);
	if (!vm)
		return;
	vm->asked = false;
	/* A guest that doesn't answer may be at work all the same. */
	if (code < 0 || has_jobs(data, n))
		vm_touch(vm);
	if (runs(vm) && vm->uses == 0 && !busy(vm) && vm->row.autostop &&
		io_now_usec() >= vm->used_at + limit_usec(vm))
		stop(vm);
	else
		idle_check(vm);
}

static void ask(struct vm *vm)
{
	struct question *q = malloc(sizeof(*q));

	if (q)
		*q = (struct question){vm->vms, vm->row.id};
	vm->asked =
		q && vm->agent &&
		agent_request(vm->agent, AGENT_HEALTH, 0, NULL, 0, ASK_MSEC, on_health, q, NULL, NULL) == 0;
	if (!vm->asked) {
		free(q);
		vm_touch(vm);
		idle_check(vm);
	}
}

static int on_idle(sd_event_source *s, uint64_t usec, void *user)
{
	struct vm *vm = user;

	(void)s;
	(void)usec;
	if (busy(vm) || io_now_usec() < vm->used_at + limit_usec(vm))
		idle_check(vm);
	else
		ask(vm);
	return 0;
}

void idle_check(struct vm *vm)
{
	uint64_t at = vm->used_at + limit_usec(vm);

	vm->idle = sd_event_source_disable_unref(vm->idle);
	if (!runs(vm) || vm->uses > 0 || !vm->row.autostop || vm->asked)
		return;
	/* Something is at work on it: its end is seen a while later. */
	if (busy(vm) && at < io_now_usec() + ASK_MSEC * 1000)
		at = io_now_usec() + ASK_MSEC * 1000;
	sd_event_add_time(vm->vms->event, &vm->idle, CLOCK_MONOTONIC, at, SLACK, on_idle, vm);
}

void idle_begin(struct vm *vm)
{
	vm_touch(vm);
	idle_check(vm);
}

void idle_end(struct vm *vm)
{
	vm->asked = false;
	vm->idle = sd_event_source_disable_unref(vm->idle);
}

void vm_use(struct vm *vm)
{
	if (vm->uses++ == 0)
		vm->idle = sd_event_source_disable_unref(vm->idle);
}

void vm_unuse(struct vm *vm)
{
	if (vm->uses == 0 || --vm->uses > 0)
		return;
	vm_touch(vm);
	idle_check(vm);
}

void vm_touch(struct vm *vm)
{
	vm->used_at = io_now_usec();
}

unsigned vm_uses(const struct vm *vm, uint64_t *ret_idle_usec)
{
	uint64_t now = io_now_usec();

	*ret_idle_usec = runs(vm) && vm->uses == 0 && now > vm->used_at ? now - vm->used_at : 0;
	return vm->uses;
}
