/*
 * The vsock of a guest: a device of the kernel's (vhost-vsock) with a number (CID) that is one for the whole host. The descriptor has that number from here
 * on until it is closed, by the VMM's end: no other VM, of whoever's, gets it meanwhile.
 */
#ifndef BANGER_VSOCK_H
#define BANGER_VSOCK_H

#include <stdint.h>

#include "banger/err.h"

/* *RET_FD: the caller's. -ENODEV: this host has none. -EADDRINUSE: all numbers that were tried are others'. */
int vsock_take(int *ret_fd, uint32_t *ret_cid, struct err *e);

#endif
