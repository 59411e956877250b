/*
 * Images and kernels as the model knows them: rows of the store, files below PLACE_STATE/images and /kernels, and the
 * operations that make them. Loop thread; work is done by jobs.
 *
 * A VM names its image or kernel by a TEXT: the name of one, or, of images, a reference to one in a registry ("alpine:3.20"), which means
 * the one that was pulled from there.
 *
 * One struct objects for images, one for kernels. A name being made is reserved: a second request for it joins the operation
 * (same source) or is -EBUSY. A failed or crashed making leaves nothing: files are made under a temporary name, which the next
 * start sweeps, and published by rename after fsync and before the row.
 */
#ifndef BANGER_VM_OBJECTS_H
#define BANGER_VM_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

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

/* What images are pulled with: borrowed. Kernels need none of it. */
struct blobs;
struct registry; /* registry/pull.h */
struct credentials_places;
struct settings; /* vm/config.h */
struct objects_sources {
	struct registry *registry;
	const struct credentials_places *places; /* registry/credentials.h */
	const struct settings *settings;
	struct blobs *blobs;     /* registry/blobs.h */
	struct objects *kernels; /* where those of bundles go */
};

int objects_new(enum objects_kind kind, const struct objects_sources *sources, struct jobs *jobs,
	struct ops *ops, struct store *store, int state_fd, struct objects **ret, struct err *e);
struct objects *objects_free(struct objects *o);
void objects_watch(struct objects *o, objects_changed_fn fn, void *user);

/* Borrowed; in order of id, or by id or name; NULL: none. */
const struct store_object *objects_next(const struct objects *o, uint32_t after);
const struct store_object *objects_get(const struct objects *o, uint32_t id);
const struct store_object *objects_find(const struct objects *o, const char *name);
/* What a VM means by TEXT; NULL: it isn't there. */
const struct store_object *objects_meant(const struct objects *o, const char *text);
/* Where the image ID was put last, since this daemon began: its reference with the digest that it has there; "": nowhere. Borrowed. */
const char *objects_pushed(const struct objects *o, uint32_t id);
/* Whether TEXT is one that a VM may be given: 0; -ENOENT nothing of that name is there or can be had; -EINVAL. */
int objects_check(const struct objects *o, const char *text, struct err *e);

/* Whether an image's programs run on this machine: 0, or -ENOEXEC with what they are for. */
int objects_runs_here(const struct objects *o, const struct store_object *row, struct err *e);

/* Opens an object's file (image: the ext4, O_RDONLY; kernel: its directory). Any thread. The caller's. */
int objects_open(const struct objects *o, const struct store_object *row, int *ret_fd, struct err *e);

/* The model's word on who uses what: ROW is meant by their texts. Loop thread. */
struct objects_users {
	bool (*used)(void *user, const struct store_object *row);
	/* Ids of the VMs; the caller's. */
	int (*ids)(void *user, const struct store_object *row, uint32_t **ret, size_t *ret_n);
	/* From now on those VMs name it NAME, in the store they do already. */
	void (*renamed)(void *user, const struct store_object *row, const char *name);
	void *user;
};
void objects_set_users(struct objects *o, const struct objects_users *users);

typedef void (*objects_done_fn)(void *user, int code, const struct err *e);
struct objects_waiter;
/*
 * VERB and its words, as written to images/ctl or kernels/ctl; rows of a table in objects_verbs.c. DONE once, unless it fails at once.
 * Waiters as in vm.h: the last one that goes cancels. A pull of a reference that has been pulled before makes sure that it is what the reference
 * leads to now; where that is another one, it takes the place and the name, and the one before stays as NAME-DIGEST for VMs that use it.
 */
int objects_verb(struct objects *o, const char *line, objects_done_fn done, void *user,
	struct objects_waiter **ret, struct err *e);
void objects_unwait(struct objects_waiter *w);
/*
 * Makes sure that what TEXT means is there: "busybox" is built, the default kernel pulled, an image pulled by its reference, when missing. DONE may come before
 * the return.
 */
int objects_ensure(struct objects *o, const char *text, objects_done_fn done, void *user,
	struct objects_waiter **ret, struct err *e);
int objects_delete(struct objects *o, uint32_t id, objects_done_fn done, void *user, struct err *e);
/* The one whose file is called FILE: what a VM's overlay belongs to. NULL: it is no more. */
const struct store_object *objects_of_file(const struct objects *o, const char *file);
/* What a VM has written over its image (disks.h). */
struct objects_written {
	int fd;                /* borrowed: the overlay's disk, or the cow */
	struct helper *helper; /* NULL: it is an overlay's; else who makes a disk of the cow */
	uint32_t vm;
	uint64_t size; /* `disk` */
};
/*
 * Makes an image NAME of BASE and what VM has WRITTEN over it. DONE and waiter as objects_verb(). Nobody may write to it until DONE.
 */
int objects_promote(struct objects *o, const char *name, const char *vm, const struct store_object *base,
	const struct objects_written *written, objects_done_fn done, void *user, struct objects_waiter **ret,
	struct err *e);
/* The verbs that are legal, one a line. */
void objects_verbs(const struct objects *o, FILE *out);

#endif
