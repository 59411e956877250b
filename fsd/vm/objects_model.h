/*
 * The insides of objects, shared by objects*.c. No other file includes this.
 */
#ifndef BANGER_VM_OBJECTS_MODEL_H
#define BANGER_VM_OBJECTS_MODEL_H

#include <sys/queue.h>

#include "registry/manifest.h"
#include "vm/objects.h"
#include "vm/objects_make.h"

struct object {
	TAILQ_ENTRY(object) link;
	struct store_object row;
	bool deleting;
	char *pushed; /* objects_pushed(); NULL: "" */
};

struct objects_waiter {
	TAILQ_ENTRY(objects_waiter) link;
	struct making *making;
	struct pushing *pushing; /* in its stead */
	objects_done_fn done;
	void *user;
};

/* One being made, by a worker, under a reserved name. */
struct making {
	TAILQ_ENTRY(making) link;
	struct objects *objects;
	struct op *op;
	uint64_t began;   /* CLOCK_REALTIME usec */
	struct make what; /* its strings are this one's */
	struct store_object row;
	/* In the place of one that is there (row id), which keeps OLD_NAME when VMs need it; 0: a new one. */
	uint32_t old;
	char *old_name, *old_ref;
	uint32_t *users; /* ids of those VMs */
	size_t user_count;
	TAILQ_HEAD(, objects_waiter) waiters;
	struct making *
		after; /* the same again, wanted while this one is being cancelled: begins when it has ended */
};

/* One being pushed, by a worker: what it needs of its own. */
struct pushing {
	TAILQ_ENTRY(pushing) link;
	struct objects *objects;
	struct op *op;
	uint64_t began;                /* CLOCK_REALTIME usec */
	struct objects_waiter *waiter; /* NULL: it has gone */
	struct push push;
};

struct objects {
	enum objects_kind kind;
	const char *kind_name; /* "image", "kernel": the store's word */
	struct jobs *jobs;
	struct ops *ops;
	struct store *store;
	struct objects_sources sources;
	char *machine; /* the platform this runs on */
	int dir_fd;
	TAILQ_HEAD(, object) list; /* in order of id */
	TAILQ_HEAD(, making) making;
	TAILQ_HEAD(, pushing) pushing;
	objects_changed_fn changed;
	void *changed_user;
	struct objects_users users;
};

struct object *objects_by_name(const struct objects *o, const char *name);
struct object *objects_by_id(const struct objects *o, uint32_t id);
/* What came from REF, a reference's full text, for PLATFORM ("": this machine's). */
struct object *objects_by_ref(const struct objects *o, const char *ref, const char *platform);
int objects_add_row(void *objects, const struct store_object *row);
void object_free(struct object *one);
/* -ENOMEM */
int objects_copy_row(const struct store_object *from, struct store_object *to);
const char *objects_article(const struct objects *o);

/* objects_making.c: one of NAME is being made; NULL: not. */
struct making *making_of(const struct objects *o, const char *name);
/* Joins the making of WHAT under NAME, or begins it. OLD: the row whose place it takes, or 0. */
int making_join(struct objects *o, const char *name, const struct make *what, uint32_t old,
	objects_done_fn done, void *user, struct objects_waiter **ret, struct err *e);

/* objects_pushing.c: as objects_verb(), of `push`: NAME's image to REF. */
int objects_push(struct objects *o, const char *name, const char *ref, objects_done_fn done, void *user,
	struct objects_waiter **ret, struct err *e);
/* Whether the image ID is being pushed. */
bool pushing_of(const struct objects *o, uint32_t id);
void pushing_unwait(struct objects_waiter *w);

/* objects_verbs.c: begins to make WHAT under NAME, which nothing may have. */
int objects_make_new(struct objects *o, const char *name, const struct make *what, objects_done_fn done,
	void *user, struct objects_waiter **ret, struct err *e);

/* objects_verbs.c: as objects_verb(), of `pull`. NAME NULL: one is chosen. */
int objects_pull(struct objects *o, const char *ref, const char *platform, const char *name,
	objects_done_fn done, void *user, struct objects_waiter **ret, struct err *e);

#endif
