/* images/ and kernels/. */
#include <errno.h>
#include <inttypes.h>

#include "banger/cleanup.h"
#include "banger/name.h"
#include "vm/image_config.h"
#include "vm/logins.h"
#include "tree/state.h"
#include "tree/tables.h"

static struct objects *images(struct tree *t)
{
	return t->config.images;
}

static struct objects *kernels(struct tree *t)
{
	return t->config.kernels;
}

static const struct store_object *row_of(struct objects *o, uint64_t row)
{
	return row <= UINT32_MAX ? objects_get(o, (uint32_t)row) : NULL;
}

/* ctl */
struct verb {
	struct tree *t;
	struct call *call;
	struct objects_waiter *waiter;
	struct logins_waiter *login;
	char *line; /* what the log may show of it */
};

static void on_done(void *user, int code, const struct err *e)
{
	struct verb *v = user;

	log_deed(v->t, v->call, v->line, code, e ? e->text : NULL);
	call_done(v->call, code);
	free(v->line);
	free(v);
}

static void on_cancel(struct call *call)
{
	struct verb *v = call->parked;

	if (v->waiter)
		objects_unwait(v->waiter);
	else if (v->login)
		logins_unwait(v->login);
}

static void ctl_store(struct tree *t, struct objects *o, const struct input *in, struct call *call)
{
	struct verb *v = calloc(1, sizeof(*v));
	_cleanup_err_ struct err e = {0};
	int r;

	bool login = o == images(t) && v && logins_verb(in->lines[0], &v->line);

	if (!v || (!login && !(v->line = strdup(in->lines[0]))) || !v->line) {
		free(v);
		call_done(call, -ENOMEM);
		return;
	}
	v->t = t;
	v->call = call;
	if (in->count != 1) {
		err_set(&e, -EINVAL, "one verb a write");
		on_done(v, -EINVAL, &e);
		return;
	}
	call->parked = v;
	call->cancel = on_cancel;
	r = login ? logins_run(o, in->lines[0], on_done, v, &v->login, &e)
		  : objects_verb(o, v->line, on_done, v, &v->waiter, &e);
	if (r < 0)
		on_done(v, r, &e);
}

static void images_ctl_store(
	struct tree *t, const struct target *at, const struct input *in, struct call *call)
{
	(void)at;
	ctl_store(t, images(t), in, call);
}

static void kernels_ctl_store(
	struct tree *t, const struct target *at, const struct input *in, struct call *call)
{
	(void)at;
	ctl_store(t, kernels(t), in, call);
}

static void images_ctl_show(struct tree *t, const struct target *at, FILE *out)
{
	(void)at;
	objects_verbs(images(t), out);
	fputs("login HOST USER PASSWORD\nlogout HOST\n", out);
}

static void logins_file_show(struct tree *t, const struct target *at, FILE *out)
{
	(void)at;
	logins_show(images(t), out);
}

static void kernels_ctl_show(struct tree *t, const struct target *at, FILE *out)
{
	(void)at;
	objects_verbs(kernels(t), out);
}

/* Attributes of one. */
enum { REF, DIGEST, ARCH, SIZE, CREATED, KERNEL, PLATFORM, LAYERS, SPEC };

static void show(const struct store_object *row, uintptr_t what, FILE *out)
{
	const char *const texts[] = {[REF] = row->ref,
		[DIGEST] = row->digest,
		[ARCH] = row->arch,
		[KERNEL] = row->kernel,
		[PLATFORM] = row->platform,
		[SPEC] = row->config};

	if (what == SIZE)
		fprintf(out, "%" PRIu64 "\n", row->size);
	else if (what == CREATED)
		fprintf(out, "%" PRIu64 "\n", row->created / 1000000);
	else if (what == LAYERS)
		fputs(row->layers, out);
	else
		fprintf(out, "%s%s", texts[what], what == SPEC && !*texts[what] ? "" : "\n");
}

