/* vms/: VMs made, removed, renamed. */
#include <errno.h>

#include "banger/cleanup.h"
#include "banger/name.h"
#include "tree/state.h"
#include "tree/tables.h"

static bool vm_next(struct tree *t, uint64_t row, uint64_t after, uint64_t *ret, const char **ret_name)
{
	struct vm *vm = vms_next(t->vms, (uint32_t)after);
	struct vm_view v;

	(void)row;
	if (!vm)
		return false;
	vm_view(vm, &v);
	*ret = v.id;
	*ret_name = v.name;
	return true;
}

static bool vm_find(struct tree *t, uint64_t row, const char *name, uint64_t *ret)
{
	struct vm *vm = name_vm_valid(name) ? vms_find(t->vms, name) : NULL;
	struct vm_view v;

	(void)row;
	if (!vm)
		return false;
	vm_view(vm, &v);
	*ret = v.id;
	return true;
}

struct deed {
	struct tree *t;
	struct call *call;
	uint32_t vm; /* 0: looked up by name at the end */
	char *what, *name;
};

/* NULL: no memory, CALL is told. */
static struct deed *deed_new(
	struct tree *t, struct call *call, uint32_t vm, const char *verb, const char *name)
{
	struct deed *d = calloc(1, sizeof(*d));

	if (d) {
		*d = (struct deed){.t = t, .call = call, .vm = vm, .name = strdup(name)};
		if (d->name && asprintf(&d->what, "%s vms/%s", verb, name) >= 0)
			return d;
		free(d->name);
		free(d);
	}
	call_done(call, -ENOMEM);
	return NULL;
}

static void deed_done(void *user, int code, const struct err *e)
{
	struct deed *d = user;
	struct vm *vm;
	struct vm_view v;

	if (code == 0 && d->vm == 0 && (vm = vms_find(d->t->vms, d->name))) {
		vm_view(vm, &v);
		d->call->node = node_number(KIND_VM, v.id, 0);
	}
	vm_deed(d->t, d->vm, d->call, d->what, code, e ? e->text : NULL, false);
	free(d->what);
	free(d->name);
	free(d);
}

static void make(struct tree *t, uint64_t row, const char *name, struct call *call)
{
	struct deed *d = deed_new(t, call, 0, "mkdir", name);
	_cleanup_err_ struct err e = {0};
	int r;

	(void)row;
	if (!d)
		return;
	r = vm_create(t->vms, name, deed_done, d, &e);
	if (r < 0)
		deed_done(d, r, &e);
}

/* Something is done to a VM that is there. */
static struct deed *deed_of(
	struct tree *t, struct call *call, uint64_t child, const char *verb, struct vm **ret_vm)
{
	struct vm_view v;

	*ret_vm = tree_vm(t, (uint32_t)child);
	vm_view(*ret_vm, &v);
	return deed_new(t, call, v.id, verb, v.name);
}

static void remove_vm(struct tree *t, uint64_t row, uint64_t child, struct call *call)
{
	struct vm *vm;
	struct deed *d = deed_of(t, call, child, "rmdir", &vm);
	_cleanup_err_ struct err e = {0};
	int r;

	(void)row;
	if (!d)
		return;
	r = vm_delete(vm, deed_done, d, &e);
	if (r < 0)
		deed_done(d, r, &e);
}

static void rename_vm(struct tree *t, uint64_t row, uint64_t child, const char *name, struct call *call)
{
	struct vm *vm;
	struct deed *d = deed_of(t, call, child, "mv", &vm);
	_cleanup_err_ struct err e = {0};
	int r;

	(void)row;
	if (!d)
		return;
	r = vm_rename(vm, name, deed_done, d, &e);
	if (r < 0)
		deed_done(d, r, &e);
}

static uint64_t vms_changed(struct tree *t, uint64_t row)
{
	(void)row;
	return t->vms_changed;
}

const struct dir_type vms_dir = {
	.kind = KIND_VMS,
	.path = "vms/",
	.doc = "The VMs. `mkdir` makes one with defaults, `rmdir` deletes a stopped one, `mv` renames it. "
	       "Names: 1 to 63 of a-z 0-9 -.",
	.exists = row_always,
	.changed = vms_changed,
	.parent = parent_root,
	.child = KIND_VM,
	.next = vm_next,
	.find = vm_find,
	.make = make,
	.remove = remove_vm,
	.rename = rename_vm,
};
