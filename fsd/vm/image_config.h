/*
 * What an OCI image says of itself, out of its row in the store: shown in images/NAME/, used for jobs. Any thread.
 */
#ifndef BANGER_VM_IMAGE_CONFIG_H
#define BANGER_VM_IMAGE_CONFIG_H

#include <stdio.h>

#include "registry/manifest.h"
#include "store/store.h"

enum image_config_field {
	IMAGE_ENV,
	IMAGE_ENTRYPOINT,
	IMAGE_CMD,
	IMAGE_WORKDIR,
	IMAGE_USER,
	IMAGE_STOP_SIGNAL,
	IMAGE_PORTS,
	IMAGE_LABELS,
};

/* As it can be written to a job's files; nothing for an image that isn't an OCI image. */
void objects_config_show(const struct store_object *row, enum image_config_field field, FILE *out);
/* Its configuration, the caller's; NULL: it has none. */
struct image_config *objects_config(const struct store_object *row);

#endif
