/*
 * Connections to the kernel's vsock (vsock(7)).
 */
#ifndef BANGER_LIB_VSOCK_H
#define BANGER_LIB_VSOCK_H

#include <stdint.h>

/*
 * *RET_FD: a non-blocking stream socket, the caller's, that is being connected to PORT of the guest CID, or is: writable when that is known, SO_ERROR says
 * which. The kernel gives up after 2 s. -EAFNOSUPPORT: this process may have none, or the kernel has none; else connect(2)'s. Any thread.
 */
int vsock_begin(uint32_t cid, uint32_t port, int *ret_fd);

#endif
