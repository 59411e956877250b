/*
 * A file in memory that outlives this daemon, mapped. Where its file system is full, a page of it that isn't there yet is SIGBUS to whoever touches it:
 * so what is to be touched is asked for first. Loop thread.
 */
#ifndef BANGER_FUSE_MAPPING_H
#define BANGER_FUSE_MAPPING_H

#include <stdbool.h>
#include <stddef.h>

#include "banger/err.h"

struct mapping;

/* The file NAME in DIR_FD, of SIZE bytes, made or as an earlier daemon has left it; FRESH: emptied. Its first HEAD bytes are there. */
int mapping_open(int dir_fd, const char *name, size_t size, size_t head, bool fresh, struct mapping **ret,
	struct err *e);
struct mapping *mapping_close(struct mapping *m);

void *mapping_data(struct mapping *m);
/* N bytes from OFFSET on, within SIZE, can be touched from now on; what is in them stays. -ENOSPC. */
int mapping_reserve(struct mapping *m, size_t offset, size_t n);

#endif
