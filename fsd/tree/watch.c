/* The model's events: what the kernel has of them becomes stale, who waits is answered, who listens is told. In this order. */
#include <inttypes.h>

#include "banger/cleanup.h"
#include "tree/state.h"

static void on_created(void *user, struct vm *vm)
{
	struct tree *t = user;
	struct vm_view v;

	vm_view(vm, &v);
	t->vms_changed = io_wall_usec();
	tree_stale(t, KIND_VMS, 0, 0);
	stream_event(t, "event=created vm=%s", v.name);
}

static void on_deleted(void *user, uint32_t id, const char *name)
{
	static const enum node_kind kinds[] = {KIND_VM, KIND_VM_STREAM, KIND_VM_WAIT, KIND_EXECS};
	struct tree *t = user;

	t->vms_changed = io_wall_usec();
	tree_stale(t, KIND_VMS, 0, 0);
	for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
		uint64_t first = node_number(kinds[i], id, 0);

		tree_stale_all(t, kinds[i], id);
		tree_modes_forget(t, first, first + NODE_ATTR_MAX);
	}
	wait_check(t, id);
	stream_end(t, CHANNEL_VM_LOG, id);
	stream_end(t, CHANNEL_VM_CONSOLE, id);
	stream_end(t, CHANNEL_VM_PORTS, id);
	stream_event(t, "event=deleted vm=%s", name);
}

static void on_renamed(void *user, struct vm *vm, const char *old_name)
{
	struct tree *t = user;
	struct vm_view v;

	vm_view(vm, &v);
	t->vms_changed = io_wall_usec();
	tree_stale(t, KIND_VMS, 0, 0);
	tree_stale_all(t, KIND_VM, v.id);
	stream_event(t, "event=renamed vm=%s from=%s", v.name, old_name);
}

static void on_changed(void *user, struct vm *vm)
{
	struct tree *t = user;
	struct vm_view v;

	vm_view(vm, &v);
	tree_stale_all(t, KIND_VM, v.id);
	stream_event(t, "event=changed vm=%s", v.name);
}

static void on_state(void *user, struct vm *vm, enum vm_state old)
{
	struct tree *t = user;
	struct vm_view v;

	vm_view(vm, &v);
	tree_stale_all(t, KIND_VM, v.id);
	wait_check(t, v.id);
	stream_event(
		t, "event=state vm=%s state=%s from=%s", v.name, vm_state_name(v.state), vm_state_name(old));
}

static void on_ready(void *user, struct vm *vm)
{
	struct tree *t = user;
	struct vm_view v;

	vm_view(vm, &v);
	tree_stale_all(t, KIND_VM, v.id);
	wait_check(t, v.id);
	stream_event(t, "event=ready vm=%s", v.name);
}

static void on_log(void *user, struct vm *vm, const char *line)
{
	struct vm_view v;

	vm_view(vm, &v);
	tree_stale(user, KIND_VM, v.id, VM_LOG_ID);
	stream_put(user, CHANNEL_VM_LOG, v.id, line, strlen(line));
	if (line[0] && line[strlen(line) - 1] != '\n')
		stream_put(user, CHANNEL_VM_LOG, v.id, "\n", 1);
}

static void on_console(void *user, struct vm *vm, const void *data, size_t n)
{
	struct vm_view v;

	vm_view(vm, &v);
	stream_put(user, CHANNEL_VM_CONSOLE, v.id, data, n);
}

static void on_port(void *user, struct vm *vm, const char *line)
{
	struct vm_view v;

	vm_view(vm, &v);
	stream_put(user, CHANNEL_VM_PORTS, v.id, line, strlen(line));
}

const struct vm_watch tree_vm_watch = {
	.created = on_created,
	.deleted = on_deleted,
	.renamed = on_renamed,
	.changed = on_changed,
	.state = on_state,
	.ready = on_ready,
	.log = on_log,
	.console = on_console,
	.port = on_port,
};
