/*
 * What others change on the work disk, told to the host (AGENT_FS_CHANGED): fanotify(7) on the whole file system.
 */
#ifndef BANGER_GUEST_WATCH_H
#define BANGER_GUEST_WATCH_H

#include "channel.h"

/* ROOT_FD: any folder of the file system. 0, also when it is watched already; -EOPNOTSUPP: this kernel can't. */
int watch_begin(int root_fd);
void watch_end(void);
/* To be polled for reading; -1: nothing is watched, or nothing is to be told before watch_deadline() (CLOCK_MONOTONIC, microseconds; 0: there is none). */
int watch_fd(void);
uint64_t watch_deadline(void);
/* Tells what has changed until now. Cheap when nothing has. */
void watch_tell(struct channel *c);

#endif
