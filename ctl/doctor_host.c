/* What the host gives: devices, room, a clock. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <time.h>

#include "banger/cleanup.h"
#include "banger/dial_proto.h"
#include "banger/io.h"
#include "banger/landlock.h"
#include "doctor_rows.h"
#include "service.h"
#include "show.h"

/* Documentation/admin-guide/devices.txt: misc. */
#define MISC_MAJOR        10
#define FUSE_MINOR        229
#define TUN_MINOR         200
#define KVM_MINOR         232
#define VHOST_VSOCK_MINOR 241

#define STATE_WANTED (2ull << 30) /* a kernel, an image, and VMs that write a little */
#define STATE_NEEDED                                                                                         \
	(64ull << 20) /* a start's own files; below, it fails or the guest gets I/O errors at once */
#define RUN_WANTED    (16ull << 20)
#define RUN_NEEDED    (1ull << 20) /* sockets, a journal of some 100 KiB, logs */
#define INODES_WANTED 1000
#define INODES_NEEDED 50 /* a VM's are some twenty */

/* A character device 10:MINOR that can be opened, as far as we may. */
static bool is_device(
	struct doctor *d, struct finding *f, const char *path, unsigned device_minor, const char *module)
{
	_cleanup_close_ int fd = -EBADF;
	struct stat st;

	if (stat(path, &st) < 0) {
		found_bad(f, GRADE_FAIL, mend_as_root(d, "modprobe %s", module), "%s is not there", path);
		return false;
	}
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(MISC_MAJOR, device_minor)) {
		found_bad(f, GRADE_FAIL,
			mend_as_root(d, "rm -f %s && %smknod -m 0600 %s c %d %u", path,
				d->root ? "" : "sudo ", path, MISC_MAJOR, device_minor),
			"%s is something else than that device", path);
		return false;
	}
	/* Nothing comes of opening these two by itself. What opens them for good is the helper, as root. */
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 && (d->root || (errno != EACCES && errno != EPERM))) {
		found_bad(f, GRADE_FAIL, mend_as_root(d, "modprobe %s", module), "%s cannot be opened: %s",
			path, strerror(errno));
		return false;
	}
	return true;
}

static void check_fuse(struct doctor *d, struct finding *f)
{
	if (is_device(d, f, "/dev/fuse", FUSE_MINOR, "fuse"))
		found_good(f, "/dev/fuse is there");
}

static void check_tun(struct doctor *d, struct finding *f)
{
	if (is_device(d, f, "/dev/net/tun", TUN_MINOR, "tun"))
		found_good(f, "/dev/net/tun is there");
}

/* The module that this processor wants; NULL: it says nothing of virtualisation. */
static const char *kvm_module(void)
{
	_cleanup_free_ char *text = NULL;

	if (io_read_file(AT_FDCWD, "/proc/cpuinfo", 16 << 20, &text, NULL, NULL) < 0)
		return NULL;
	return strstr(text, " vmx") ? "kvm_intel" : strstr(text, " svm") ? "kvm_amd" : NULL;
}

/* QEMU runs as a user of its own, with the group of the device where that may write (docs/privileges.md): not as who asks here. */
static void check_kvm_device(struct doctor *d, struct finding *f)
{
	const char *module;
	struct stat st;

	if (stat("/dev/kvm", &st) < 0) {
		module = kvm_module();
		found_bad(f, GRADE_WARN,
			module ? mend_as_root(d, "modprobe %s", module)
			       : mend_text(
					 "let the firmware, or the hypervisor that this host is a guest of, "
					 "offer virtualisation"),
			"/dev/kvm is not there: VMs are emulated, which is slower");
	} else if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(MISC_MAJOR, KVM_MINOR)) {
		found_bad(f, GRADE_WARN,
			mend_as_root(d, "rm -f /dev/kvm && %smknod -m 0660 /dev/kvm c %d %d",
				d->root ? "" : "sudo ", MISC_MAJOR, KVM_MINOR),
			"/dev/kvm is something else than that device");
	} else if ((st.st_mode & S_IWOTH) && (st.st_mode & S_IROTH)) {
		found_good(f, "/dev/kvm is there, and the users of the VMs may open it");
	} else if ((st.st_mode & S_IWGRP) && (st.st_mode & S_IRGRP)) {
		found_good(f, "/dev/kvm is there, and the users of the VMs may open it by its group, %u",
			st.st_gid);
	} else {
		found_bad(f, GRADE_WARN, mend_as_root(d, "chmod 0660 /dev/kvm"),
			"/dev/kvm has mode %04o: the users of the VMs cannot open it, so VMs are emulated",
			st.st_mode & 07777);
	}
}

