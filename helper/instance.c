#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/place.h"
#include "instance.h"

/* A folder that is a folder, of UID, with exactly this mode; made if it isn't there. */
static int make_dir(const char *path, uid_t uid, gid_t gid, mode_t mode, int *ret_fd, struct err *e)
{
	_cleanup_close_ int place = -EBADF, fd = -EBADF;
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "%s", path);
	place = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (place < 0 || fstat(place, &st) < 0)
		return err_sys(e, -errno, "%s", path);
	/* Made by somebody else, it could be watched or swapped: only root's or the right owner's is taken. */
	if (st.st_uid != 0 && st.st_uid != uid)
		return err_set(e, -EPERM, "%s belongs to user %u: remove it", path, st.st_uid);
	/* One that is right already isn't opened: the owner's own is closed to a root without CAP_DAC_OVERRIDE. */
	if (!ret_fd && st.st_uid == uid && st.st_gid == gid && (st.st_mode & 07777) == mode)
		return 0;
	fd = openat(place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0)
		return err_sys(e, -errno, "%s", path);
	if (ret_fd)
		*ret_fd = TAKE_FD(fd);
	return 0;
}

static int make_mountpoint(const char *path, struct err *e)
{
	/* Never looked at: a dead daemon's mount may be there, and would hold us up. */
	if (mkdir(path, 0755) < 0)
		return errno == EEXIST ? 0 : err_sys(e, -errno, "%s", path);
	return chmod(path, 0755) < 0 ? err_sys(e, -errno, "%s", path) : 0;
}

/* Where a jail is put together, in a mount namespace of its own: empty for all others. */
static int make_base(const struct instance *i, struct err *e)
{
	return mkdirat(i->helper_fd, INSTANCE_JAIL_BASE, 0700) < 0 && errno != EEXIST
		       ? err_sys(e, -errno, "%s/" INSTANCE_JAIL_BASE, i->helper_dir)
		       : 0;
}

/*
 * Root's folder FD, 0700 but that UID may pass through it: acl(5). Not by his group: that may be one that he shares with others. -EOPNOTSUPP: the file
 * system has no such lists.
 */
static int let_through(int fd, uid_t uid, const char *path, struct err *e)
{
	const struct {
		struct posix_acl_xattr_header head;
		struct posix_acl_xattr_entry entries[5];
	} acl = {
		{htole32(POSIX_ACL_XATTR_VERSION)},
		{
			{htole16(ACL_USER_OBJ), htole16(ACL_READ | ACL_WRITE | ACL_EXECUTE),
				htole32((uint32_t)ACL_UNDEFINED_ID)},
			{htole16(ACL_USER), htole16(ACL_EXECUTE), htole32(uid)},
			{htole16(ACL_GROUP_OBJ), 0, htole32((uint32_t)ACL_UNDEFINED_ID)},
			{htole16(ACL_MASK), htole16(ACL_EXECUTE), htole32((uint32_t)ACL_UNDEFINED_ID)},
			{htole16(ACL_OTHER), 0, htole32((uint32_t)ACL_UNDEFINED_ID)},
		},
	};

	return fsetxattr(fd, "system.posix_acl_access", &acl, sizeof(acl), 0) < 0
		       ? err_sys(e, -errno, "%s", path)
		       : 0;
}

/* Where there are no such lists there are no jails. The mode's group bits are the list's mask: to set them shuts nobody out. */
static int make_jails(struct instance *i, struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	int r = make_dir(i->jails, 0, 0, 0710, &i->jails_fd, e);

	if (r < 0)
		return r;
	r = let_through(i->jails_fd, i->owner, i->jails, &mine);
	if (r == -EOPNOTSUPP)
		i->jails_fd = close_fd(i->jails_fd);
	return r < 0 && r != -EOPNOTSUPP ? err_move(e, &mine) : 0;
}

