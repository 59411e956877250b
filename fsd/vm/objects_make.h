/*
 * How an image or a kernel is made: the blocking halves of objects.c's verbs. No other file includes this.
 */
#ifndef BANGER_VM_OBJECTS_MAKE_H
#define BANGER_VM_OBJECTS_MAKE_H

#include "job/op.h"
#include "store/store.h"
#include "vm/objects.h"

enum make_what {
	MAKE_IMPORT, /* SOURCE: a path */
	MAKE_BUSYBOX,
	MAKE_DEBIAN, /* SOURCE: a suite, or NULL */
	MAKE_PULL,   /* SOURCE: a package, or NULL */
};

/*
 * Makes WHAT below DIR_FD (PLACE_STATE/images or /kernels) under a temporary name, then under ROW->file, which the caller has set to a
 * name of its own: a file (image) or a folder (kernel). Fills in the rest of ROW. What failed has left nothing. Workers only.
 */
int objects_make(enum objects_kind kind, enum make_what what, const char *source, int dir_fd, struct op *op,
	struct store_object *row, struct err *e);

/* Removes NAME below DIR_FD, a file or a folder with all that is in it. */
int objects_remove(int dir_fd, const char *name, struct err *e);

#endif
