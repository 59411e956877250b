#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>

#include "banger/cleanup.h"
#include "banger/guest_config.h"
#include "banger/io.h"
#include "disks.h"
#include "guest.h"
#include "seed.h"

#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t) /* fs/ext4/ext4.h: new size in blocks */
#define DISKS_WAIT_USEC    10000000

/* The name of the block device whose serial is WANTED. */
static int find_serial(const char *wanted, char **ret)
{
	_cleanup_closedir_ DIR *dir = opendir("/sys/block");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *path = NULL, *serial = NULL;
		size_t n;

		if (entry->d_name[0] == '.' || asprintf(&path, "/sys/block/%s/serial", entry->d_name) < 0)
			continue;
		if (io_read_file(AT_FDCWD, path, 4096, &serial, &n, NULL) < 0)
			continue;
		serial[strcspn(serial, "\n")] = '\0';
		if (strcmp(serial, wanted) == 0)
			return asprintf(ret, "/dev/%s", entry->d_name) < 0 ? -ENOMEM : 0;
	}
	return -ENODEV;
}

/* Where the VMM gives the disks serials of its own, by what the host says of their order. */
static int find_once(const struct config *c, const char *wanted, char **ret)
{
	unsigned i = 0;

	if (c->disk_count == 0)
		return find_serial(wanted, ret);
	while (i < c->disk_count && strcmp(c->disks[i], wanted) != 0)
		i++;
	if (i == c->disk_count)
		return -ENODEV;
	if (asprintf(ret, "/dev/vd%c", 'a' + (int)i) < 0)
		return -ENOMEM;
	if (access(*ret, F_OK) == 0)
		return 0;
	free(*ret);
	return -ENODEV;
}

static int find_disk(const struct config *c, const char *serial, char **ret, struct err *e)
{
	uint64_t end = io_now_usec() + DISKS_WAIT_USEC;

	/* Disks are there when their driver was loaded; one on a slow bus a little later. */
	while (find_once(c, serial, ret) < 0) {
		if (io_now_usec() > end)
			return err_set(e, -ENODEV, "there is no disk '%s'", serial);
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	return 0;
}

/* A disk that the host made larger: the file system follows. */
static void grow(const char *device, const char *mountpoint)
{
	_cleanup_close_ int disk = open(device, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int root = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;
	uint64_t bytes, blocks;

	if (disk < 0 || root < 0 || ioctl(disk, BLKGETSIZE64, &bytes) < 0 || fstatfs(root, &fs) < 0)
		return;
	blocks = bytes / (uint64_t)fs.f_bsize;
	/* f_blocks leaves the metadata out: asking for what is there already costs nothing. */
	if (blocks > (uint64_t)fs.f_blocks && ioctl(root, EXT4_IOC_RESIZE_FS, &blocks) < 0 && errno != EINVAL)
		guest_say("growing the file system at %s: %s", mountpoint, strerror(errno));
}

static int mount_disk(const struct config *c, const char *serial, const char *where, unsigned long flags,
	const char *options, struct err *e)
{
	_cleanup_free_ char *device = NULL;
	int r = find_disk(c, serial, &device, e);

	if (r < 0)
		return r;
	if (mkdir(where, 0755) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "%s", where);
	if (mount(device, where, "ext4", flags, options) < 0)
		return err_sys(e, -errno, "mounting the disk '%s' (%s)", serial, device);
	if (!(flags & MS_RDONLY))
		grow(device, where);
	return 0;
}

/*
 * What the file system has gained reads as zeros by itself: were its inode tables zeroed, as the kernel does a little after the mount, each block
 * of them would take space on the host. Not an option of the mount, with which growing zeroes them at once (fs/ext4/resize.c).
 */
static int mount_root_disk(const struct config *c, struct err *e)
{
	int r = mount_disk(c, GUEST_DISK_ROOT, DISKS_ROOT, MS_NOATIME, "discard", e);

	if (r == 0 && mount(NULL, DISKS_ROOT, NULL, MS_REMOUNT | MS_NOATIME, "discard,noinit_itable") < 0)
		guest_say("remounting the root: %s", strerror(errno));
	return r;
}

static int mount_overlay(const struct config *c, struct err *e)
{
	int r;

	if ((r = mount_disk(c, GUEST_DISK_IMAGE, "/m/image", MS_RDONLY, NULL, e)) < 0 ||
		(r = mount_disk(c, GUEST_DISK_OVERLAY, "/m/overlay", MS_NOATIME, "discard", e)) < 0)
		return r;
	mkdir(DISKS_ROOT, 0755);
	/* Inode numbers stay what they are (xino: the host knows files by them). What was changed stands whole where it stands: a VM is promoted to an image of it, whatever the kernel was built with. */
	if (mount("overlay", DISKS_ROOT, "overlay", 0,
		    "lowerdir=/m/image,upperdir=/m/overlay/upper,workdir=/m/overlay/work,"
		    "redirect_dir=off,metacopy=off,index=off,xino=auto") < 0)
		return err_sys(e, -errno, "mounting the overlay");
	return 0;
}

int disks_mount(const struct config *c, struct err *e)
{
	_cleanup_close_ int seed = -EBADF, work = -EBADF;
	int r;

	mkdir("/m", 0755);
	r = c->root_disk ? mount_root_disk(c, e) : mount_overlay(c, e);
	if (r < 0)
		return r;
	if (mkdir(DISKS_ROOT "/root", 0755) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "/root");
	/* Opened before the work disk covers it. */
	seed = open(DISKS_ROOT "/root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = mount_disk(c, GUEST_DISK_WORK, DISKS_ROOT "/root", MS_NOATIME, "discard", e);
	if (r < 0)
		return r;
	work = open(DISKS_ROOT "/root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (seed >= 0 && work >= 0)
		seed_once(seed, work);
	if (mkdir(DISKS_ROOT GUEST_WORKSPACE, 0755) < 0 && errno != EEXIST)
		return err_sys(e, -errno, GUEST_WORKSPACE);
	return 0;
}
