/* A stopped VM becomes an image. */
#include <errno.h>
#include <fcntl.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "vm/disks.h"
#include "vm/model.h"

struct promote {
	struct vms *vms;
	uint32_t id;
	char *name; /* the image's */
	vm_done_fn done;
	void *user;
};

static void promote_free(struct promote *p)
{
	free(p->name);
	free(p);
}

static void over(void *user, int code, const struct err *e)
{
	struct promote *p = user;
	struct vm *vm = vms_get(p->vms, p->id);

	if (vm) {
		vm->deleting = false;
		vm_changed(vm);
		if (code == 0)
			vm_log(vm, "promoted to the image %s", p->name);
	}
	p->done(p->user, code, e);
	promote_free(p);
}

bool vm_promote_legal(const struct vm *vm)
{
	return !vm->deed && !vm->deleting && vm->pidfd < 0 &&
	       (vm->state == VM_STOPPED || vm->state == VM_FAILED);
}

static int check(const struct vm *vm, struct err *e)
{
	if (vm->deed || vm->deleting)
		return err_set(e, -EBUSY, "promote: something is at work on the VM: try again");
	if (vm->pidfd >= 0)
		return err_set(e, -EBUSY,
			"promote: the VM is %s, and its disk changes: echo stop > vms/%s/ctl first",
			vm_state_name(vm->state), vm->row.name);
	return 0;
}

/* What the VM has written, its descriptor the caller's, and the image's file that it was written over. */
static int open_written(struct vm *vm, struct objects_written *ret, char **ret_base, struct err *e)
{
	_cleanup_close_ int dir = -EBADF, fd = -EBADF;
	struct helper *helper = NULL;
	int r = vm_open_dir(vm->vms, vm->row.id, &dir, e);

	if (r < 0)
		return r;
	fd = openat(dir, DISKS_OVERLAY, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		helper = vm->vms->config.helper;
		fd = openat(dir, DISKS_COW, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	}
	if (fd < 0 && errno == ENOENT)
		return err_set(
			e, -ENOENT, "promote: the VM was never started: there is nothing that it changed");
	if (fd < 0)
		return err_sys(e, -errno, "promote: the VM's disk");
	r = io_read_file(dir, DISKS_BASE, 4096, ret_base, NULL, e);
	if (r == 0)
		*ret = (struct objects_written){
			.fd = TAKE_FD(fd), .helper = helper, .vm = vm->row.id, .size = vm->row.disk};
	return r;
}

int vm_promote(struct vm *vm, const char *name, vm_done_fn done, void *user, struct objects_waiter **ret,
	struct err *e)
{
	struct objects *images = vm->vms->config.images;
	struct objects_written written = {.fd = -EBADF};
	_cleanup_close_ int fd = -EBADF;
	_cleanup_free_ char *file = NULL;
	const struct store_object *base;
	struct promote *p;
	int r = check(vm, e);

	if (r == 0)
		r = open_written(vm, &written, &file, e);
	fd = written.fd;
	if (r < 0)
		return r;
	base = objects_of_file(images, file);
	if (!base)
		return err_set(e, -ENOENT,
			"promote: the image that the VM was started from is no more: start it once with the "
			"one it has now");
	p = calloc(1, sizeof(*p));
	if (!p || !(p->name = strdup(name))) {
		free(p);
		return err_sys(e, -ENOMEM, "promote");
	}
	p->vms = vm->vms;
	p->id = vm->row.id;
	p->done = done;
	p->user = user;
	r = objects_promote(images, name, vm->row.name, base, &written, over, p, ret, e);
	if (r < 0) {
		promote_free(p);
		err_wrap(e, "promote");
		return r;
	}
	/* Nothing begins on it meanwhile. */
	vm->deleting = true;
	vm_changed(vm);
	return 0;
}
