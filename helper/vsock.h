/*
 * The vsock of a guest: a device of the kernel's (vhost-vsock) with a number (CID) that is one for the whole host. The descriptor has that number from here
 * on until it is closed, by the VMM's end: no other VM, of whoever's, gets it meanwhile.
 */
#ifndef BANGER_VSOCK_H
#define BANGER_VSOCK_H

#include <stdint.h>

#include "banger/err.h"

/* Far above those that people and other programs count from 3 on, and so many that one that was a VM's is hardly another's soon. */
#define VSOCK_CID_FIRST 0x10000000u
#define VSOCK_CID_COUNT 0x60000000u
#define VSOCK_TRIES     64

/* *RET_FD: the caller's. -ENODEV: this host has none; or vsock_number()'s. */
int vsock_take(int *ret_fd, uint32_t *ret_cid, struct err *e);

/* Gives the device FD a number of those at random that nobody has. -EADDRINUSE: all VSOCK_TRIES that were tried are others'; or what the kernel says. */
int vsock_number(int fd, uint32_t *ret_cid, struct err *e);

#endif
