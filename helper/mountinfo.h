/*
 * What is mounted, by proc(5) mountinfo: asked of the kernel's own memory, so that no file system, dead or hostile, is ever waited for.
 */
#ifndef BANGER_MOUNTINFO_H
#define BANGER_MOUNTINFO_H

#include <stdint.h>

#include "banger/err.h"

struct mountinfo {
	uint64_t dev; /* as st_dev */
	const char *place, *type;
};

/* Sees each mount, in the kernel's order: of several at one place the last is on top. */
typedef void (*mountinfo_fn)(void *user, const struct mountinfo *m);

int mountinfo_each(mountinfo_fn fn, void *user, struct err *e);

/* The same of TEXT, which is taken apart. Lines that aren't understood are passed over. */
void mountinfo_parse(char *text, mountinfo_fn fn, void *user);

#endif
