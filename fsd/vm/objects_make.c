#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "image/image.h"
#include "kernel/kernel.h"
#include "vm/objects_make.h"

#define REMOVE_DEPTH 16

static int remove_below(int dir_fd, const char *name, unsigned depth)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir)
		return unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
	while ((entry = readdir(dir))) {
		int r;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		r = depth < REMOVE_DEPTH ? remove_below(dirfd(dir), entry->d_name, depth + 1) : -ELOOP;
		if (r < 0)
			return r;
	}
	return unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

int objects_remove(int dir_fd, const char *name, struct err *e)
{
	int r = remove_below(dir_fd, name, 0);

	return r < 0 ? err_sys(e, r, "removing %s", name) : 0;
}

int make_copy(const struct make *from, struct make *to)
{
	const struct {
		const char *from;
		char **to;
	} texts[] = {{from->source, &to->source}, {from->ref, &to->ref}, {from->tag, &to->tag},
		{from->platform, &to->platform}, {from->have_digest, &to->have_digest},
		{from->insecure, &to->insecure}, {from->mirrors, &to->mirrors}};

	*to = (struct make){
		.kind = from->kind, .what = from->what, .registry = from->registry, .home = from->home};
	for (size_t i = 0; i < ELEMENTSOF(texts); i++)
		if (texts[i].from && !(*texts[i].to = strdup(texts[i].from))) {
			make_clear(to);
			return -ENOMEM;
		}
	if (from->promotion && !(to->promotion = promotion_copy(from->promotion))) {
		make_clear(to);
		return -ENOMEM;
	}
	return 0;
}

void make_clear(struct make *m)
{
	free(m->source);
	free(m->ref);
	free(m->tag);
	free(m->platform);
	free(m->have_digest);
	free(m->insecure);
	free(m->mirrors);
	promotion_free(m->promotion);
	*m = (struct make){0};
}

static int open_busybox(int *ret_fd, struct err *e)
{
	static const char *const paths[] = {"/bin/busybox", "/usr/bin/busybox"};

	for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
		*ret_fd = open(paths[i], O_RDONLY | O_CLOEXEC);
		if (*ret_fd >= 0)
			return 0;
	}
	return err_set(e, -ENOENT, "there is no busybox to make the image of: apt install busybox-static");
}

int make_describe(const struct image_result *result, struct store_object *row, struct err *e)
{
	row->size = result->size;
	row->digest = strdup(result->digest);
	row->arch = strdup(result->arch);
	return row->digest && row->arch ? 0 : err_sys(e, -ENOMEM, "image");
}

static int make_image(
	const struct make *m, int dir_fd, int out, struct op *op, struct store_object *row, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	struct image_result result = {0};
	const char *seed = row->name;
	int r;

	switch (m->what) {
	case MAKE_BUSYBOX:
		r = open_busybox(&fd, e);
		if (r == 0)
			r = image_from_busybox(fd, out, seed, op, &result, e);
		break;
	case MAKE_PULL:
		return make_pulled(m, out, op, row, e);
	case MAKE_PROMOTE:
		return make_promoted(m, out, op, row, e);
	case MAKE_REGISTER:
		return make_registered(m, out, op, row, e);
	case MAKE_DEBIAN:
		r = image_build_debian(out, seed, op, &result, e);
		break;
	default:
		return make_imported(m, dir_fd, out, op, row, e);
	}
	if (r < 0)
		return r;
	return make_describe(&result, row, e);
}

static int make_kernel(const struct make *m, int dir, struct op *op, struct store_object *row, struct err *e)
{
	struct kernel_result result = {0};
	int r = m->what == MAKE_PULL ? kernel_pull(dir, m->source, op, &result, e)
				     : kernel_import(dir, m->source, op, &result, e);

	if (r < 0)
		return r;
	row->size = result.size;
	row->digest = strdup(result.digest);
	row->arch = strdup("x86_64");
	free(row->kernel);
	row->kernel = result.version;
	return row->digest && row->arch ? 0 : err_sys(e, -ENOMEM, "kernel");
}

int objects_make(const struct make *m, int dir_fd, struct op *op, struct store_object *row, struct err *e)
{
	_cleanup_free_ char *temp = NULL;
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (asprintf(&temp, ".tmp-%s", row->file) < 0) {
		temp = NULL;
		return err_sys(e, -ENOMEM, "%s", row->name);
	}
	if (m->kind == OBJECTS_IMAGES) {
		fd = openat(dir_fd, temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	} else if (mkdirat(dir_fd, temp, 0700) == 0) {
		fd = openat(dir_fd, temp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return err_sys(e, -errno, "%s", row->name);
	r = m->kind == OBJECTS_IMAGES ? make_image(m, dir_fd, fd, op, row, e)
				      : make_kernel(m, fd, op, row, e);
	if (r == 0)
		r = op_check(op, e);
	/* Whole, on the disk, and only then under its name. */
	if (r == 0 && ((m->kind == OBJECTS_IMAGES && fchmod(fd, 0444) < 0) || fsync(fd) < 0 ||
			      renameat(dir_fd, temp, dir_fd, row->file) < 0 || fsync(dir_fd) < 0))
		r = err_sys(e, -errno, "%s", row->name);
	if (r < 0)
		remove_below(dir_fd, temp, 0);
	return r;
}
