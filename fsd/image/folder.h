/* A folder's blocks: one of entries, or an index of hashes and blocks of entries below it. No other file than meta.c includes this. */
#ifndef BANGER_IMAGE_FOLDER_H
#define BANGER_IMAGE_FOLDER_H

#include "image/meta.h"

/*
 * Writes DIR's blocks and sets its inode's extents, size and index flag; all in it has its inode's number already. The kernel looks an index up only in a
 * folder that has one: it would read all of a large one for each name.
 */
int folder_write(struct writer *w, struct node *dir, struct err *e);

#endif
