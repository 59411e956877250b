/*
 * ssh to a guest without a network: what its server needs is brought into the guest's memory, once a run. Loop thread.
 *
 * The host key is banger's own, one a VM, made when it is first needed and kept in vms/ID/ssh; the guest has it while it runs.
 */
#ifndef BANGER_VM_SSH_H
#define BANGER_VM_SSH_H

#include "vm/vm.h"

struct ssh_waiter;
/*
 * Sees to it that the running guest has a server. DONE once, before the return where it has; *RET names the caller until then, for ssh_unwait().
 * -EBUSY the VM does not run; by DONE -ENOENT: neither the image nor the host has one.
 */
int ssh_ready(struct vm *vm, vm_done_fn done, void *user, struct ssh_waiter **ret, struct err *e);
/* DONE gets -EINTR, before this returns. */
void ssh_unwait(struct ssh_waiter *w);

/* The VM's public host key, "TYPE BASE64"; "": there is none yet. Borrowed. */
const char *ssh_host_key(const struct vm *vm);

#endif
