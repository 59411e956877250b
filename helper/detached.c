#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "detached.h"

int detached_clone(int fd, uint64_t attributes, int idmap_fd, int *ret)
{
	_cleanup_close_ int tree =
		open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | (unsigned)OPEN_TREE_CLOEXEC);
	struct mount_attr attr = {.attr_set = attributes, .propagation = MS_PRIVATE};

	if (tree < 0)
		return -errno;
	if (idmap_fd >= 0) {
		attr.attr_set |= MOUNT_ATTR_IDMAP;
		attr.userns_fd = (uint64_t)idmap_fd;
	}
	if (mount_setattr(tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return -errno;
	*ret = TAKE_FD(tree);
	return 0;
}

int detached_place(int folder, const char *name, int tree)
{
	_cleanup_close_ int file = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return file < 0 || move_mount(tree, "", folder, name, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

int detached_folder(int at, const char *name, int *ret)
{
	if (mkdirat(at, name, 0700) < 0)
		return -errno;
	*ret = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *ret < 0 ? -errno : 0;
}

int detached_base(const struct instance *inst, uint64_t size, unsigned inodes, int *ret)
{
	_cleanup_free_ char *path = NULL, *options = NULL;

	if (asprintf(&path, "%s/" INSTANCE_JAIL_BASE, inst->helper_dir) < 0)
		path = NULL;
	if (asprintf(&options, "mode=0700,size=%" PRIu64 ",nr_inodes=%u", size, inodes) < 0)
		options = NULL;
	if (!path || !options)
		return -ENOMEM;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ||
		mount("banger-jail", path, "tmpfs", MS_NOSUID, options) < 0)
		return -errno;
	*ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? -errno : 0;
}
