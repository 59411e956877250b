/*
 * Files brought into a guest: the sending end of banger/workspace_proto.h over a socket, whose other end is `banger-guest ... receive`
 * (guest/conduit.h). What the guest says is bounded and made printable. Blocks: workers only.
 *
 * What is said waits for more to go with it, until something is to be heard: then, or in between, an error of the socket's is told, or why the
 * guest can't go on.
 */
#ifndef BANGER_GUEST_BRING_H
#define BANGER_GUEST_BRING_H

#include <time.h>

#include "banger/err.h"
#include "banger/workspace_proto.h"

#define BRING_ROOM (2 * (WORKSPACE_PAYLOAD_MAX + WORKSPACE_HEAD_SIZE))

/* All zeros before bring_begin(). */
struct bring {
	int sock;     /* borrowed */
	size_t out_n; /* said, and not yet sent */
	uint8_t out[BRING_ROOM];
	struct workspace_reader in;
};

/* FLAGS: WORKSPACE_FORCE. */
int bring_begin(struct bring *b, int sock, uint32_t flags, struct err *e);
/* A record. */
int bring_say(struct bring *b, uint32_t type, const void *head, size_t head_n, const void *body,
	size_t body_n, struct err *e);
/* The next record of the guest's. */
int bring_hear(struct bring *b, struct workspace_record *ret, struct err *e);
/* What the guest said is none of the protocol: -EPROTO, or what it failed with before. */
int bring_broken(struct bring *b, struct err *e);

/* Permissions MODE (WORKSPACE_UNLESS_THERE); PATH's bytes follow, and bring_close(). */
int bring_open(struct bring *b, const char *path, uint32_t mode, struct timespec mtime, struct err *e);
/* FD's bytes, to its end. STEP is told how many came, before they are said; less than 0 ends it. */
int bring_data(struct bring *b, const char *path, int fd, int (*step)(void *user, size_t n, struct err *e),
	void *user, struct err *e);
int bring_close(struct bring *b, struct err *e);
/* A whole file: DATA's N bytes; or FD's to its end, at most MAX (-EFBIG). *RET_N (may be NULL): how many. */
int bring_bytes(struct bring *b, const char *path, uint32_t mode, const void *data, size_t n, struct err *e);
int bring_file(struct bring *b, const char *path, uint32_t mode, struct timespec mtime, int fd, uint64_t max,
	uint64_t *ret_n, struct err *e);

struct bring_answers {
	/* Question NUMBER was answered no. */
	void (*no)(void *user, uint32_t number);
	/* The HEAD that was asked for, and the commit that it is ("": none yet). NULL: none was asked for. Less than 0 ends it; -EPROTO: no such question was asked. */
	int (*head)(void *user, uint32_t number, const char *head, const char *commit);
};

/* Asks for the answers to the ASKED questions since the last time. */
int bring_answers(
	struct bring *b, size_t asked, const struct bring_answers *answers, void *user, struct err *e);
/*
 * Asks whether N files are still what STATES says (WORKSPACE_ID bytes each; zeros: absent); SAME[I] is set for those that are.
 */
int bring_compare(struct bring *b, const char *const *paths, const uint8_t (*states)[WORKSPACE_ID], size_t n,
	bool *same, struct err *e);
/* That was all. STATES (may be NULL): of the COUNT files that were brought, in their order. */
int bring_end(struct bring *b, uint8_t (*states)[WORKSPACE_ID], size_t count, struct err *e);

#endif
