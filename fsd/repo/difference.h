/*
 * What differs between what is to be in a guest and what was brought there before, file by file.
 */
#ifndef BANGER_REPO_DIFFERENCE_H
#define BANGER_REPO_DIFFERENCE_H

#include "repo/prepared.h"

struct change {
	size_t at; /* in the list: of now, or (REMOVE) of before */
	bool remove;
	bool in_way; /* the guest has changed it */
};

struct difference {
	struct prepared *now;          /* borrowed */
	const struct prepared *before; /* borrowed; NULL: nothing */
	struct change *changes;        /* in the order of their paths */
	size_t count, room;
};

/* NOW's files that are as they were get the guest's states of BEFORE's. -ENOMEM; difference_clear() also then. */
int difference_make(struct prepared *now, const struct prepared *before, struct difference *ret);
void difference_clear(struct difference *d);

/* What C is about: of now, or of before. */
const struct filelist_entry *difference_entry(const struct difference *d, const struct change *c);
/* What was brought to PATH before. NULL: nothing. */
const struct filelist_entry *difference_before(const struct difference *d, const char *path);
/* The change of PATH. NULL: there is none. */
struct change *difference_find(const struct difference *d, const char *path);

#endif
