/*
 * The agent's end of the channel: frames in, frames out, never blocking.
 */
#ifndef BANGER_GUEST_CHANNEL_H
#define BANGER_GUEST_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banger/agent_proto.h"

enum channel_kind {
	CHANNEL_SOCKET, /* a connection, after which there is no other */
	CHANNEL_PORT,   /* a virtio port, which can lose its host and get another */
	CHANNEL_VSOCK,  /* a listening vsock: one connection after the other, the host's alone (door.h) */
};

struct channel {
	int fd; /* negative: a listening one without a connection */
	struct door *door;
	size_t hello; /* bytes of a HELLO's payload */
	enum channel_kind kind;
	bool connected;
	bool broken;     /* a socket that has closed */
	bool astray;     /* what came was no frame: all is passed over until HELLO */
	bool overflow;   /* out was more than it may be: nothing more until HELLO */
	bool *half_said; /* whether the host may have heard a part of a frame; not NULL */
	uint8_t *in;
	size_t in_at, in_end;
	uint8_t *out;
	size_t out_at, out_end, out_size;
};

/* Unsent bytes above which nobody may add output of jobs. */
#define CHANNEL_OUT_SOFT (512u * 1024)

/* FD stays the caller's, but a listening one. HALF_SAID: kept by the caller, who may outlive this process. TOKEN: AGENT_TOKEN bytes, NULL: none; a vsock has one. -EINVAL */
int channel_init(struct channel *c, int fd, enum channel_kind kind, const uint8_t *token, bool *half_said);

/* What to poll for input; negative: nothing that poll(2) would tell, but to be looked at now and then. */
int channel_poll_fd(const struct channel *c);
/* Likewise, of a listening one: then channel_admit() has something to do. Negative: it isn't. */
int channel_door_fd(const struct channel *c);
/* Lets the next host in, where there is one: the connection of the one before is closed. */
void channel_admit(struct channel *c);

/* Reads; 1: *H and *PAYLOAD are a whole frame, valid until the next call; 0: none now. */
int channel_receive(struct channel *c, struct agent_header *h, const uint8_t **payload);

/* Queues a frame whose payload is in two parts (B may be NULL). */
void channel_send(struct channel *c, enum agent_type type, uint16_t code, uint32_t id, const void *a,
	size_t a_size, const void *b, size_t b_size);
/* One whose payload lies behind AGENT_HEADER bytes that are overwritten for the time of the call: what the host takes now is not copied. */
void channel_send_in_place(struct channel *c, enum agent_type type, uint32_t id, uint8_t *data, size_t n);
void channel_flush(struct channel *c);
size_t channel_waiting(const struct channel *c);

/* Another host: what was queued for the one before is dropped. What came after its HELLO stays. */
void channel_reset(struct channel *c);

#endif
