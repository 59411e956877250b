/* What all requests to registries share: for this room's files. Locks as said. */
#ifndef BANGER_REGISTRY_STATE_H
#define BANGER_REGISTRY_STATE_H

#include <pthread.h>
#include <sys/queue.h>

#include "registry/pull.h"

/* What a registry was given to see last time, and until when. */
struct grant {
	char *key, *header;
	uint64_t until; /* CLOCK_MONOTONIC usec */
	LIST_ENTRY(grant) link;
};

/* Where https was tried and nobody spoke it. */
struct plain {
	char *base;
	LIST_ENTRY(plain) link;
};

struct registry {
	struct blobs *blobs;
	struct credentials_places places; /* strings owned */
	pthread_mutex_t lock;             /* grants, plains */
	pthread_mutex_t renewing;         /* held over a token's request: one at a time */
	LIST_HEAD(, grant) grants;
	LIST_HEAD(, plain) plains;
};

#endif