static void image_config_show(struct tree *t, const struct target *at, FILE *out)
{
	const struct store_object *row = row_of(images(t), at->row);

	if (row)
		objects_config_show(row, (enum image_config_field)(uintptr_t)at->attr->data, out);
}

static void image_pushed_show(struct tree *t, const struct target *at, FILE *out)
{
	const char *ref = objects_pushed(images(t), (uint32_t)at->row);

	fprintf(out, "%s%s", ref, *ref ? "\n" : "");
}

static void image_show(struct tree *t, const struct target *at, FILE *out)
{
	show(row_of(images(t), at->row), (uintptr_t)at->attr->data, out);
}

static void kernel_show(struct tree *t, const struct target *at, FILE *out)
{
	show(row_of(kernels(t), at->row), (uintptr_t)at->attr->data, out);
}

static bool image_exists(struct tree *t, uint64_t row)
{
	return row_of(images(t), row) != NULL;
}

static bool kernel_exists(struct tree *t, uint64_t row)
{
	return row_of(kernels(t), row) != NULL;
}

static uint64_t image_changed(struct tree *t, uint64_t row)
{
	const struct store_object *o = row_of(images(t), row);

	return o ? o->created : t->began;
}

static uint64_t kernel_changed(struct tree *t, uint64_t row)
{
	const struct store_object *o = row_of(kernels(t), row);

	return o ? o->created : t->began;
}

static bool next(struct objects *o, uint64_t after, uint64_t *ret, const char **ret_name)
{
	const struct store_object *row = objects_next(o, (uint32_t)after);

	if (!row)
		return false;
	*ret = row->id;
	*ret_name = row->name;
	return true;
}

static bool image_next(struct tree *t, uint64_t row, uint64_t after, uint64_t *ret, const char **ret_name)
{
	(void)row;
	return next(images(t), after, ret, ret_name);
}

static bool kernel_next(struct tree *t, uint64_t row, uint64_t after, uint64_t *ret, const char **ret_name)
{
	(void)row;
	return next(kernels(t), after, ret, ret_name);
}

static bool find(struct objects *o, const char *name, uint64_t *ret)
{
	const struct store_object *row = name_object_valid(name) ? objects_find(o, name) : NULL;

	if (!row)
		return false;
	*ret = row->id;
	return true;
}

static bool image_find(struct tree *t, uint64_t row, const char *name, uint64_t *ret)
{
	(void)row;
	return find(images(t), name, ret);
}

static bool kernel_find(struct tree *t, uint64_t row, const char *name, uint64_t *ret)
{
	(void)row;
	return find(kernels(t), name, ret);
}

static void remove_object(
	struct tree *t, struct objects *o, const char *dir, uint64_t child, struct call *call)
{
	const struct store_object *row = row_of(o, child);
	struct verb *v = calloc(1, sizeof(*v));
	_cleanup_err_ struct err e = {0};
	int r;

	if (!v || asprintf(&v->line, "rmdir %s/%s", dir, row->name) < 0) {
		free(v);
		call_done(call, -ENOMEM);
		return;
	}
	v->t = t;
	v->call = call;
	r = objects_delete(o, (uint32_t)child, on_done, v, &e);
	if (r < 0)
		on_done(v, r, &e);
}

static void image_remove(struct tree *t, uint64_t row, uint64_t child, struct call *call)
{
	(void)row;
	remove_object(t, images(t), "images", child, call);
}

static void kernel_remove(struct tree *t, uint64_t row, uint64_t child, struct call *call)
{
	(void)row;
	remove_object(t, kernels(t), "kernels", child, call);
}

/* users/: rows are the object's id and the VM's. */
static bool uses(const struct vm_view *v, struct objects *o, const struct store_object *one, bool image)
{
	return objects_meant(o, image ? v->image : v->kernel) == one;
}

static bool user_next(
	struct tree *t, struct objects *o, uint64_t row, uint64_t after, uint64_t *ret, const char **ret_name)
{
	const struct store_object *object = row_of(o, row);
	struct vm_view v;
	struct vm *vm;

