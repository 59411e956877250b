/*
 * What the guest has made its own of what is to be changed there: asked before anything is. Blocks: workers only.
 */
#ifndef BANGER_REPO_CONFLICT_H
#define BANGER_REPO_CONFLICT_H

#include "repo/checkout.h"
#include "repo/difference.h"
#include "repo/source.h"

/* Sets in_way of D's changes; HEADS, one for each repository of C's: whether the guest's HEAD is one that would be lost. */
int conflict_ask(const struct checkout *c, struct difference *d, struct bring *b, bool *heads, struct err *e);
/*
 * Again, of what is in the way: it isn't where something goes as it was brought, or the guest's is the same as what comes. -EEXIST: some is, and E
 * names it.
 */
int conflict_settle(const struct checkout *c, struct difference *d, struct bring *b, const bool *heads,
	struct source_progress *progress, struct err *e);

#endif
