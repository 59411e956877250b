/*
 * The host's end of a guest's vsock: the kernel's own (vhost-vsock), or Firecracker's, which is a unix socket. engine.h's alone, but for tests and benches.
 */
#ifndef BANGER_ENGINE_VSOCK_H
#define BANGER_ENGINE_VSOCK_H

#include <stdint.h>

#include "banger/err.h"

/* Where a guest's vsock is. */
struct vsock_place {
	uint32_t cid; /* with the kernel's; 0: it is Firecracker's */
	int dir_fd;   /* Firecracker's socket NAME (docs/vsock.md in its sources) in it */
	const char *name;
	unsigned port; /* the guest's */
};

/* How long one waits. */
struct vsock_wait {
	uint64_t end;         /* CLOCK_MONOTONIC usec: -ETIMEDOUT */
	int pidfd, cancel_fd; /* readable: -ESRCH, -EINTR; negative: there is none */
};

/* Connects as soon as somebody listens there. *RET_FD: non-blocking, the caller's. -EPROTO: something else than Firecracker answers. Blocking; any thread. */
int vsock_connect(const struct vsock_place *at, const struct vsock_wait *w, int *ret_fd, struct err *e);

/* A moment between two tries; 0, or why there is nothing more to wait for. */
int vsock_pause(const struct vsock_wait *w, struct err *e);

#endif