	for (uint32_t id = node_minor(after); object && (vm = vms_next(t->vms, id)); id = v.id) {
		vm_view(vm, &v);
		if (!uses(&v, o, object, o == images(t)))
			continue;
		*ret = node_row(object->id, v.id);
		*ret_name = v.name;
		return true;
	}
	return false;
}

static bool user_exists(struct tree *t, struct objects *o, uint64_t row)
{
	const struct store_object *object = row_of(o, node_major(row));
	struct vm *vm = tree_vm(t, node_minor(row));
	struct vm_view v;

	if (!object || !vm)
		return false;
	vm_view(vm, &v);
	return uses(&v, o, object, o == images(t));
}

static bool user_find(struct tree *t, struct objects *o, uint64_t row, const char *name, uint64_t *ret)
{
	struct vm *vm = name_vm_valid(name) ? vms_find(t->vms, name) : NULL;
	struct vm_view v;

	if (!vm)
		return false;
	vm_view(vm, &v);
	*ret = node_row(row, v.id);
	return user_exists(t, o, *ret);
}

static int user_readlink(struct tree *t, uint64_t row, char **ret)
{
	struct vm *vm = tree_vm(t, node_minor(row));
	struct vm_view v;

	if (!vm)
		return -ESTALE;
	vm_view(vm, &v);
	return asprintf(ret, "../../../vms/%s", v.name) < 0 ? -ENOMEM : 0;
}

static bool image_user_next(
	struct tree *t, uint64_t row, uint64_t after, uint64_t *ret, const char **ret_name)
{
	return user_next(t, images(t), row, after, ret, ret_name);
}

static bool kernel_user_next(
	struct tree *t, uint64_t row, uint64_t after, uint64_t *ret, const char **ret_name)
{
	return user_next(t, kernels(t), row, after, ret, ret_name);
}

static bool image_user_find(struct tree *t, uint64_t row, const char *name, uint64_t *ret)
{
	return user_find(t, images(t), row, name, ret);
}

static bool kernel_user_find(struct tree *t, uint64_t row, const char *name, uint64_t *ret)
{
	return user_find(t, kernels(t), row, name, ret);
}

static bool image_user_exists(struct tree *t, uint64_t row)
{
	return user_exists(t, images(t), row);
}

static bool kernel_user_exists(struct tree *t, uint64_t row)
{
	return user_exists(t, kernels(t), row);
}

#define PARENT(name, kind, row_of_parent)                                                                    \
	static uint64_t name(struct tree *t, uint64_t row)                                                   \
	{                                                                                                    \
		(void)t;                                                                                     \
		(void)row;                                                                                   \
		return node_number(kind, row_of_parent, 0);                                                  \
	}
PARENT(image_parent, KIND_IMAGES, 0)
PARENT(image_users_parent, KIND_IMAGE, row)
PARENT(image_user_parent, KIND_IMAGE_USERS, node_major(row))
PARENT(kernel_parent, KIND_KERNELS, 0)
PARENT(kernel_users_parent, KIND_KERNEL, row)
PARENT(kernel_user_parent, KIND_KERNEL_USERS, node_major(row))

#define OBJECT(n, text, what, function, words)                                                               \
	{                                                                                                    \
		.id = (n), .name = (text), .mode = 0444, .flags = ATTR_STORED, .show = function,             \
		.data = (const void *)(uintptr_t)(what), .doc = (words)                                      \
	}
#define CONFIG(n, text, what, words)                                                                         \
	{                                                                                                    \
		.id = (n), .name = (text), .mode = 0444, .flags = ATTR_STORED, .show = image_config_show,    \
		.data = (const void *)(uintptr_t)(what), .doc = (words)                                      \
	}
