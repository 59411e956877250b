/*
 * What banger-fsd asks of banger-vsock.service, where its own unit keeps it from making sockets of the kernel's vsock: SOCK_SEQPACKET at
 * DIAL_SOCKET, 0600, the owner's. Each request is answered once, in order; with code 0 the answer has a socket that is being connected
 * (banger/vsock.h). Who says anything else, or takes no answers, is hung up on. Host byte order (one machine).
 */
#ifndef BANGER_DIAL_PROTO_H
#define BANGER_DIAL_PROTO_H

#include <stdint.h>

#define DIAL_SOCKET "/run/banger/vsock.sock"

struct dial_request {
	uint32_t cid, port;
};

struct dial_reply {
	int32_t code; /* 0, or vsock_begin()'s */
};

#endif
