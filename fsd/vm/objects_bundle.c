/*
 * A bundle: a folder with rootfs.tar (packed or not) or rootfs.ext4; a seed.tar of what its users add to that, where there is one; and the kernel it wants, a
 * folder or a package as `kernels/ctl` takes them.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "image/worker.h"
#include "vm/objects_make.h"

static const char *const rootfs_names[] = {
	"rootfs.tar", "rootfs.tar.gz", "rootfs.tar.zst", "rootfs.tar.xz", "rootfs.tar.bz2"};
static const char *const seed_names[] = {"seed.tar", "seed.tar.gz", "seed.tar.zst"};
static const char disk_name[] = "rootfs.ext4";
const char *const bundle_kernels[] = {"kernel", "kernel.deb", NULL};

static bool is_file(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

/* The one of NAMES that is there; NULL: none. */
static const char *find(int dir, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is_file(dir, names[i]))
			return names[i];
	return NULL;
}

bool bundle_is(int dir)
{
	return is_file(dir, disk_name) || find(dir, rootfs_names, ELEMENTSOF(rootfs_names));
}

static int open_part(int dir, const char *name, int *ret, struct err *e)
{
	*ret = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return *ret < 0 ? err_sys(e, -errno, "%s", name) : 0;
}

/* The seed lies over the root file system as a layer lies over a layer. */
static int make_seeded(int rootfs, int seed, int out, struct op *op, struct store_object *row, struct err *e)
{
	const struct image_layer layers[] = {{.fd = rootfs, .grow = -1}, {.fd = seed, .grow = -1}};
	const struct worker_request request = {.task = WORKER_LAYERS,
		.input = -1,
		.output = out,
		.layers = layers,
		.layer_count = ELEMENTSOF(layers),
		.seed = row->name};
	struct image_result result = {0};
	int r = worker_run(&request, op, &result, e);

	return r == 0 ? make_describe(&result, row, e) : r;
}

static int make_tars(const struct make *m, int dir, const char *seed_name, int out, struct op *op,
	struct store_object *row, struct err *e)
{
	_cleanup_close_ int rootfs = -EBADF, seed = -EBADF;
	int r = open_part(dir, find(dir, rootfs_names, ELEMENTSOF(rootfs_names)), &rootfs, e);

	if (r < 0)
		return r;
	if (!seed_name)
		return make_rootfs(m, rootfs, false, out, op, row, e);
	r = open_part(dir, seed_name, &seed, e);
	if (r == 0)
		r = make_seeded(rootfs, seed, out, op, row, e);
	if (r < 0 && r != -EINTR)
		err_wrap(e, "%s", m->source);
	return r;
}

int make_bundle(
	const struct make *m, int dir, int out, struct op *op, struct store_object *row, struct err *e)
{
	const char *seed = find(dir, seed_names, ELEMENTSOF(seed_names));
	struct make disk = *m;
	struct stat st;
	int r;

	if (!is_file(dir, disk_name)) {
		r = make_tars(m, dir, seed, out, op, row, e);
	} else if (seed) {
		r = err_set(e, -EINVAL,
			"%s: %s can't be laid over %s: give the root file system as rootfs.tar", m->source,
			seed, disk_name);
	} else {
		if (asprintf(&disk.source, "%s/%s", m->source, disk_name) < 0)
			return err_sys(e, -ENOMEM, "bundle");
		r = make_registered(&disk, out, op, row, e);
		free(disk.source);
	}
	for (size_t i = 0; r == 0 && bundle_kernels[i]; i++) {
		if (fstatat(dir, bundle_kernels[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		free(row->kernel);
		row->kernel = strdup(row->name);
		return row->kernel ? 0 : err_sys(e, -ENOMEM, "bundle");
	}
	return r;
}
