#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/landlock.h"
#include "detached.h"
#include "view.h"

#define SIZE    (64u << 10) /* of folders and links alone */
#define INODES  64
#define PROGRAM "/usr/bin/qemu-system-x86_64" /* it looks for its firmware by where it lies itself */
#define KVM     "/dev/kvm"

/*
 * Of the host's, where it has them: libraries, their loader and its cache; QEMU's firmware by its own name and by those of the packages that it comes
 * from (Debian, Fedora, Arch, RHEL). Links stay links.
 */
static const char *const seen[] = {
	"/lib",
	"/lib64",
	"/usr/lib",
	"/usr/lib64",
	"/etc/ld.so.cache",
	"/usr/share/qemu",
	"/usr/share/qemu-kvm",
	"/usr/share/qemu-firmware",
	"/usr/share/seabios",
	"/usr/share/qboot",
};

struct thing {
	int tree; /* -1: none, or a link */
	bool folder;
	char *link; /* what it says */
};

struct things {
	struct thing all[ELEMENTSOF(seen)], program, kvm;
};

static void things_clear(struct things *t)
{
	for (size_t i = 0; i < ELEMENTSOF(t->all); i++) {
		close_fd(t->all[i].tree);
		free(t->all[i].link);
	}
	close_fd(t->program.tree);
	close_fd(t->kvm.tree);
}

static int read_link(int fd, size_t size, char **ret)
{
	_cleanup_free_ char *text = calloc(1, size + 1);

	if (!text)
		return -ENOMEM;
	if (readlinkat(fd, "", text, size) != (ssize_t)size)
		return -EINVAL;
	*ret = TAKE_PTR(text);
	return 0;
}

/* What of the host is at PATH, as a mount, or as a link. None is fine. */
static int take(const char *path, uint64_t attributes, struct thing *ret)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return read_link(fd, (size_t)st.st_size, &ret->link);
	ret->folder = S_ISDIR(st.st_mode);
	return detached_clone(fd, attributes, -1, &ret->tree);
}

/* The folders on the way to PATH, which is relative. */
static int make_way(int base, const char *path)
{
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		_cleanup_free_ char *folder = strndup(path, (size_t)(slash - path));

		if (!folder)
			return -ENOMEM;
		if (mkdirat(base, folder, 0755) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

/* T to be at ABSOLUTE of the new root. */
static int place(int base, const char *absolute, const struct thing *t)
{
	const char *path = absolute + 1;
	int r;

	if (t->tree < 0 && !t->link)
		return 0;
	r = make_way(base, path);
	if (r < 0)
		return r;
	if (t->link)
		return symlinkat(t->link, base, path) < 0 ? -errno : 0;
	if (!t->folder)
		return detached_place(base, path, t->tree);
	return mkdirat(base, path, 0755) < 0 ||
			       move_mount(t->tree, "", base, path, MOVE_MOUNT_F_EMPTY_PATH) < 0
		       ? -errno
		       : 0;
}

static int mount_proc(void)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (mkdirat(AT_FDCWD, "proc", 0555) < 0)
		return -errno;
	/* Kernel and initramfs are opened through it, by descriptor. The processes alone; before Linux 5.8 there is all or nothing. */
	return mount("proc", "proc", "proc", flags, "subset=pid") == 0 ||
			       (errno == EINVAL && mount("proc", "proc", "proc", flags, NULL) == 0)
		       ? 0
		       : -errno;
}

/* BASE, where one is, becomes the root, and nothing else is left. */
static int change_root(int base)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};

	/* Not recursive: what is mounted in it has its own. */
	if (fchmod(base, 0755) < 0 || mount_setattr(base, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return -errno;
	/* The old one is on top of the new one then (pivot_root(2), "pivot_root(".", ".")"). */
	return syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0
		       ? -errno
		       : 0;
}

static int take_all(struct things *t, bool kvm, int program_fd)
{
	const uint64_t attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ELEMENTSOF(seen); i++)
		r = take(seen[i], attributes | MOUNT_ATTR_NODEV, &t->all[i]);
	if (r == 0 && kvm)
		r = take(KVM, attributes | MOUNT_ATTR_NOEXEC, &t->kvm);
	return r < 0 ? r : detached_clone(program_fd, attributes | MOUNT_ATTR_NODEV, -1, &t->program.tree);
}

int view_enter(const struct instance *inst, bool kvm, int program_fd)
{
	_cleanup_(things_clear) struct things t = {.program.tree = -EBADF, .kvm.tree = -EBADF};
	_cleanup_close_ int base = -EBADF, program = -EBADF;
	int r;

	for (size_t i = 0; i < ELEMENTSOF(t.all); i++)
		t.all[i].tree = -EBADF;
	umask(022);
	if ((r = take_all(&t, kvm, program_fd)) < 0 || (r = detached_base(inst, SIZE, INODES, &base)) < 0)
		return r;
	for (size_t i = 0; r == 0 && i < ELEMENTSOF(seen); i++)
		r = place(base, seen[i], &t.all[i]);
	if (r == 0)
		r = place(base, PROGRAM, &t.program);
	if (r == 0)
		r = place(base, KVM, &t.kvm);
	if (r == 0 && fchdir(base) < 0)
		r = -errno;
	if (r == 0)
		r = mount_proc();
	if (r == 0)
		r = change_root(base);
	if (r < 0)
		return r;
	program = open(PROGRAM, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return program < 0 || dup3(program, program_fd, O_CLOEXEC) < 0 ? -errno : 0;
}

/* A link isn't seen through: what it leads to has a rule of its own. */
static int open_rule(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && !S_ISLNK(st.st_mode) ? open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC)
							     : -EBADF;
}

int view_restrict(int kernel_fd, int initrd_fd)
{
	const uint64_t of_files = LANDLOCK_EXECUTE | LANDLOCK_READ, of_folders = of_files | LANDLOCK_READ_DIR;
	struct landlock_rule rules[ELEMENTSOF(seen) + 4];
	size_t n = 0;
	int r;

	if (landlock_version() == 0)
		return 0;
	for (size_t i = 0; i < ELEMENTSOF(seen); i++) {
		int fd = open_rule(seen[i]);
		struct stat st;

		if (fd >= 0 && fstat(fd, &st) == 0)
			rules[n++] = (struct landlock_rule){
				fd, S_ISDIR(st.st_mode) ? of_folders : (uint64_t)LANDLOCK_READ};
	}
	rules[n++] = (struct landlock_rule){open_rule(PROGRAM), of_files};
	rules[n++] = (struct landlock_rule){open_rule(KVM), LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_IOCTL};
	rules[n++] = (struct landlock_rule){kernel_fd, LANDLOCK_READ};
	rules[n++] = (struct landlock_rule){initrd_fd, LANDLOCK_READ};
	r = landlock_enter(rules, n, NULL);
	/* The last two are the caller's. */
	for (size_t i = 0; i + 2 < n; i++)
		close_fd(rules[i].fd);
	return r;
}
