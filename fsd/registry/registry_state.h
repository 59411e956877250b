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

/* Somebody is at getting the grant KEY. */
struct renewal {
	const char *key; /* the one's who is at it */
	LIST_ENTRY(renewal) link;
};

struct registry {
	struct blobs *blobs;
	struct credentials_places places; /* strings owned */
	struct registry_limits limits;
	pthread_mutex_t lock;   /* what follows */
	pthread_cond_t renewed; /* a renewal is over; CLOCK_MONOTONIC */
	LIST_HEAD(, grant) grants;
	LIST_HEAD(, plain) plains;
	LIST_HEAD(, renewal) renewals;
};

#endif
