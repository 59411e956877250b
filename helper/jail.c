#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "jail.h"

#define MOUNTS_MAX 16 /* one on the other; only a crash in the middle leaves two */

static int path_of(const struct instance *inst, uint32_t vm, char **ret, struct err *e)
{
	if (asprintf(ret, "%s/%u", inst->jails, vm) >= 0)
		return 0;
	*ret = NULL;
	return err_sys(e, -ENOMEM, "jail");
}

static const char *name_in(const char *path)
{
	return strrchr(path, '/') + 1;
}

int jail_make(const struct instance *inst, uint32_t vm, uid_t user, struct err *e)
{
	_cleanup_free_ char *path = NULL, *options = NULL;
	int r = jail_remove(inst, vm, e);

	if (r == 0)
		r = path_of(inst, vm, &path, e);
	if (r < 0)
		return r;
	if (mkdirat(inst->jails_fd, name_in(path), 0700) < 0)
		return err_sys(e, -errno, "%s", path);
	/* The group stays the owner's for all that is made in it (inode(7), the set-group-ID bit). */
	if (asprintf(&options, "mode=2770,uid=%u,gid=%u,size=64k,nr_inodes=16", user, inst->group) < 0) {
		options = NULL;
		return err_sys(e, -ENOMEM, "jail");
	}
	if (mount("banger-jail", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0)
		return err_sys(e, -errno, "mounting %s", path);
	return 0;
}

int jail_open(const struct instance *inst, uint32_t vm, int *ret_fd, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	int r = path_of(inst, vm, &path, e);

	if (r < 0)
		return r;
	*ret_fd = openat(inst->jails_fd, name_in(path), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *ret_fd < 0 ? err_sys(e, -errno, "%s", path) : 0;
}

int jail_remove(const struct instance *inst, uint32_t vm, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	int r = path_of(inst, vm, &path, e);

	for (int i = 0; r == 0 && i < MOUNTS_MAX; i++) {
		if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
			continue;
		/* Nothing is mounted there (any more), or there is no such place. */
		if (errno == EINVAL || errno == ENOENT)
			break;
		r = err_sys(e, -errno, "unmounting %s", path);
	}
	/* Below another mount nothing would be removed: EBUSY. */
	if (r == 0 && unlinkat(inst->jails_fd, name_in(path), AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = err_sys(e, -errno, "%s", path);
	return r;
}
