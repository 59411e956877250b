/* The inside of layout.h: layout.c (OCI's), layout_docker.c. No other file includes this. */
#ifndef BANGER_REGISTRY_LAYOUT_STATE_H
#define BANGER_REGISTRY_LAYOUT_STATE_H

#include "registry/layout.h"
#include "registry/resolve.h"

struct layout {
	struct resolved found;
	char **layers; /* the files' names; NULL-terminated */
};

/* The image of manifest.json that TAG means, into L. TEXT: its N bytes. */
int layout_docker(struct layout *l, const struct layout_files *files, const char *text, size_t n,
	const char *tag, const char *platform, struct err *e);

/* All of file NAME, which must be there. WHAT: "configuration"; SIZE: what it must have, 0: not known; DIGEST: its own, checked. */
int layout_read(const struct layout_files *files, const char *name, const char *what, const char *digest,
	uint64_t size, size_t max, struct remote_document *ret, struct err *e);

/* Images of an archive, to be chosen from by name. */
struct layout_choice {
	const char *name;    /* as it is shown, and may be typed; borrowed */
	const char *also[2]; /* other names that mean it; NULL: none */
	bool meant;          /* by layout_choose() */
};
/*
 * Marks those that TAG means. They have one name, or one NAMELESS image in several platforms is all there is. -EINVAL with the list, -ENOENT, -EBADMSG: none
 * at all.
 */
int layout_choose(struct layout_choice *list, size_t n, const char *tag, bool nameless, struct err *e);

#endif