static const struct attr image_attrs[] = {
	OBJECT(2, "ref", REF, image_show, "Where it came from."),
	OBJECT(3, "digest", DIGEST, image_show, "`sha256:...` of its source."),
	OBJECT(4, "arch", ARCH, image_show, "Machine that it is for."),
	OBJECT(5, "size", SIZE, image_show, "Bytes that it takes on the host."),
	OBJECT(6, "created", CREATED, image_show, "When it was made."),
	OBJECT(7, "kernel", KERNEL, image_show,
		"Kernel that it came with; empty: none. Its VMs boot the one that they name."),
	OBJECT(8, "platform", PLATFORM, image_show, "Of an OCI image: `linux/amd64`; empty: not known."),
	OBJECT(9, "layers", LAYERS, image_show,
		"Of an OCI image: what it was made of, a line each, the lowest first: digest, bytes, media "
		"type."),
	OBJECT(10, "spec", SPEC, image_show,
		"Of an OCI image: its configuration, the JSON that it came with."),
	CONFIG(11, "env", IMAGE_ENV,
		"Variables that its jobs get, `K=V`, one a line. Here and in the lists below each ends in a "
		"NUL instead where a newline is in one of them."),
	CONFIG(12, "entrypoint", IMAGE_ENTRYPOINT,
		"What `banger run` runs, an argument a line; `cmd` follows it."),
	CONFIG(13, "cmd", IMAGE_CMD, "Arguments of `entrypoint`, or the command where that is empty."),
	CONFIG(14, "workdir", IMAGE_WORKDIR, "Where that runs."),
	CONFIG(15, "user", IMAGE_USER, "As whom."),
	CONFIG(17, "stop_signal", IMAGE_STOP_SIGNAL, "What ends it in order, `SIGTERM` where it is empty."),
	CONFIG(18, "ports", IMAGE_PORTS, "Where it listens, as it says: `80/tcp`, one a line."),
	CONFIG(19, "labels", IMAGE_LABELS, "What it says of itself, `K=V`, one a line."),
	OBJECT(20, "pushed", 0, image_pushed_show,
		"Where it was put last, since the daemon began: `HOST/PATH:TAG@sha256:...`, which `pull` "
		"takes; empty: nowhere."),
	{.id = 16, .name = "users", .mode = S_IFDIR, .child = KIND_IMAGE_USERS},
};
static const struct attr kernel_attrs[] = {
	OBJECT(2, "ref", REF, kernel_show, "Where it came from."),
	OBJECT(3, "digest", DIGEST, kernel_show, "`sha256:...` of its source."),
	OBJECT(4, "arch", ARCH, kernel_show, "Machine that it is for."),
	OBJECT(5, "size", SIZE, kernel_show, "Bytes of its files."),
	OBJECT(6, "created", CREATED, kernel_show, "When it was made."),
	OBJECT(7, "version", KERNEL, kernel_show, "As uname -r says."),
	{.id = 16, .name = "users", .mode = S_IFDIR, .child = KIND_KERNEL_USERS},
};
static const struct attr images_attrs[] = {
	{.id = 2,
		.name = "ctl",
		.mode = 0644,
		.flags = ATTR_APART,
		.show = images_ctl_show,
		.store = images_ctl_store,
		.doc = "Verbs, one a write, which returns when the image is ready: `pull REF [platform "
		       "OS/ARCH] [as NAME]`, `import PATH [tag TAG] [platform OS/ARCH] [ref TEXT] [as "
		       "NAME]` (a root file system's tar or folder; an OCI layout, as a folder or in an "
		       "archive; what `docker save` writes; tars in any compression; a bundle, which is a "
		       "folder with rootfs.tar or rootfs.ext4, a seed.tar to lie over the tar, and a "
		       "`kernel` folder or kernel.deb that becomes the kernel NAME, the latter two where "
		       "there are any; TEXT: what `ref` says instead of PATH), `register PATH [as NAME]` "
		       "(an ext4 file, of which a copy is taken), `build debian [as NAME]`; or when that is "
		       "done: `push NAME as REF` (to a registry), `login HOST USER PASSWORD`, `logout "
		       "HOST`. Ctrl-C cancels."},
	{.id = 3,
		.name = "logins",
		.mode = 0444,
		.show = logins_file_show,
		.doc = "Registries that somebody was logged in at by `login`, and as whom: a line each, "
		       "`HOST USER`."},
};
static const struct attr kernels_attrs[] = {
	{.id = 2,
		.name = "ctl",
		.mode = 0644,
		.flags = ATTR_APART,
		.show = kernels_ctl_show,
		.store = kernels_ctl_store,
		.doc = "Verbs, one a write, which returns when the kernel is ready: `pull [NAME]`, `import "
		       "PATH [as NAME]`. Ctrl-C cancels."},
};

