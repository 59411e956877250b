/* Files of a checkout, read as the list has them, while they may change. Blocks: workers only. */
#ifndef BANGER_REPO_SOURCE_H
#define BANGER_REPO_SOURCE_H

#include <sys/stat.h>

#include "job/op.h"
#include "guest/bring.h"

/* What was read, of how much: the operation's progress. */
struct source_progress {
	struct op *op;
	uint64_t done, total;
};

/* PATH below DIR, a plain file still, of which *RET_STAT is true. A descriptor; -ENOENT: it is none, or has gone. */
int source_open(int dir, const char *path, struct stat *ret_stat);
/* The target of the link PATH, with a NUL; how long it is. -ENOENT: it is none, or has gone. */
int source_link(int dir, const char *path, char ret[WORKSPACE_PATH_MAX + 1], struct stat *ret_stat);
/* FD's bytes to the guest, of which ST was true. *RET_CHANGED: it was written to meanwhile. -ECANCELED. */
int source_data(struct bring *b, const char *path, int fd, const struct stat *st,
	struct source_progress *progress, bool *ret_changed, struct err *e);

#endif
