/*
 * The agent: one process, one poll loop, the protocol of banger/agent_proto.h.
 */
#ifndef BANGER_GUEST_AGENT_H
#define BANGER_GUEST_AGENT_H

#include "banger/err.h"
#include "channel.h"

enum agent_mode {
	AGENT_BY_HAND, /* on a host, for tests: a socket; POWEROFF ends the process */
	AGENT_PROBE,   /* before any disk: proves that the machine runs; ends after 30 s */
	AGENT_BESIDE_INIT,
	AGENT_WITHOUT_INIT,
};

/* Of an agent that was killed, for the one that takes its place. */
struct agent_life {
	bool again;     /* there was one before; the caller's to say */
	bool half_said; /* the host may have heard a part of a frame: on a port nobody can go on from there */
};

/*
 * Opens what the machine has for the agent: the virtio-serial port GUEST_AGENT_PORT, or a vsock listening on GUEST_AGENT_VSOCK. Call it before the
 * initramfs's /dev and /sys are gone.
 */
int agent_open(int *ret_fd, enum channel_kind *ret_kind, struct err *e);

/* The kernel's out-of-memory killer passes this process by. */
void agent_protect(void);

/*
 * Serves FD, with ROOT as the work disk and TREE as the root of all files, for whoever says TOKEN (AGENT_TOKEN bytes; NULL: whoever comes). Comes back
 * (0) when told to end, or -errno when the channel is no more (a socket). LIFE is what outlives it; its caller may let another go on with that, if it can.
 */
int agent_run(int fd, enum channel_kind kind, const uint8_t *token, const char *root, const char *tree,
	enum agent_mode mode, struct agent_life *life);

#endif
