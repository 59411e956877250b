/*
 * What a guest is to have of the owner's: the files of config/file_sync, his git name and mail, a quiet login. At each start, and by the verb `sync`;
 * what has not changed since on either side is not sent again (what there is is in vms/ID/synced). Loop thread.
 */
#ifndef BANGER_VM_SYNC_H
#define BANGER_VM_SYNC_H

#include "vm/vm.h"

struct sync_waiter;
/* DONE once, later. -EBUSY: the VM does not run, or it is being done already. What was left out is in the VM's log. */
int vm_sync(struct vm *vm, vm_done_fn done, void *user, struct sync_waiter **ret, struct err *e);
/* It ends, with -EINTR, later. */
void vm_sync_cancel(struct sync_waiter *w);

#endif