const struct dir_type images_dir = {
	.kind = KIND_IMAGES,
	.path = "images/",
	.doc = "The images, a directory each.",
	.attrs = images_attrs,
	.attr_count = ELEMENTSOF(images_attrs),
	.exists = row_always,
	.changed = changed_never,
	.parent = parent_root,
	.child = KIND_IMAGE,
	.next = image_next,
	.find = image_find,
	.remove = image_remove,
};
const struct dir_type kernels_dir = {
	.kind = KIND_KERNELS,
	.path = "kernels/",
	.doc = "The kernels, a directory each.",
	.attrs = kernels_attrs,
	.attr_count = ELEMENTSOF(kernels_attrs),
	.exists = row_always,
	.changed = changed_never,
	.parent = parent_root,
	.child = KIND_KERNEL,
	.next = kernel_next,
	.find = kernel_find,
	.remove = kernel_remove,
};
const struct dir_type image_dir = {
	.kind = KIND_IMAGE,
	.path = "images/NAME/",
	.moves = true,
	.doc = "An image. `rmdir` deletes it; EBUSY while VMs use it.",
	.attrs = image_attrs,
	.attr_count = ELEMENTSOF(image_attrs),
	.exists = image_exists,
	.changed = image_changed,
	.parent = image_parent,
};
const struct dir_type kernel_dir = {
	.kind = KIND_KERNEL,
	.path = "kernels/NAME/",
	.doc = "A kernel. `rmdir` deletes it; EBUSY while VMs use it.",
	.attrs = kernel_attrs,
	.attr_count = ELEMENTSOF(kernel_attrs),
	.exists = kernel_exists,
	.changed = kernel_changed,
	.parent = kernel_parent,
};
const struct dir_type image_users_dir = {
	.kind = KIND_IMAGE_USERS,
	.path = "images/NAME/users/",
	.doc = "Links to the VMs that use it.",
	.fleeting = true,
	.exists = image_exists,
	.changed = image_changed,
	.parent = image_users_parent,
	.child = KIND_IMAGE_USER,
	.next = image_user_next,
	.find = image_user_find,
};
const struct dir_type kernel_users_dir = {
	.kind = KIND_KERNEL_USERS,
	.path = "kernels/NAME/users/",
	.doc = "Links to the VMs that use it.",
	.fleeting = true,
	.exists = kernel_exists,
	.changed = kernel_changed,
	.parent = kernel_users_parent,
	.child = KIND_KERNEL_USER,
	.next = kernel_user_next,
	.find = kernel_user_find,
};
const struct dir_type image_user_dir = {
	.kind = KIND_IMAGE_USER,
	.is_link = true,
	.path = "images/NAME/users/VM",
	.doc = "To the VM's directory.",
	.fleeting = true,
	.exists = image_user_exists,
	.changed = changed_never,
	.parent = image_user_parent,
	.readlink = user_readlink,
};
const struct dir_type kernel_user_dir = {
	.kind = KIND_KERNEL_USER,
	.is_link = true,
	.path = "kernels/NAME/users/VM",
	.doc = "To the VM's directory.",
	.fleeting = true,
	.exists = kernel_user_exists,
	.changed = changed_never,
	.parent = kernel_user_parent,
	.readlink = user_readlink,
};
