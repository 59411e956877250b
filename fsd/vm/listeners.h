/*
 * Which TCP ports of the guest listen, followed from vm_ports_watch() to vm_ports_unwatch(): its agent looks once a LISTENERS_MSEC then, and not at all otherwise. Loop thread.
 */
#ifndef BANGER_VM_LISTENERS_H
#define BANGER_VM_LISTENERS_H

#include "vm/vm.h"

#define LISTENERS_MSEC 1000

struct listeners; /* of a VM, while somebody wants to know */

/* The agent came or went, the VM was paused or goes on; or its VMM has gone, and nothing listens any more. */
void listeners_check(struct vm *vm);
void listeners_end(struct vm *vm);
/* The VM is no more. */
void listeners_free(struct vm *vm);

/* Those that are known to listen: ports, each once, that the guest's loopback leads to, in order. Borrowed until the loop turns. */
const uint16_t *listeners_ports(const struct vm *vm, size_t *ret_n);

#endif
