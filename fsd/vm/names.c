/* VMs come, get another name, go: each a job of the serial worker, told when it is done. */
#include <errno.h>
#include <inttypes.h>

#include "banger/io.h"
#include "banger/name.h"
#include "vm/model.h"
#include "vm/objects_make.h"

struct change {
	struct vms *vms;
	struct vm *vm;
	vm_done_fn done;
	void *user;
	char *old_name;
	struct store_vm row; /* of a creation: the worker's own */
};

static int work_create(void *data, struct err *e)
{
	struct change *c = data;
	_cleanup_close_ int dir = -EBADF;
	int r = store_vm_insert(c->vms->config.store, &c->row, subnet_last(&c->vms->subnet), e);

	if (r < 0)
		return r;
	r = vm_open_dir(c->vms, c->row.id, &dir, e);
	if (r < 0)
		store_vm_delete(c->vms->config.store, c->row.id, NULL);
	return r;
}

static void done_create(void *data, int code, struct err *e)
{
	struct change *c = data;
	struct vm *vm = c->vm;

	vm->deleting = false;
	vm->row.id = c->row.id;
	vm->row.address_index = c->row.address_index;
	store_vm_clear(&c->row);
	/* Numbers rise: the list stays in their order. */
	TAILQ_REMOVE(&c->vms->list, vm, link);
	TAILQ_INSERT_TAIL(&c->vms->list, vm, link);
	if (code < 0) {
		TAILQ_REMOVE(&c->vms->list, vm, link);
		c->vms->count--;
		vm_free(vm);
	} else {
		vm_log(vm, "created");
		if (c->vms->watch.created)
			c->vms->watch.created(c->vms->user, vm);
	}
	c->done(c->user, code, e);
	free(c);
}

/* A new VM's, or an old one's new one. */
static int check_name(struct vms *vms, const char *name, struct err *e)
{
	if (!name_vm_valid(name))
		return err_set(e, -EINVAL, "that is no VM's name: 1 to %d of a-z 0-9 -, no - at either end",
			NAME_VM_MAX);
	if (vms_find(vms, name))
		return err_set(e, -EEXIST, "there is a VM %s already", name);
	return 0;
}

int vm_create(struct vms *vms, const char *name, vm_done_fn done, void *user, struct err *e)
{
	const struct settings *s = vms->config.settings;
	struct store_vm row = {
		.name = (char *)name,
		.image = (char *)settings_get(s, "default_image"),
		.kernel = (char *)settings_get(s, "default_kernel"),
		.engine = (char *)"",
		.storage = (char *)settings_get(s, "default_storage"),
		.vcpus = (uint32_t)settings_get_u64(s, "default_vcpus"),
		.memory = settings_get_u64(s, "default_memory") & ~((1ull << 20) - 1),
		.disk = settings_get_u64(s, "default_disk") & ~4095ull,
		.nat = true,
		.created = io_wall_usec(),
		.changed = io_wall_usec(),
		.state = (char *)vm_state_name(VM_CREATED),
		.error = (char *)"",
		.boot_id = (char *)"",
		.accel = (char *)"",
		.publish = (char *)"",
	};
	struct change *c;
	struct vm *vm;
	int r = check_name(vms, name, e);

	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c));
	vm = vm_new(vms);
	if (!c || !vm || vm_copy_row(&row, &vm->row) < 0 || vm_copy_row(&row, &c->row) < 0) {
		if (vm)
			vm_free(vm);
		free(c);
		return err_sys(e, -ENOMEM, "VM %s", name);
	}
	vm->state = VM_CREATED;
	c->vms = vms;
	c->vm = vm;
	c->done = done;
	c->user = user;
	r = job_submit_serial(vms->jobs, work_create, done_create, c, e);
	if (r < 0) {
		store_vm_clear(&c->row);
		free(c);
		vm_free(vm);
		return r;
	}
	/* The name is taken from now on; the VM has no number, and isn't seen, before it is stored. */
	vm->deleting = true;
	TAILQ_INSERT_TAIL(&vms->list, vm, link);
	vms->count++;
	return 0;
}

static bool is_down(const struct vm *vm)
{
	return vm->state == VM_CREATED || vm->state == VM_STOPPED || vm->state == VM_FAILED;
}

