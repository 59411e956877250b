/*
 * How an image or a kernel is made: the blocking halves of the verbs. Only objects*.c include this, and what sweeps folders.
 */
#ifndef BANGER_VM_OBJECTS_MAKE_H
#define BANGER_VM_OBJECTS_MAKE_H

#include "banger/cleanup.h"
#include "image/layers.h"
#include "job/op.h"
#include "registry/manifest.h"
#include "store/store.h"
#include "vm/objects.h"

enum make_what {
	MAKE_IMPORT,   /* source: a path */
	MAKE_REGISTER, /* source: a path to an ext4 */
	MAKE_BUSYBOX,
	MAKE_DEBIAN,
	MAKE_PULL,    /* source: of an image, its reference; of a kernel, a package or NULL */
	MAKE_PROMOTE, /* source: the VM's name */
	MAKE_PUSH,    /* nothing is: what is there goes to a registry (struct push) */
};

/* Of what a VM is promoted to. */
struct promotion {
	char *vm;
	struct store_object base; /* what it was started from */
	int base_fd;              /* that one's file */
	struct objects_written written;
};
struct promotion *promotion_copy(const struct promotion *from); /* NULL: no memory, or descriptors */
struct promotion *promotion_free(struct promotion *p);
DEFINE_CLEANUP(struct promotion *, promotion_free)

/* What is to be made, and of what. A worker has copies of its own. */
struct make {
	enum objects_kind kind;
	enum make_what what;
	char *source;
	char *ref;      /* what ROW->ref says of it, and errors, instead of SOURCE; NULL: SOURCE */
	char *tag;      /* the one of several images in an archive; NULL: it is the only one */
	char *platform; /* "": this machine's */
	/* Of images pulled: */
	char *have_digest; /* what is there already: the reference led to this then; NULL: nothing is there */
	char *insecure, *mirrors; /* config/registry_* */
	struct registry *registry;
	const char *home; /* the owner's; borrowed for good, as the registry */
	struct promotion *promotion;
};
int make_copy(const struct make *from, struct make *to);
void make_clear(struct make *m);

/*
 * Makes WHAT below DIR_FD (PLACE_STATE/images or /kernels) under a temporary name, then under ROW->file, which the caller has set to a
 * name of its own: a file (image) or a folder (kernel). Fills in the rest of ROW. What failed has left nothing. -EALREADY, E unset: what is there is
 * what the reference leads to still. Workers only.
 */
int objects_make(const struct make *m, int dir_fd, struct op *op, struct store_object *row, struct err *e);

/* Removes NAME below DIR_FD, a file or a folder with all that is in it. */
int objects_remove(int dir_fd, const char *name, struct err *e);

/* An image to be pushed. A worker's own, all of it but the registry and HOME. */
struct push {
	struct store_object row;
	int fd;       /* its file */
	char *ref;    /* where to */
	char *from;   /* a repository there that has blobs of it; NULL: none is known */
	char *pushed; /* REF with the digest of what is there now; NULL: it isn't there yet */
	char *insecure, *mirrors;
	struct registry *registry;
	const char *home;
};
void push_clear(struct push *p);
/*
 * objects_push.c: sends it with its own manifest where it came with one; what the cache hasn't got any more is fetched again. Workers only. Errors as push_run()
 * has them (registry/pull.h).
 */
int objects_push_work(struct push *p, struct op *op, struct err *e);
/* What ROW says of an image that has no configuration. */
int make_describe(const struct image_result *result, struct store_object *row, struct err *e);

/* An image in OCI's form: its documents (pull.h and layout.h say which), borrowed, and where its layers are. */
struct make_layers {
	const char *digest, *ref_digest, *config_text;
	const struct manifest *manifest;
	const struct image_config *config;
	/* Sets LAYER's descriptors, which are the caller's, also after a failure, and `window`; the rest of it is set. */
	int (*open)(void *user, size_t i, struct image_layer *layer, struct err *e);
	void *user;
};
/* objects_layers.c: as objects_make(), of those layers, into the empty file OUT. */
int make_of_layers(
	const struct make_layers *from, int out, struct op *op, struct store_object *row, struct err *e);

/* objects_import.c: PATH is a regular file or a folder: to open anything else could wait for ever. -EINVAL: it is none. */
int make_open_source(const char *path, bool *ret_dir, int *ret_fd, struct err *e);
/* objects_register.c: as objects_make(), of an ext4 file, into the empty file OUT. */
int make_registered(const struct make *m, int out, struct op *op, struct store_object *row, struct err *e);

/* objects_import.c: as objects_make(), of a file or a folder, into the empty file OUT. DIR_FD: where files may be made. */
int make_imported(
	const struct make *m, int dir_fd, int out, struct op *op, struct store_object *row, struct err *e);

/* objects_import.c: as objects_make(), of a root file system's tar or folder FD. */
int make_rootfs(const struct make *m, int fd, bool is_dir, int out, struct op *op, struct store_object *row,
	struct err *e);

/* objects_bundle.c: whether the folder DIR is a bundle. */
bool bundle_is(int dir);
/* As objects_make(), of the bundle DIR. ROW->kernel is ROW->name where it brings a kernel, which is the caller's to make. */
int make_bundle(
	const struct make *m, int dir, int out, struct op *op, struct store_object *row, struct err *e);
/* What the kernel is called in it, one of these; NULL-terminated. */
extern const char *const bundle_kernels[];

/* objects_pull.c: as objects_make(), of an image out of a registry, into the empty file OUT. */
int make_pulled(const struct make *m, int out, struct op *op, struct store_object *row, struct err *e);

/* objects_promote.c: as objects_make(), of a VM. */
int make_promoted(const struct make *m, int out, struct op *op, struct store_object *row, struct err *e);

#endif
