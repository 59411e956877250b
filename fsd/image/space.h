/*
 * The blocks of an image, and who may take which. Contents come in lanes, side by side, and where they go hangs on what comes, never on which lane was
 * faster: the first half of the blocks is divided among the lanes in advance, and a lane that needs more waits for its turn, when all lanes before it are
 * over.
 *
 * Any thread.
 */
#ifndef BANGER_IMAGE_SPACE_H
#define BANGER_IMAGE_SPACE_H

#include <ext2fs/ext2fs.h>

#include "banger/cleanup.h"
#include "banger/err.h"

struct space;

/*
 * LANES lanes; WEIGHTS: how much each may come to hold, compared with the others. One alone has all. FS (of the file FD, both borrowed) is nobody else's
 * from then on until all lanes are over.
 */
int space_new(
	ext2_filsys fs, int fd, const uint64_t *weights, size_t lanes, struct space **ret, struct err *e);
struct space *space_free(struct space *s);
DEFINE_CLEANUP(struct space *, space_free)

/*
 * A run of at most N free blocks for a lane, counted from 0; number LANES is what comes when all are over. May wait for the lane's turn. -ENOSPC; -ECANCELED: nobody
 * wants the image any more.
 */
int space_take(struct space *s, size_t lane, uint32_t n, uint64_t *ret_first, uint32_t *ret_n, struct err *e);
/* Blocks of a lane up to the one whose turn it is, that nothing names any more: they are free, and zeros, from the next turn on. -ENOMEM */
int space_give(struct space *s, uint64_t first, uint32_t n);
/* The lane whose turn it is is over, its last byte written; it is the next one's. */
void space_turn(struct space *s);
/* Ends all waits, also later ones. */
void space_stop(struct space *s);

#endif
