/*
 * Folders of guests that are open here and that their guest was not told of: what the kernel lists out of its own pages costs the guest nothing. One that is
 * about to lose its name is told of then. In a file in memory that outlives this daemon, as what is open does. Loop thread.
 */
#ifndef BANGER_FUSE_FOLDERS_H
#define BANGER_FUSE_FOLDERS_H

#include <stdbool.h>
#include <stdint.h>

#include "banger/err.h"

struct folders;

/* The file "folders" in RUN_FD. FRESH: of a mount on which no earlier daemon has opened anything; else what one has left is there. */
int folders_new(int run_fd, bool fresh, struct folders **ret, struct err *e);
/* What is open stays in the file. */
struct folders *folders_free(struct folders *f);

/* NODE is open once more; false: there is no room (F may be NULL: there never is), and its guest has to be told. */
bool folders_opened(struct folders *f, uint64_t node);
/* One that was taken by folders_opened() is closed. True: that was the last, and the guest was told of it meanwhile: it is to be told that it is closed. */
bool folders_closed(struct folders *f, uint64_t node);
/* Calls FN with each that its guest was not told of; true: now it was. */
void folders_tell(struct folders *f, bool (*fn)(void *user, uint64_t node), void *user);

#endif
