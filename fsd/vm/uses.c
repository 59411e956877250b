/* Which VMs use which image and kernel: what images/ and kernels/ ask the model. */
#include <errno.h>

#include "vm/model.h"

static bool uses_image(const struct vm *vm, const struct store_object *row)
{
	return objects_meant(vm->vms->config.images, vm->row.image) == row;
}

static bool image_used(void *user, const struct store_object *row)
{
	struct vms *vms = user;
	struct vm *vm;

	TAILQ_FOREACH (vm, &vms->list, link)
		if (uses_image(vm, row))
			return true;
	return false;
}

static int image_user_ids(void *user, const struct store_object *row, uint32_t **ret, size_t *ret_n)
{
	struct vms *vms = user;
	uint32_t *ids = calloc(vms->count + 1, sizeof(*ids));
	struct vm *vm;
	size_t n = 0;

	if (!ids)
		return -ENOMEM;
	TAILQ_FOREACH (vm, &vms->list, link)
		if (uses_image(vm, row))
			ids[n++] = vm->row.id;
	*ret = ids;
	*ret_n = n;
	return 0;
}

static void image_renamed(void *user, const struct store_object *row, const char *name)
{
	struct vms *vms = user;
	struct vm *vm;

	TAILQ_FOREACH (vm, &vms->list, link)
		if (uses_image(vm, row)) {
			vm_set_text(&vm->row.image, name);
			vm_log(vm, "image is %s from now on: what it was pulled from leads to another one",
				name);
			vm_save(vm);
			vm_changed(vm);
		}
}

static bool kernel_used(void *user, const struct store_object *row)
{
	struct vms *vms = user;
	struct vm *vm;

	TAILQ_FOREACH (vm, &vms->list, link)
		if (strcmp(vm->row.kernel, row->name) == 0)
			return true;
	return false;
}

void uses_begin(struct vms *vms)
{
	objects_set_users(vms->config.images,
		&(struct objects_users){
			.used = image_used, .ids = image_user_ids, .renamed = image_renamed, .user = vms});
	objects_set_users(vms->config.kernels, &(struct objects_users){.used = kernel_used, .user = vms});
}