/* The helper opens it, as root (docs/privileges.md, vsock). */
static void check_vsock(struct doctor *d, struct finding *f)
{
	struct stat st, dialer;

	if (stat("/dev/vhost-vsock", &st) < 0)
		found_bad(f, GRADE_WARN, mend_as_root(d, "modprobe vhost_vsock"),
			"/dev/vhost-vsock is not there: QEMU's guests are spoken to by virtio-serial");
	else if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(MISC_MAJOR, VHOST_VSOCK_MINOR))
		found_bad(f, GRADE_WARN,
			mend_as_root(d,
				"rm -f /dev/vhost-vsock && %smodprobe -r vhost_vsock && %smodprobe "
				"vhost_vsock",
				d->root ? "" : "sudo ", d->root ? "" : "sudo "),
			"/dev/vhost-vsock is something else than that device");
	else if (service_installed(d->c) && lstat(DIAL_SOCKET, &dialer) < 0)
		found_bad(f, GRADE_WARN, mend_as_root(d, "systemctl start banger-vsock.socket"),
			"nobody connects the daemon to vsocks (" DIAL_SOCKET
			"): QEMU's guests are spoken to by virtio-serial");
	/* An instance that was there before that unit, which had no drop-in from its installation then. */
	else if (service_installed(d->c) && d->owner_name && dialer.st_uid != d->owner)
		found_bad(f, GRADE_WARN, mend_as_root(d, "banger system install --owner %s", d->owner_name),
			"the daemon may not speak to who connects it to vsocks (" DIAL_SOCKET
			" is user %u's): QEMU's guests are spoken to by virtio-serial",
			dialer.st_uid);
	else
		found_good(f, "/dev/vhost-vsock is there: QEMU's guests are spoken to by vsock");
}

/* By it QEMU, and the worker that makes images, open nothing but what is theirs. */
static void check_landlock(struct doctor *d, struct finding *f)
{
	int version = landlock_version();

	(void)d;
	if (version > 0)
		found_good(f, "this kernel has Landlock, version %d", version);
	else
		found_bad(f, GRADE_WARN,
			mend_text("start the kernel with landlock in its lsm= (CONFIG_SECURITY_LANDLOCK, "
				  "Linux 5.13)"),
			"this kernel has no Landlock: what QEMU may open is bounded by its mount namespace "
			"and seccomp alone");
}

static void find_room(
	struct finding *f, const char *place, uint64_t wanted, uint64_t needed, const char *mend)
{
	_cleanup_free_ char *path = strdup(place);
	struct statvfs st;
	char *slash, buf[16];
	uint64_t room;

	/* The nearest folder that is there. */
	while (path && statvfs(path, &st) < 0) {
		slash = strrchr(path, '/');
		if (!slash || slash == path) {
			found_bad(f, GRADE_WARN, mend_text("df %s", place), "%s: %s", place, strerror(errno));
			return;
		}
		*slash = '\0';
	}
	if (!path)
		return;
	room = (uint64_t)st.f_bavail * st.f_frsize;
	if (room < wanted)
		found_bad(f, room < needed ? GRADE_FAIL : GRADE_WARN, mend_text("%s", mend), "%s free at %s",
			show_size(room, buf), path);
	/* File systems without a table of inodes say 0 of 0. */
	else if (st.f_files > 0 && st.f_favail < INODES_WANTED)
		found_bad(f, st.f_favail < INODES_NEEDED ? GRADE_FAIL : GRADE_WARN, mend_text("%s", mend),
			"room for %ju more files at %s", (uintmax_t)st.f_favail, path);
	else
		found_good(f, "%s free at %s", show_size(room, buf), path);
}

static void check_space(struct doctor *d, struct finding *f)
{
	_cleanup_free_ char *mend = mend_text(
		"banger image prune, or free some of %s: VMs get I/O errors on a full disk", d->state);

	find_room(f, d->state, STATE_WANTED, STATE_NEEDED, mend ? mend : "");
}

static void check_run_space(struct doctor *d, struct finding *f)
{
	_cleanup_free_ char *mend =
		mend_text("du -xh %s, and free some: sockets and the helper's journal are there", d->run);

	find_room(f, d->run, RUN_WANTED, RUN_NEEDED, mend ? mend : "");
}

/* Guests are given the host's clock; with a wrong one no certificate is valid and apt's indexes are of the future. */
static void check_clock(struct doctor *d, struct finding *f)
{
	struct timex state = {0};
	time_t now = time(NULL);
	struct stat self;

	if (stat("/proc/self/exe", &self) == 0 && now < self.st_mtime - 86400) {
		found_bad(f, GRADE_FAIL, mend_as_root(d, "timedatectl set-ntp true"),
			"it is earlier than when this program was built");
		return;
	}
	if (adjtimex(&state) < 0)
		found_good(f, "nothing says that it is wrong");
	else if (state.status & STA_UNSYNC)
		found_bad(f, GRADE_WARN, mend_as_root(d, "timedatectl set-ntp true"),
			"nothing keeps it right, or nothing tells this kernel (a container's host may)");
	else
		found_good(f, "it is kept right, to %ld ms", state.maxerror / 1000);
}

const struct row doctor_rows_host[] = {
	{"fuse", check_fuse},
	{"tun", check_tun},
	{"kvm-device", check_kvm_device},
	{"vsock", check_vsock},
	{"landlock", check_landlock},
	{"space", check_space},
	{"run-space", check_run_space},
	{"clock", check_clock},
	{NULL, NULL},
};
