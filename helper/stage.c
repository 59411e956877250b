#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/launch_disks.h"
#include "detached.h"
#include "stage.h"

#define ROOM       (1u << 20) /* for what the jailer makes, and the VMM might */
#define INODES     64
#define INITRD_MAX (256u << 20)

/* A file of the owner's, mounted on a file of the jail's. */
struct file {
	const char *name;
	int fd, readonly;
	enum launch_step step;
	int tree;
};

struct files {
	struct file all[1 + LAUNCH_DISKS_MAX];
	size_t n;
};

static int write_map(pid_t pid, const char *name, unsigned inside, unsigned outside)
{
	_cleanup_free_ char *path = NULL, *map = NULL;
	_cleanup_close_ int fd = -EBADF;
	int n = asprintf(&map, "%u %u 1\n", inside, outside);

	if (n < 0)
		map = NULL;
	if (asprintf(&path, "/proc/%d/%s", (int)pid, name) < 0)
		path = NULL;
	if (!map || !path)
		return -ENOMEM;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, map, (size_t)n) != n ? -errno : 0;
}

int stage_idmap(const struct instance *inst, uid_t user, int *ret_fd)
{
	_cleanup_free_ char *path = NULL;
	/* A namespace is somebody's: of a process that only waits to be ended. */
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, 0);
	int r;

	if (pid < 0)
		return -errno;
	if (pid == 0)
		for (;;)
			pause();
	r = write_map(pid, "uid_map", inst->owner, user);
	if (r == 0)
		r = write_map(pid, "gid_map", inst->group, user);
	if (r == 0 && asprintf(&path, "/proc/%d/ns/user", (int)pid) < 0) {
		path = NULL;
		r = -ENOMEM;
	}
	if (r == 0 && (*ret_fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		r = -errno;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return r;
}

/* The disks, in their order: none for a probe. */
static const struct launch_disk *disks_of(const struct stage *s, size_t *ret_n)
{
	const struct launch_disk *disks = launch_disks(s->request->u.launch.storage, ret_n);

	if (s->request->u.launch.no_network)
		*ret_n = 0;
	return disks;
}

static void choose_files(const struct stage *s, struct files *ret)
{
	size_t n;
	const struct launch_disk *disks = disks_of(s, &n);

	ret->all[0] = (struct file){HELPER_JAIL_KERNEL, s->fds[LAUNCH_FD_KERNEL], 1, STEP_KERNEL, -EBADF};
	ret->n = 1;
	/* One that is a device will be a node instead. */
	for (size_t i = 0; i < n; i++)
		if (!disks[i].block)
			ret->all[ret->n++] = (struct file){
				disks[i].serial, s->fds[disks[i].fd], disks[i].readonly, STEP_DISKS, -EBADF};
}

static int make_nodes(const struct stage *s, int folder)
{
	size_t n;
	const struct launch_disk *disks = disks_of(s, &n);

	for (size_t i = 0; i < n; i++) {
		mode_t mode = S_IFBLK | (disks[i].readonly ? 0400 : 0600);
		struct stat st;

		if (!disks[i].block)
			continue;
		if (fstat(s->fds[disks[i].fd], &st) < 0 ||
			mknodat(folder, disks[i].serial, mode, st.st_rdev) < 0 ||
			fchownat(folder, disks[i].serial, s->user, (gid_t)s->user, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
	}
	return 0;
}

/* A mount can be copied only in the namespace that it is in: the daemon's may be one of its own. */
static int take_files(const struct stage *s, struct files *files, enum launch_step *step)
{
	_cleanup_close_ int home = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	int r = 0;

	*step = STEP_NAMESPACE;
	if (home < 0 || setns(s->mounts_fd, CLONE_NEWNS) < 0)
		return -errno;
	for (size_t i = 0; r == 0 && i < files->n; i++) {
		struct file *f = &files->all[i];

		*step = f->step;
		r = detached_clone(f->fd,
			MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC |
				(f->readonly ? MOUNT_ATTR_RDONLY : 0),
			s->idmap_fd, &f->tree);
	}
	if (r == 0 && setns(home, CLONE_NEWNS) < 0) {
		*step = STEP_NAMESPACE;
		r = -errno;
	}
	return r;
}

static int size_of(int fd, uint64_t *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	*ret = (uint64_t)st.st_size;
	return 0;
}

/* It may be a memfd, which can't be mounted; and it is small. */
static int copy_initrd(int from, int folder)
{
	_cleanup_close_ int to =
		openat(folder, HELPER_JAIL_INITRD, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	char buf[65536];
	off_t at = 0;
	ssize_t n;

	if (to < 0)
		return -errno;
	while ((n = pread(from, buf, sizeof(buf), at)) > 0) {
		int r = io_pwrite_full(to, buf, (size_t)n, at);

		if (r < 0)
			return r;
		at += n;
	}
	/* The VMM is nobody who could read root's: it has this file as all of its jail for itself. */
	return n < 0 || fchmod(to, 0444) < 0 ? -errno : 0;
}

static int mount_base(const struct stage *s, int *ret, enum launch_step *step)
{
	uint64_t program = 0, initrd = 0;
	int r;

	*step = STEP_INITRD;
	if ((r = size_of(s->fds[LAUNCH_FD_INITRD], &initrd)) < 0)
		return r;
	if (initrd > INITRD_MAX)
		return -EFBIG;
	*step = STEP_JAIL;
	if ((r = size_of(s->program_fd, &program)) < 0)
		return r;
	/* The jailer copies the program. */
	return detached_base(s->inst, program + initrd + ROOM, INODES, ret);
}

/* The jailer's own layout: BASE/PROGRAM/ID/root. */
static int make_root(const struct stage *s, int base, int program_tree, int *ret)
{
	_cleanup_close_ int bin = -EBADF, all = -EBADF, mine = -EBADF;
	char id[16];
	int r;

	snprintf(id, sizeof(id), "%u", s->request->vm);
	if ((r = detached_folder(base, "bin", &bin)) < 0 ||
		(r = detached_place(bin, "firecracker", program_tree)) < 0 ||
		(r = detached_folder(base, "firecracker", &all)) < 0 ||
		(r = detached_folder(all, id, &mine)) < 0)
		return r;
	return detached_folder(mine, "root", ret);
}

/*
 * The folder is the owner's group's to write: what is made there may be something else a moment later. So it has its mode from the beginning, and what gets
 * an owner is no file that a link leads to.
 */
static int make_fifos(const struct stage *s, int folder)
{
	static const char *const names[] = {HELPER_JAIL_LOG, HELPER_JAIL_METRICS};
	mode_t mask = umask(0);
	int r = 0;

	for (size_t i = 0; r == 0 && i < ELEMENTSOF(names); i++)
		if (mknodat(folder, names[i], S_IFIFO | 0640, 0) < 0 ||
			fchownat(folder, names[i], s->user, (gid_t)-1, AT_SYMLINK_NOFOLLOW) < 0)
			r = -errno;
	umask(mask);
	return r;
}

int stage_jail(const struct stage *s, int *ret_root, enum launch_step *ret_step)
{
	_cleanup_close_ int base = -EBADF, root = -EBADF, sockets = -EBADF, program = -EBADF, folder = -EBADF;
	struct files files;
	int r;

	choose_files(s, &files);
	r = take_files(s, &files, ret_step);
	if (r < 0)
		return r;
	*ret_step = STEP_JAIL;
	if ((r = detached_clone(s->program_fd, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, -1, &program)) < 0 ||
		(r = detached_clone(s->sockets_fd, 0, -1, &sockets)) < 0 ||
		(r = mount_base(s, &base, ret_step)) < 0 || (r = make_root(s, base, program, &root)) < 0 ||
		(r = detached_folder(root, HELPER_JAIL_SOCKETS, &folder)) < 0)
		return r;
	if ((r = make_fifos(s, sockets)) < 0)
		return r;
	if (move_mount(sockets, "", root, HELPER_JAIL_SOCKETS, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	for (size_t i = 0; r == 0 && i < files.n; i++) {
		*ret_step = files.all[i].step;
		r = detached_place(root, files.all[i].name, files.all[i].tree);
	}
	if (r == 0) {
		*ret_step = STEP_DISKS;
		r = make_nodes(s, root);
	}
	if (r == 0)
		*ret_root = TAKE_FD(root);
	return r;
}

int stage_fill(const struct stage *s, int root, enum launch_step *ret_step)
{
	*ret_step = STEP_INITRD;
	return copy_initrd(s->fds[LAUNCH_FD_INITRD], root);
}
