/*
 * Files of the owner's home that guests are to have (config/file_sync): which ones, looked at and opened. Blocks: workers only.
 *
 * An entry itself may be a link, or lie behind one, as long as that stays in the home; below it no link is followed. Nothing outside of the home is ever
 * opened, by the kernel's own judgement (openat2(2), RESOLVE_BENEATH).
 */
#ifndef BANGER_REPO_HOMEFILES_H
#define BANGER_REPO_HOMEFILES_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "banger/err.h"
#include "banger/workspace_proto.h"

#define HOMEFILES_ENTRIES_MAX 64
#define HOMEFILES_FILES_MAX   10000
#define HOMEFILES_BYTES_MAX   (256ull << 20)

struct homefile {
	char *path; /* in the guest, without the slash that it begins with */
	size_t entry;
	char *below;   /* the entry's folder; "": the entry is the file */
	uint32_t mode; /* with its type: regular, or a folder */
	struct timespec mtime;
	uint64_t size;
	uint8_t state[WORKSPACE_ID];
};

struct homefiles {
	int roots[HOMEFILES_ENTRIES_MAX]; /* O_PATH descriptors of the entries; negative: it isn't there */
	size_t root_count;
	struct homefile *files;
	size_t count, room;
	uint64_t bytes;
	char **notes; /* what was left out, and why; NOTE_COUNT of them */
	size_t note_count;
};

/* Lines of "HOST GUEST": HOST a path relative to the home, perhaps with "~/" before it; GUEST absolute, or with "~/" for /root. -EINVAL */
int homefiles_check(const char *text, struct err *e);
/* What there is of TEXT's entries below HOME. -E2BIG: more than the limits. *RET is homefiles_clear()ed also after a failure. */
int homefiles_look(const char *home, const char *text, struct homefiles *ret, struct err *e);
void homefiles_clear(struct homefiles *h);
/* To be read. -errno: it has gone, or is no file any more. */
int homefiles_open(const struct homefiles *h, const struct homefile *f);

#endif
