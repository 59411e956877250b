/* The cache's inside: for blobs.c (what is there) and blob.c (what is on its way). */
#ifndef BANGER_REGISTRY_BLOBS_STATE_H
#define BANGER_REGISTRY_BLOBS_STATE_H

#include <pthread.h>
#include <sys/queue.h>

#include "registry/blobs.h"
#include "registry/digest.h"

#define PART_SUFFIX ".part"
/* How the files begin of blobs that are being made here, whose digest isn't known yet: as a digest's that no blob will ever have. */
#define MADE_PREFIX "sha256-000000000000000000000000000000000000000000000000"

struct blobs {
	int state_fd; /* borrowed */
	pthread_mutex_t lock;
	pthread_cond_t ended; /* a download was */
	LIST_HEAD(, blob) active;
};

/* The cache's folder. It is opened for each use: whoever removes it while the daemon runs finds it made anew. The caller's. */
int blobs_dir(struct blobs *b, bool make, int *ret_fd, struct err *e);
/* DIGEST's file name, with SUFFIX. NULL: no memory. The caller's. */
char *blobs_name(const char *digest, const char *suffix);
/* Whether a download of DIGEST is under way. With the lock held. */
bool blobs_active(const struct blobs *b, const char *digest);

#endif
