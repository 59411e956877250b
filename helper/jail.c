#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "jail.h"
#include "mounter.h"

#define MOUNTS_MAX 16 /* one on the other; only a crash in the middle leaves two */

int jail_path(const struct instance *inst, uint32_t vm, char **ret, struct err *e)
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
	_cleanup_free_ char *path = NULL;
	int r;

	if (inst->jails_fd < 0)
		return err_set(e, -EOPNOTSUPP,
			"%s: its file system has no access control lists (CONFIG_TMPFS_POSIX_ACL)",
			inst->jails);
	r = jail_remove(inst, vm, e);
	if (r == 0)
		r = jail_path(inst, vm, &path, e);
	if (r < 0)
		return r;
	if (mkdirat(inst->jails_fd, name_in(path), 0700) < 0)
		return err_sys(e, -errno, "%s", path);
	r = mounter_mount_jail(inst->mounter, vm, user, e);
	if (r < 0)
		err_wrap(e, "mounting %s", path);
	return r;
}

int jail_open(const struct instance *inst, uint32_t vm, int *ret_fd, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	int r = jail_path(inst, vm, &path, e);

	if (r < 0)
		return r;
	*ret_fd = openat(inst->jails_fd, name_in(path), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *ret_fd < 0 ? err_sys(e, -errno, "%s", path) : 0;
}

int jail_remove(const struct instance *inst, uint32_t vm, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	int r = jail_path(inst, vm, &path, e);

	for (int i = 0; r == 0 && i < MOUNTS_MAX; i++) {
		_cleanup_err_ struct err why = {0};

		r = mounter_unmount_jail(inst->mounter, vm, &why);
		/* Nothing is mounted there (any more), or there is no such place. */
		if (r == -EINVAL || r == -ENOENT) {
			r = 0;
			break;
		}
		if (r < 0) {
			err_move(e, &why);
			err_wrap(e, "unmounting %s", path);
		}
	}
	/* Below another mount nothing would be removed: EBUSY. */
	if (r == 0 && unlinkat(inst->jails_fd, name_in(path), AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = err_sys(e, -errno, "%s", path);
	return r;
}
