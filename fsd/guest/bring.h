/*
 * Files brought into a guest: the sending end of banger/workspace_proto.h over a socket, whose other end is `banger-guest ... receive`
 * (guest/conduit.h). What the guest says is bounded and made printable. Blocks: workers only.
 */
#ifndef BANGER_GUEST_BRING_H
#define BANGER_GUEST_BRING_H

#include <time.h>

#include "banger/err.h"
#include "banger/workspace_proto.h"

struct bring {
	int sock; /* borrowed */
	struct workspace_reader in;
};

/* FLAGS: WORKSPACE_FORCE. */
int bring_begin(struct bring *b, int sock, uint32_t flags, struct err *e);
/* A record; what the guest has said by then of why it can't go on is the error. */
int bring_say(struct bring *b, uint32_t type, const void *head, size_t head_n, const void *body,
	size_t body_n, struct err *e);
/* The next record of the guest's. */
int bring_hear(struct bring *b, struct workspace_record *ret, struct err *e);
/* Permissions MODE. DATA's are N bytes; FD's go on to its end, at most MAX (-EFBIG). *RET_N (may be NULL): how many. */
int bring_bytes(struct bring *b, const char *path, uint32_t mode, const void *data, size_t n, struct err *e);
int bring_file(struct bring *b, const char *path, uint32_t mode, struct timespec mtime, int fd, uint64_t max,
	uint64_t *ret_n, struct err *e);
/*
 * Asks whether N files are still what STATES says (WORKSPACE_ID bytes each; zeros: absent); SAME[I] is set for those that are.
 */
int bring_compare(struct bring *b, const char *const *paths, const uint8_t (*states)[WORKSPACE_ID], size_t n,
	bool *same, struct err *e);
/* That was all. STATES: of the COUNT files that were brought, in their order. */
int bring_end(struct bring *b, uint8_t (*states)[WORKSPACE_ID], size_t count, struct err *e);

#endif
