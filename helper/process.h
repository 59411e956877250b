/*
 * What tells one process from another that had its number before.
 */
#ifndef BANGER_PROCESS_H
#define BANGER_PROCESS_H

#include <stdint.h>

struct process_stat {
	uint64_t starttime; /* clock ticks after boot */
	int parent;
};

/* From /proc/PID/stat (proc(5)), as far as the caller's /proc shows it. -ESRCH, -ENOMEM. */
int process_read(int pid, struct process_stat *ret);

#endif
