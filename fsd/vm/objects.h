/*
 * Images and kernels as the model knows them: rows of the store, files below PLACE_STATE/images and /kernels, and the
 * operations that make them. Loop thread; work is done by jobs.
 *
 * One struct objects for images, one for kernels. A name being made is reserved: a second request for it joins the operation
 * (same source) or is -EBUSY. A failed or crashed making leaves nothing: files are made under a temporary name, which the next
 * start sweeps, and published by rename after fsync and before the row.
 */
#ifndef BANGER_VM_OBJECTS_H
#define BANGER_VM_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "banger/err.h"
#include "job/job.h"
#include "store/store.h"

enum objects_kind {
	OBJECTS_IMAGES,
	OBJECTS_KERNELS,
};
struct objects;

typedef void (*objects_changed_fn)(
	void *user, struct objects *o, uint32_t id, const char *name, bool appeared);

int objects_new(enum objects_kind kind, sd_event *event, struct jobs *jobs, struct ops *ops,
	struct store *store, int state_fd, struct objects **ret, struct err *e);
struct objects *objects_free(struct objects *o);
void objects_watch(struct objects *o, objects_changed_fn fn, void *user);

/* Borrowed; in order of id, or by id or name; NULL: none. */
const struct store_object *objects_next(const struct objects *o, uint32_t after);
const struct store_object *objects_get(const struct objects *o, uint32_t id);
const struct store_object *objects_find(const struct objects *o, const char *name);

/* Opens an object's file (image: the ext4, O_RDONLY; kernel: its directory). Any thread. The caller's. */
int objects_open(const struct objects *o, const struct store_object *row, int *ret_fd, struct err *e);

/* Uses are counted by the model (VMs that name it): deleting a used one is -EBUSY. USED tells. */
typedef bool (*objects_used_fn)(void *user, const char *name);
void objects_set_used(struct objects *o, objects_used_fn fn, void *user);

typedef void (*objects_done_fn)(void *user, int code, const struct err *e);
struct objects_waiter;
/*
 * VERB and its words, as written to images/ctl or kernels/ctl: "import PATH as NAME", "build debian [as NAME]",
 * "pull [NAME]" (kernels), "import PATH [as NAME]" (kernels). Rows of a table in objects.c. DONE once, unless it fails at once.
 * Waiters as in vm.h: the last one that goes cancels.
 */
int objects_verb(struct objects *o, const char *line, objects_done_fn done, void *user,
	struct objects_waiter **ret, struct err *e);
void objects_unwait(struct objects_waiter *w);
/* Makes sure that NAME is there: "busybox" is built, the default kernel pulled, when missing. DONE may come before the return. */
int objects_ensure(struct objects *o, const char *name, objects_done_fn done, void *user,
	struct objects_waiter **ret, struct err *e);
int objects_delete(struct objects *o, uint32_t id, objects_done_fn done, void *user, struct err *e);
/* The verbs that are legal, one a line. */
const char *objects_verbs(const struct objects *o);

#endif
