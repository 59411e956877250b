/*
 * Which signals a caller has: FUSE says only that there is one. A shell whose child ends while it writes `start` has one too, and means nothing by it.
 */
#ifndef BANGER_FUSE_SIGNALS_H
#define BANGER_FUSE_SIGNALS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Whether the thread TID (as this process numbers them) has a signal that it doesn't block and that is more than a word by the way: SIGCHLD, SIGCONT, SIGURG and
 * SIGWINCH are none, which who doesn't ask for them never gets. True too where that can't be seen. Any thread; reads /proc.
 */
bool signals_mean_it(uint32_t tid);

/* The same of the text of its /proc/TID/status. */
bool signals_in_status(const char *status);

#endif
