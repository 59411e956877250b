/*
 * Images as a registry has them: a manifest, a configuration and layers, blobs in the cache. Of what never was one they are made. Blocks: workers only.
 */
#ifndef BANGER_VM_OBJECTS_OCI_H
#define BANGER_VM_OBJECTS_OCI_H

#include "image/worker.h"
#include "registry/digest.h"
#include "registry/pull.h"
#include "store/store.h"

struct oci {
	char *manifest;
	char *media_type; /* the manifest's */
	char *config;
	char *layers; /* as struct store_object has them */
};
void oci_clear(struct oci *o);

/* What ROW came with: 1: all of it is in the cache, in RET; 0: some of it is not, or it came with nothing of the kind. -ENOMEM, reading's errors. */
int oci_stored(struct blobs *blobs, const struct store_object *row, struct oci *ret, struct err *e);

/* A layer that was made, in the cache. */
struct oci_layer {
	char digest[DIGEST_TEXT_MAX], diff_id[DIGEST_TEXT_MAX];
	uint64_t size;
};
/* Packs DISK (TASK: WORKER_PACK_WHOLE, _UPPER, or _CHANGES, over BASE). Errors as layer_from_ext4() and worker_run(). */
int oci_pack(struct blobs *blobs, int disk, int base, enum worker_task task, struct op *op,
	struct oci_layer *ret, struct err *e);

/*
 * The documents of BASE (NULL: nothing is below) with LAYERS on top, in the cache. CONFIG: what the configuration is made from, or "". PLATFORM, CREATED (usec) and
 * CREATED_BY as struct compose has them (registry/compose.h).
 */
struct oci_request {
	const struct oci *base;
	const char *config, *platform;
	const struct oci_layer *layers;
	size_t count;
	const char *created_by;
	uint64_t created;
};
/* The image ROW, whose disk is DISK, as one layer: for one that isn't stored. The same one makes the same bytes each time. CREATED_BY as above. */
int oci_whole(struct blobs *blobs, const struct store_object *row, int disk, const char *created_by,
	struct op *op, struct oci *ret, struct err *e);
int oci_compose(struct blobs *blobs, const struct oci_request *request, struct oci *ret, struct err *e);

#endif
