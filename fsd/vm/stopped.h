/*
 * The files of a VM that does not run: served from its disks by a child (offline/child.h), which begins when somebody asks, and ends when nobody has for a
 * while, or a start wants the disks. Loop thread, but for disks_of_vm_lock().
 */
#ifndef BANGER_VM_STOPPED_H
#define BANGER_VM_STOPPED_H

#include "vm/vm.h"

struct stopped;

/* Who serves VM's files now; NULL: nobody. */
struct agent *stopped_agent(struct vm *vm);
/* Makes sure that somebody does: 0, or -errno: -EBUSY its disks aren't there or are somebody else's, others as the last try ended. */
int stopped_begin(struct vm *vm, struct agent **ret);
/* The disks are wanted: nothing more is asked, and what was is answered. They are free when disks_lock() has them. */
void stopped_end(struct vm *vm);
/* At the daemon's end: the children finish by themselves. */
void stopped_free_all(struct vms *vms);

#endif
