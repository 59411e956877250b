/*
 * The contents of files, one file after the other, on their way to an image's blocks: what one thread unpacks. Several write to the same image at once,
 * each to places of its own (space.h).
 */
#ifndef BANGER_IMAGE_LANE_H
#define BANGER_IMAGE_LANE_H

#include "image/writer.h"

struct lane;

/* Lane NUMBER, from 0, of those that W was made for. */
int lane_new(struct writer *w, size_t number, struct lane **ret, struct err *e);
struct lane *lane_free(struct lane *l);
DEFINE_CLEANUP(struct lane *, lane_free)

/* Contents of INODE at OFFSET, in any pieces, in rising order; blocks of zeros become holes. -ENOSPC */
int lane_data(
	struct lane *l, struct inode *inode, uint64_t offset, const void *data, size_t n, struct err *e);
/* The contents of the inode at work are over; SIZE is the file's. */
int lane_end(struct lane *l, struct inode *inode, uint64_t size, struct err *e);
/* Nothing more comes: all that came is written. */
int lane_finish(struct lane *l, struct err *e);

#endif
