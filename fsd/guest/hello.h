/*
 * The handshake of the agent's protocol, for a worker that waits for a guest to come up.
 */
#ifndef BANGER_HELLO_H
#define BANGER_HELLO_H

#include <stdint.h>

#include "banger/err.h"

/*
 * Says HELLO with a random cookie and TOKEN (AGENT_TOKEN bytes; NULL: the agent of an older banger, or none) on the connected socket FD and reads, and throws away, everything up to the agent's HELLO
 * with that cookie (bytes of an earlier connection may come first; at most 1 MiB of them). FD then stands right behind
 * that frame. RET_BOOT_ID: the guest kernel's boot_id, NUL-terminated.
 *
 * -ETIMEDOUT after TIMEOUT_MSEC; -EINTR when CANCEL_FD (negative: none) becomes readable; -EPIPE when the peer closed;
 * -ESRCH when PIDFD (negative: none) says that the VMM has ended; -EPROTO. Blocking; any thread.
 */
int agent_hello(int fd, const uint8_t *token, unsigned timeout_msec, int cancel_fd, int pidfd,
	char ret_boot_id[40], struct err *e);

#endif
