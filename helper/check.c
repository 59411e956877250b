#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "banger/cleanup.h"
#include "check.h"
#include "mountinfo.h"

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546 /* linux/magic.h, 5.14+ */
#endif

struct row {
	const char *name;
	int access; /* O_RDONLY, O_RDWR; -1: a listening socket */
};

static const struct row disk_rows[DISK_FD_COUNT] = {
	[DISK_FD_IMAGE] = {"image", O_RDONLY},
	[DISK_FD_COW] = {"cow", O_RDWR},
};

static const struct row launch_rows[LAUNCH_FD_COUNT] = {
	[LAUNCH_FD_KERNEL] = {"kernel", O_RDONLY},
	[LAUNCH_FD_INITRD] = {"initramfs", O_RDONLY},
	[LAUNCH_FD_IMAGE] = {"image", O_RDONLY},
	[LAUNCH_FD_OVERLAY] = {"overlay disk", O_RDWR},
	[LAUNCH_FD_WORK] = {"work disk", O_RDWR},
	[LAUNCH_FD_CONSOLE] = {"console file", O_RDWR},
	[LAUNCH_FD_EXIT] = {"exit file", O_RDWR},
	[LAUNCH_FD_TTY] = {"console socket", -1},
	[LAUNCH_FD_QMP] = {"QMP socket", -1},
	[LAUNCH_FD_AGENT] = {"agent socket", -1},
};

static int check_socket(int fd, const char *name, struct err *e)
{
	static const struct {
		int option, wanted;
	} options[] = {{SO_DOMAIN, AF_UNIX}, {SO_TYPE, SOCK_STREAM}, {SO_ACCEPTCONN, 1}};

	for (size_t i = 0; i < ELEMENTSOF(options); i++) {
		int value = -1;
		socklen_t n = sizeof(value);

		if (getsockopt(fd, SOL_SOCKET, options[i].option, &value, &n) < 0 ||
			value != options[i].wanted)
			return err_set(e, -EINVAL, "%s: not a listening unix stream socket", name);
	}
	return 0;
}

/* File systems whose answers somebody else gives: the owner could park whoever reads there. */
static int is_foreign_type(const char *type)
{
	static const char *const foreign[] = {"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs", "coda",
		"virtiofs", "fuse", "fuseblk", "ncpfs"};

	for (size_t i = 0; i < ELEMENTSOF(foreign); i++)
		if (strcmp(type, foreign[i]) == 0)
			return 1;
	return strncmp(type, "fuse.", strlen("fuse.")) == 0;
}

struct search {
	uint64_t dev;
	int found, foreign;
};

static void look(void *user, const struct mountinfo *m)
{
	struct search *s = user;

	if (m->dev == s->dev) {
		s->found = 1;
		s->foreign |= is_foreign_type(m->type);
	}
}

static int is_foreign_magic(unsigned long type)
{
	static const unsigned long foreign[] = {FUSE_SUPER_MAGIC, NFS_SUPER_MAGIC, SMB_SUPER_MAGIC,
		SMB2_SUPER_MAGIC, CIFS_SUPER_MAGIC, V9FS_MAGIC, CEPH_SUPER_MAGIC, AFS_SUPER_MAGIC,
		CODA_SUPER_MAGIC};

	for (size_t i = 0; i < ELEMENTSOF(foreign); i++)
		if (type == foreign[i])
			return 1;
	return 0;
}

/*
 * To ask such a file system anything, be it only its type, is to wait for who serves it; so the device number is taken from what the
 * kernel has in memory (no fields asked for, nothing synchronised) and looked up among the mounts. What isn't there, a memfd or a
 * subvolume, is local to this kernel, or hidden from us in a namespace; and there FUSE refuses us without asking its server.
 */
static int check_file_system(int fd, const char *name, uint64_t *last, struct err *e)
{
	struct search search = {0};
	struct statx sx;
	struct statfs fs;
	int r;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &sx) < 0)
		return err_sys(e, -errno, "%s", name);
	search.dev = makedev(sx.stx_dev_major, sx.stx_dev_minor);
	if (search.dev == *last)
		return 0;
	r = mountinfo_each(look, &search, e);
	if (r < 0)
		return r;
	if (!search.found) {
		if (fstatfs(fd, &fs) < 0)
			return err_sys(e, -errno, "%s", name);
		search.foreign = is_foreign_magic((unsigned long)fs.f_type);
	}
	if (search.foreign)
		return err_set(e, -EPERM, "%s: on a FUSE or network file system", name);
	*last = search.dev;
	return 0;
}

static int check_access(int fd, const char *name, int access, struct err *e)
{
	int flags = fcntl(fd, F_GETFL), seals = fcntl(fd, F_GET_SEALS);

	if (flags < 0)
		return err_sys(e, -errno, "%s", name);
	if (!(flags & O_PATH) && (flags & O_ACCMODE) == access)
		return 0;
	/* A sealed memfd can't be written by whomever. */
	if (!(flags & O_PATH) && access == O_RDONLY && (flags & O_ACCMODE) == O_RDWR && seals > 0 &&
		(seals & F_SEAL_WRITE))
		return 0;
	return err_set(e, -EINVAL, "%s: not open for %s", name,
		access == O_RDWR ? "reading and writing" : "reading alone");
}

static int check_file(int fd, const char *name, int access, uid_t owner, uint64_t *last, struct err *e)
{
	struct stat st;
	int r;

	if ((r = check_access(fd, name, access, e)) < 0 || (r = check_file_system(fd, name, last, e)) < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EINVAL, "%s: not a regular file", name);
	if (st.st_uid != owner)
		return err_set(e, -EPERM, "%s: belongs to user %u", name, st.st_uid);
	return 0;
}

int check_mount_namespace(int fd, struct err *e)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0 || fs.f_type != NSFS_MAGIC || ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNS)
		return err_set(e, -EINVAL, "not a mount namespace");
	return 0;
}

static int check_rows(const struct row *rows, size_t n, const int *fds, uid_t owner, struct err *e)
{
	/* A device number that was found to be none of those; 0 is no file's. */
	uint64_t last = 0;

	for (size_t i = 0; i < n; i++) {
		int r = rows[i].access < 0
				? check_socket(fds[i], rows[i].name, e)
				: check_file(fds[i], rows[i].name, rows[i].access, owner, &last, e);

		if (r < 0)
			return r;
	}
	return 0;
}

int check_launch_fds(const int *fds, size_t n, uid_t owner, struct err *e)
{
	return check_rows(launch_rows, n, fds, owner, e);
}

int check_disk_fds(const int fds[DISK_FD_COUNT], uid_t owner, struct err *e)
{
	return check_rows(disk_rows, DISK_FD_COUNT, fds, owner, e);
}
