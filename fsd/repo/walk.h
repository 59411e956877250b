/*
 * What is below a folder, by paths from it; no link on the way is followed. Blocks: workers only.
 */
#ifndef BANGER_REPO_WALK_H
#define BANGER_REPO_WALK_H

#include "banger/err.h"

struct stat;

struct walk_events {
	/* PATH is *ST. 1: what is in it is walked too, where it is a folder; 0: it isn't. Less than 0 ends the walk. */
	int (*found)(void *user, const char *path, const struct stat *st, struct err *e);
	/*
	 * CODE: why PATH, or what is in the folder PATH ("": the first), can't be told: -errno; -ENAMETOOLONG: folders too deep in each other. Less than 0 ends the
	 * walk.
	 */
	int (*missed)(void *user, const char *path, int code, struct err *e);
};

/* All below ROOT, in no order; folders at most DEEPEST in each other. */
int walk_folder(int root, unsigned deepest, const struct walk_events *events, void *user, struct err *e);

#endif
