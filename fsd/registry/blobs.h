/*
 * The cache of blobs: PLACE_STATE/blobs/ALGORITHM-HEX, whole and verified ones only; beside them ".part" files of downloads that were cut
 * off, to go on with. One process (the daemon) uses it, from any thread.
 */
#ifndef BANGER_REGISTRY_BLOBS_H
#define BANGER_REGISTRY_BLOBS_H

#include <stdbool.h>
#include <stdint.h>

#include "banger/cleanup.h"
#include "banger/err.h"
#include "job/op.h"
#include "registry/digest.h"

struct blobs;

/* The folder is made when the first blob is. STATE_FD borrowed. */
int blobs_new(int state_fd, struct blobs **ret, struct err *e);
struct blobs *blobs_free(struct blobs *b);
DEFINE_CLEANUP(struct blobs *, blobs_free)

/* The blob, read-only; the caller's; it stays readable when it is pruned meanwhile. -ENOENT; nothing is verified again. Marks it as used now. */
int blobs_open(struct blobs *b, const char *digest, int *ret_fd, uint64_t *ret_size, struct err *e);
bool blobs_has(struct blobs *b, const char *digest);

/* All of N bytes, verified, published. */
int blobs_put(struct blobs *b, const char *digest, const void *data, size_t n, struct err *e);

/*
 * A download: the only one of its digest at a time. blob_begin() waits for another that is under way when OP is given (its cancel ends the
 * wait: -EINTR), and is -EBUSY otherwise (OP NULL). *RET NULL: there it is by now (open it). Otherwise the caller asks blob_resume() how much is there from
 * before, writes what follows with blob_write(), then calls blob_commit(), which verifies size and digest (-EBADMSG: the part file goes too),
 * syncs and publishes. Every blob that was begun is given back by blob_end(), which keeps the part file of one that wasn't committed
 * unless DROP. One thread at a time, but for blob_follow().
 */
struct blob;
int blob_begin(
	struct blobs *b, const char *digest, uint64_t size, struct op *op, struct blob **ret, struct err *e);
int blob_resume(struct blob *blob, uint64_t *ret_at, struct err *e);
/* Starts over: the server wouldn't go on where it was cut off. */
void blob_rewind(struct blob *blob);
int blob_write(struct blob *blob, const void *data, size_t n, struct err *e);
int blob_commit(struct blob *blob, struct err *e);
struct blob *blob_end(struct blob *blob, bool drop);

/*
 * A reader that follows a download, from any thread until blob_end(): *RET_FD is the part file, at its start, *RET_GROW the read end of a pipe
 * that tells how much of it there is: a uint64_t each time it grows, the last one twice when it is whole and verified; it hangs up before that when the
 * download failed. After the commit *RET_GROW is -1. Both are the caller's. SIGPIPE must be ignored.
 */
int blob_follow(struct blob *blob, int *ret_fd, int *ret_grow, struct err *e);

/*
 * A blob that is made here: written to FD, then published under the sha256 that it turns out to have (computed here, whoever wrote it). blob_file_end() for each
 * one that was begun, which takes away what wasn't committed.
 */
struct blob_file {
	int fd;
	char *name; /* NULL once it was committed */
};
int blob_file_begin(struct blobs *b, struct blob_file *ret, struct err *e);
int blob_file_commit(struct blobs *b, struct blob_file *f, char ret_digest[DIGEST_TEXT_MAX],
	uint64_t *ret_size, struct err *e);
void blob_file_end(struct blobs *b, struct blob_file *f);

/*
 * Frees what nobody named: USED says which digests are still wanted; parts too, when nobody is at work on them. DRY: only says. FN for each one
 * freed. QUOTA > 0: only what is above so many bytes in all goes, the longest unused first, USED is asked as well, and parts younger than a day stay: somebody may go
 * on with them.
 */
struct blobs_prune {
	bool dry;
	uint64_t quota;
	uint64_t
		since; /* CLOCK_REALTIME usec: what was used from then on stays, somebody is at work with it; 0: nothing because of that */
	bool (*used)(void *user, const char *digest);
	void (*freed)(void *user, const char *name, uint64_t size);
	void *user;
};
int blobs_prune(struct blobs *b, const struct blobs_prune *how, uint64_t *ret_bytes, struct err *e);

#endif
