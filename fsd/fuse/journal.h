/*
 * What the kernel was told is written, and the guest has not confirmed yet: kept in a file in memory that outlives this daemon, so that the next
 * one asks the guest again. Doing one of these a second time changes nothing. A ring: as long as the oldest is not confirmed, its room
 * is not used again. Loop thread.
 */
#ifndef BANGER_FUSE_JOURNAL_H
#define BANGER_FUSE_JOURNAL_H

#include "banger/err.h"
#include "guest/files.h"

struct journal;

struct journal_op {
	uint64_t node;
	uint32_t vm;
	uint32_t boot; /* of the guest: journal_boot() */
	struct file_ref file;
	uint64_t offset;
	uint32_t size;              /* of DATA; 0: it is CHANGE */
	uint32_t state;             /* of the journal */
	struct files_change change; /* never of a size */
	char data[];
};

/* The file "behind" in RUN_FD, made or as an earlier daemon has left it. */
int journal_open(int run_fd, struct journal **ret, struct err *e);
struct journal *journal_close(struct journal *j);

/* Keeps OP and its DATA; NULL: there is no room now. Valid until journal_done(). */
struct journal_op *journal_add(struct journal *j, const struct journal_op *op, const void *data);
void journal_done(struct journal *j, struct journal_op *op);
/* What an earlier daemon has left, in the order in which it was asked for, each once: calls FN with those of VM. */
void journal_replay(
	struct journal *j, uint32_t vm, void (*fn)(void *user, struct journal_op *op), void *user);
/* An earlier daemon has left something of VM's that was not replayed yet; NODE: of this file, 0: of any. */
bool journal_left(struct journal *j, uint32_t vm, uint64_t node);
/* A number for a guest's BOOT_ID. */
uint32_t journal_boot(const char *boot_id);

#endif