static int must_be_down(struct vm *vm, const char *what, struct err *e)
{
	if (vm->deleting)
		return err_set(e, -EBUSY, "%s: it is being deleted", what);
	if (vm->deed)
		return err_set(e, -EBUSY, "%s: %s is at work on it: see ops/%" PRIu64, what,
			vm_verb_name(vm->deed->verb), op_id(vm->deed->op));
	if (!is_down(vm))
		return err_set(e, -EBUSY, "%s: it is %s: stop it first", what, vm_state_name(vm->state));
	return 0;
}

/* Out of sight first; then the row; then the files: a crash in between is finished by the next start (reconcile.c). */
static int work_delete(void *data, struct err *e)
{
	struct change *c = data;
	char name[16], gone[32];
	int r;

	snprintf(name, sizeof(name), "%u", c->vm->row.id);
	snprintf(gone, sizeof(gone), ".gone-%u", c->vm->row.id);
	if (renameat(c->vms->dir_fd, name, c->vms->dir_fd, gone) < 0 && errno != ENOENT)
		return err_sys(e, -errno, "removing its files");
	r = store_vm_delete(c->vms->config.store, c->vm->row.id, e);
	if (r < 0) {
		(void)!renameat(c->vms->dir_fd, gone, c->vms->dir_fd, name);
		return r;
	}
	objects_remove(c->vms->dir_fd, gone, NULL);
	return 0;
}

static void done_delete(void *data, int code, struct err *e)
{
	struct change *c = data;
	struct vm *vm = c->vm;
	struct vms *vms = c->vms;

	vm->deleting = false;
	if (code == 0) {
		TAILQ_REMOVE(&vms->list, vm, link);
		vms->count--;
		if (vms->log.id == vm->row.id)
			vms->log.fd = close_fd(vms->log.fd);
		if (vms->console.id == vm->row.id)
			vms->console.fd = close_fd(vms->console.fd);
		execs_vm_gone(vms->execs, vm->row.id);
		if (vms->watch.deleted)
			vms->watch.deleted(vms->user, vm->row.id, vm->row.name);
		vm_free(vm);
	}
	c->done(c->user, code, e);
	free(c);
}

int vm_delete(struct vm *vm, vm_done_fn done, void *user, struct err *e)
{
	struct change *c;
	int r = must_be_down(vm, "delete", e);

	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_sys(e, -ENOMEM, "delete");
	*c = (struct change){.vms = vm->vms, .vm = vm, .done = done, .user = user};
	r = job_submit_serial(vm->vms->jobs, work_delete, done_delete, c, e);
	if (r < 0)
		free(c);
	else
		vm->deleting = true;
	return r;
}

static void done_rename(void *user, int code, const struct err *e)
{
	struct change *c = user;

	c->vm->deleting = false;
	if (code < 0) {
		free(c->vm->row.name);
		c->vm->row.name = TAKE_PTR(c->old_name);
	} else {
		vm_log(c->vm, "renamed from %s to %s", c->old_name, c->vm->row.name);
		if (c->vms->watch.renamed)
			c->vms->watch.renamed(c->vms->user, c->vm, c->old_name);
	}
	c->done(c->user, code, e);
	free(c->old_name);
	free(c);
}

int vm_rename(struct vm *vm, const char *new_name, vm_done_fn done, void *user, struct err *e)
{
	_cleanup_free_ char *copy = NULL;
	struct change *c;
	int r = check_name(vm->vms, new_name, e);

	if (r == 0)
		r = must_be_down(vm, "rename", e);
	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c));
	copy = strdup(new_name);
	if (!c || !copy) {
		free(c);
		return err_sys(e, -ENOMEM, "rename");
	}
	*c = (struct change){.vms = vm->vms, .vm = vm, .done = done, .user = user, .old_name = vm->row.name};
	vm->row.name = TAKE_PTR(copy);
	vm->row.changed = io_wall_usec();
	r = vm_save_then(vm, done_rename, c, e);
	if (r < 0) {
		free(vm->row.name);
		vm->row.name = c->old_name;
		free(c);
	} else {
		vm->deleting = true;
	}
	return r;
}
