/* The layers of a pull: side by side, lowest first, into the cache of blobs. */
#ifndef BANGER_REGISTRY_FETCH_H
#define BANGER_REGISTRY_FETCH_H

#include "registry/session.h"

struct fetches;

/*
 * Begins to fetch the LAYERS (borrowed, until fetches_free()) through S (borrowed; each thread of its own asks with a copy). OP: a part per layer, and
 * what cancels them.
 */
int fetches_begin(struct session *s, const struct descriptor *layers, size_t n, struct op *op,
	struct fetches **ret, struct err *e);
/* Stops them; what came stays in the cache. */
struct fetches *fetches_free(struct fetches *f);
DEFINE_CLEANUP(struct fetches *, fetches_free)

/* As pull_layer() and pull_wait(). One thread. */
int fetches_layer(struct fetches *f, size_t i, int *ret_fd, int *ret_grow, struct err *e);
int fetches_wait(struct fetches *f, struct err *e);

#endif