int instance_names(const char *name, struct instance *ret, struct err *e)
{
	*ret = (struct instance){.run_fd = -EBADF, .helper_fd = -EBADF, .jails_fd = -EBADF};
	ret->name = strdup(name);
	if (!ret->name)
		return err_sys(e, -ENOMEM, "instance");
	place_bridge(name, ret->bridge);
	if (asprintf(&ret->table, "banger%s%s", *name ? "_" : "", name) < 0) {
		ret->table = NULL;
		return err_sys(e, -ENOMEM, "instance");
	}
	return 0;
}

int instance_open(const char *name, uid_t owner, struct instance *ret, struct err *e)
{
	_cleanup_close_ int lock = -EBADF;
	struct passwd *p = getpwuid(owner);
	struct instance *i = ret;
	int r;

	r = instance_names(name, i, e);
	if (r < 0)
		return r;
	i->owner = owner;
	i->group = p ? p->pw_gid : owner;
	if ((r = place_path(name, PLACE_RUN, &i->run, e)) < 0 ||
		(r = place_path(name, PLACE_MOUNT, &i->mount, e)) < 0 ||
		(r = place_path(name, PLACE_HELPER_SOCKET, &i->socket, e)) < 0 ||
		(r = place_path(name, PLACE_HELPER_DIR, &i->helper_dir, e)) < 0 ||
		(r = place_path(name, PLACE_FSD_DIR, &i->fsd_dir, e)) < 0 ||
		(r = place_path(name, PLACE_JAILS, &i->jails, e)) < 0)
		return r;
	if ((r = make_dir(i->run, 0, 0, 0755, &i->run_fd, e)) < 0 ||
		(r = make_dir(i->helper_dir, 0, 0, 0700, &i->helper_fd, e)) < 0)
		return r;
	/* Held for life through the descriptor, which instance_close() never sees: the kernel lets go of it. */
	lock = openat(i->helper_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (lock < 0)
		return err_sys(e, -errno, "%s/lock", i->helper_dir);
	if (io_lock(lock, IO_LOCK_USEC) < 0)
		return err_set(e, -EALREADY, "another banger-helper serves this instance already");
	if (dprintf(lock, "%d\n", (int)getpid()) < 0)
		return err_sys(e, -EIO, "%s/lock", i->helper_dir);
	if ((r = make_dir(i->fsd_dir, i->owner, i->group, 0700, NULL, e)) < 0 || (r = make_jails(i, e)) < 0 ||
		(r = make_base(i, e)) < 0 || (r = make_mountpoint(i->mount, e)) < 0)
		return r;
	TAKE_FD(lock);
	return 0;
}

void instance_close(struct instance *i)
{
	close_fd(i->run_fd);
	close_fd(i->helper_fd);
	close_fd(i->jails_fd);
	free(i->name);
	free(i->run);
	free(i->mount);
	free(i->socket);
	free(i->helper_dir);
	free(i->fsd_dir);
	free(i->jails);
	free(i->table);
	*i = (struct instance){.run_fd = -EBADF, .helper_fd = -EBADF, .jails_fd = -EBADF};
}

void instance_remove(struct instance *i)
{
	unlink(i->socket);
	unlinkat(i->helper_fd, "journal", 0);
	unlinkat(i->helper_fd, "lock", 0);
	unlinkat(i->helper_fd, INSTANCE_JAIL_BASE, AT_REMOVEDIR);
	rmdir(i->jails);
	rmdir(i->helper_dir);
	rmdir(i->mount);
	rmdir(i->fsd_dir);
	rmdir(i->run);
}

uid_t instance_vm_uid(unsigned piece, uint32_t vm)
{
	return INSTANCE_UID_BASE + piece * INSTANCE_UIDS + vm;
}

void instance_tap_name(const struct instance *i, uint32_t vm, char ret[IFNAMSIZ])
{
	snprintf(ret, IFNAMSIZ, "%.8s-%u", i->bridge, vm % (HELPER_VM_MAX + 1));
}
