/*
 * The cache of blobs, as the model uses it: what may go. Loop thread; the work is a job's.
 */
#ifndef BANGER_VM_CACHE_H
#define BANGER_VM_CACHE_H

#include "registry/blobs.h"
#include "vm/objects.h"

/*
 * Blobs that no image is made of go, and what was cut off of downloads. DRY: none goes. SAY is called before DONE with each one that went (would
 * go), and the sum: "freed sha256:... 123". Beside running pulls.
 */
typedef void (*cache_say_fn)(void *user, const char *line);
int cache_prune(
	struct objects *images, bool dry, cache_say_fn say, objects_done_fn done, void *user, struct err *e);

/* After a download: what no image is made of goes, the longest unused first, until all takes no more than the setting `cache_max` allows. */
void cache_keep_limit(struct objects *images);

#endif
