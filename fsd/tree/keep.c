/* vms/NAME/keep: an open file is a lease. The kernel tells when the last holder of a descriptor has gone, however it went. */
#include <inttypes.h>

#include "tree/state.h"
#include "tree/tables.h"

void vm_keep_show(struct tree *t, const struct target *at, FILE *out)
{
	(void)t;
	(void)at;
	(void)out;
}

void vm_idle_show(struct tree *t, const struct target *at, FILE *out)
{
	uint64_t idle;
	unsigned uses = vm_uses(tree_vm(t, (uint32_t)at->row), &idle);

	fprintf(out, "uses %u\nidle_usec %" PRIu64 "\n", uses, idle);
}

void tree_use(struct tree *t, uint64_t row, bool begins)
{
	struct vm *vm = row <= UINT32_MAX ? tree_vm(t, (uint32_t)row) : NULL;

	if (vm)
		(begins ? vm_use : vm_unuse)(vm);
}

void tree_touch(struct tree *t, uint64_t row)
{
	struct vm *vm = row <= UINT32_MAX ? tree_vm(t, (uint32_t)row) : NULL;

	if (vm)
		vm_touch(vm);
}

static int keep_open(struct tree *t, struct handle *h)
{
	tree_use(t, h->at.row, true);
	return 0;
}

static void keep_release(struct tree *t, struct handle *h)
{
	tree_use(t, h->at.row, false);
}

const struct file_ops vm_keep_ops = {.open = keep_open, .release = keep_release};
