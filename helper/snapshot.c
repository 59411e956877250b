#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libdevmapper.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "banger/cleanup.h"
#include "snapshot.h"

#define SECTOR       512u
#define REMOVE_TRIES 20
#define REMOVE_NSEC  10000000

/* dm-snap.c: since 1.16 (Linux 5.3) what the guest discards is given back to the host (discard_zeroes_cow). */
#define SNAPSHOT_MAJOR 1
#define SNAPSHOT_MINOR 16

/*
 * P: persistent. O: who reads its status knows Overflow, so that a full cow refuses what is new and doesn't throw away what there is
 * (dm-snap.c: pending_complete).
 */
#define SNAPSHOT_STORE "PO"

#define UDEV_HANDS_OFF                                                                                       \
	(DM_UDEV_DISABLE_DM_RULES_FLAG | DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG |                              \
		DM_UDEV_DISABLE_DISK_RULES_FLAG | DM_UDEV_DISABLE_OTHER_RULES_FLAG |                         \
		DM_UDEV_DISABLE_LIBRARY_FALLBACK)

typedef struct dm_task dm_task;
DEFINE_CLEANUP(dm_task *, dm_task_destroy)

static void quiet(int level, const char *file, int line, int code, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
static void quiet(int level, const char *file, int line, int code, const char *format, ...)
{
	(void)level;
	(void)file;
	(void)line;
	(void)code;
	(void)format;
}

void snapshot_name(const struct snapshot_owner *o, enum snapshot_part part, char ret[SNAPSHOT_NAME_MAX])
{
	snprintf(ret, SNAPSHOT_NAME_MAX, "%.15s-%u-%" PRIx64 "%s", o->instance, o->vm, o->tag,
		part == SNAPSHOT_BASE ? "-base" : "");
}

void snapshot_uuid(const struct snapshot_owner *o, enum snapshot_part part, char ret[SNAPSHOT_NAME_MAX])
{
	char name[SNAPSHOT_NAME_MAX];

	snapshot_name(o, part, name);
	snprintf(ret, SNAPSHOT_NAME_MAX, "BANGER-%.50s", name);
}

static int task_new(int type, dm_task **ret, struct err *e)
{
	dm_task *t;

	dm_log_with_errno_init(quiet);
	/* Nothing waits for udev: the kernel makes the node that is opened (devtmpfs), and semaphores aren't ours to use. */
	dm_udev_set_sync_support(0);
	/* It asks the kernel for its version first. */
	t = dm_task_create(type);
	if (!t)
		return err_set(e, -ENODEV, "no device-mapper in this kernel: modprobe dm_mod");
	*ret = t;
	return 0;
}

/* 0 or -errno; the control device isn't kept open. */
static int run(dm_task *t)
{
	int r = 0;

	errno = 0;
	if (!dm_task_run(t)) {
		int code = dm_task_get_errno(t);

		r = code ? -code : errno ? -errno : -EIO;
	}
	dm_lib_release();
	return r;
}

static int set_hands_off(dm_task *t)
{
	uint32_t cookie = 0;

	return dm_task_set_cookie(t, &cookie, UDEV_HANDS_OFF);
}

/* A task about PART of O, found by its uuid. */
static int task_about(
	int type, const struct snapshot_owner *o, enum snapshot_part part, dm_task **ret, struct err *e)
{
	_cleanup_(dm_task_destroyp) dm_task *t = NULL;
	char uuid[SNAPSHOT_NAME_MAX];
	int r = task_new(type, &t, e);

	if (r < 0)
		return r;
	snapshot_uuid(o, part, uuid);
	if (!dm_task_set_uuid(t, uuid))
		return err_sys(e, -ENOMEM, "device-mapper");
	*ret = TAKE_PTR(t);
	return 0;
}

/* Asking for a target's version loads its module (dm-ioctl.c: get_target_version, Linux 5.4). */
static int target_version(const char *target, uint32_t ret[3], struct err *e)
{
	_cleanup_(dm_task_destroyp) dm_task *t = NULL;
	const struct dm_versions *v;
	int r = task_new(DM_DEVICE_GET_TARGET_VERSION, &t, e);

	if (r < 0)
		return r;
	if (!dm_task_set_name(t, target))
		return err_sys(e, -ENOMEM, "device-mapper");
	r = run(t);
	if (r == -EINVAL)
		return err_set(e, -ENODEV, "no %s target in this kernel's device-mapper: modprobe dm_%s",
			target, target);
	if (r == -ENOTTY)
		return err_set(e, -ENODEV, "this kernel's device-mapper is older than Linux 5.4");
	if (r < 0)
		return err_sys(e, r, "device-mapper");
	v = dm_task_get_versions(t);
	memcpy(ret, v->version, sizeof(v->version));
	return 0;
}

int snapshot_probe(struct err *e)
{
	uint32_t v[3];
	int r = target_version("snapshot", v, e);

	if (r < 0)
		return r;
	if (v[0] != SNAPSHOT_MAJOR || v[1] < SNAPSHOT_MINOR)
		return err_set(e, -ENODEV,
			"device-mapper's snapshots are version %u.%u here: %u.%u is the oldest that does",
			v[0], v[1], SNAPSHOT_MAJOR, SNAPSHOT_MINOR);
	return 0;
}

/* Creates PART with the table that is in T already. */
static int create(
	dm_task *t, const struct snapshot_owner *o, enum snapshot_part part, dev_t *ret, struct err *e)
{
	char name[SNAPSHOT_NAME_MAX], uuid[SNAPSHOT_NAME_MAX];
	struct dm_info info;
	int r;

	snapshot_name(o, part, name);
	snapshot_uuid(o, part, uuid);
	if (!dm_task_set_name(t, name) || !dm_task_set_uuid(t, uuid) || !set_hands_off(t))
		return err_sys(e, -ENOMEM, "device-mapper");
	r = run(t);
	if (r == -EBUSY)
		return err_set(e, -EEXIST,
			"device-mapper has a device %s already, and it isn't ours: dmsetup info %s", name,
			name);
	if (r < 0)
		return err_sys(e, r, "device-mapper: %s", name);
	if (!dm_task_get_info(t, &info) || !info.exists)
		return err_set(e, -EIO, "device-mapper: %s isn't there after it was made", name);
	*ret = makedev(info.major, info.minor);
	return 0;
}

static int add_linear(dm_task *t, uint64_t start, uint64_t sectors, dev_t dev, struct err *e)
{
	_cleanup_free_ char *params = NULL;

	if (asprintf(&params, "%u:%u 0", major(dev), minor(dev)) < 0) {
		params = NULL;
		return err_sys(e, -ENOMEM, "device-mapper");
	}
	return dm_task_add_target(t, start, sectors, "linear", params) ? 0
								       : err_sys(e, -ENOMEM, "device-mapper");
}

int snapshot_make_base(const struct snapshot_owner *o, dev_t image, uint64_t bytes, dev_t rest, uint64_t size,
	dev_t *ret, struct err *e)
{
	_cleanup_(dm_task_destroyp) dm_task *t = NULL;
	uint64_t there = bytes / SECTOR, all = size / SECTOR;
	int r = task_new(DM_DEVICE_CREATE, &t, e);

	if (r < 0 || (r = add_linear(t, 0, there, image, e)) < 0 ||
		(all > there && (r = add_linear(t, there, all - there, rest, e)) < 0))
		return r;
	if (!dm_task_set_ro(t))
		return err_sys(e, -ENOMEM, "device-mapper");
	return create(t, o, SNAPSHOT_BASE, ret, e);
}

int snapshot_make(
	const struct snapshot_owner *o, dev_t base, dev_t cow, uint64_t size, dev_t *ret, struct err *e)
{
	_cleanup_(dm_task_destroyp) dm_task *t = NULL;
	_cleanup_free_ char *params = NULL;
	int r = task_new(DM_DEVICE_CREATE, &t, e);

	if (r < 0)
		return r;
	if (asprintf(&params, "%u:%u %u:%u " SNAPSHOT_STORE " %u 1 discard_zeroes_cow", major(base),
		    minor(base), major(cow), minor(cow), SNAPSHOT_CHUNK / SECTOR) < 0) {
		params = NULL;
		return err_sys(e, -ENOMEM, "device-mapper");
	}
	if (!dm_task_add_target(t, 0, size / SECTOR, "snapshot", params))
		return err_sys(e, -ENOMEM, "device-mapper");
	return create(t, o, SNAPSHOT_ROOT, ret, e);
}

static int info_of(
	const struct snapshot_owner *o, enum snapshot_part part, struct dm_info *ret, struct err *e)
{
	_cleanup_(dm_task_destroyp) dm_task *t = NULL;
	int r = task_about(DM_DEVICE_INFO, o, part, &t, e);

	if (r < 0)
		return r;
	r = run(t);
	if (r == 0 && !dm_task_get_info(t, ret))
		r = -EIO;
	return r < 0 && r != -ENXIO ? err_sys(e, r, "device-mapper") : r;
}

static int remove_once(const struct snapshot_owner *o, enum snapshot_part part, int deferred, struct err *e)
{
	_cleanup_(dm_task_destroyp) dm_task *t = NULL;
	int r = task_about(DM_DEVICE_REMOVE, o, part, &t, e);

	if (r < 0)
		return r;
	if (!set_hands_off(t) || (deferred && !dm_task_deferred_remove(t)))
		return err_sys(e, -ENOMEM, "device-mapper");
	r = run(t);
	return r == -ENXIO ? 0 : r;
}

int snapshot_remove(const struct snapshot_owner *o, enum snapshot_part part, dev_t dev, struct err *e)
{
	char name[SNAPSHOT_NAME_MAX];
	struct dm_info info = {0};
	int r = info_of(o, part, &info, e);

	snapshot_name(o, part, name);
	if (r == -ENXIO || (r == 0 && !info.exists))
		return 0;
	if (r < 0)
		return r;
	if (dev != 0 && makedev(info.major, info.minor) != dev)
		return err_set(e, -ESTALE,
			"device-mapper's %s isn't the device that was made here: it is left alone", name);
	r = remove_once(o, part, 0, e);
	for (int i = 1; i < REMOVE_TRIES && r == -EBUSY; i++) {
		nanosleep(&(struct timespec){.tv_nsec = REMOVE_NSEC}, NULL);
		r = remove_once(o, part, 0, e);
	}
	if (r != -EBUSY)
		return r < 0 ? err_sys(e, r, "device-mapper: removing %s", name) : 0;
	r = remove_once(o, part, 1, e);
	if (r < 0)
		return err_sys(e, r, "device-mapper: removing %s", name);
	return err_set(e, -EBUSY,
		"the VM's root disk is open: it goes when that is closed: fuser -v /dev/dm-%u", info.minor);
}

int snapshot_open(dev_t dev, int flags, int *ret, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	_cleanup_free_ char *path = NULL;
	struct stat st;

	if (asprintf(&path, "/dev/dm-%u", minor(dev)) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "root disk");
	}
	fd = open(path, flags | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", path);
	if (!S_ISBLK(st.st_mode) || st.st_rdev != dev)
		return err_set(e, -ENODEV, "%s is another device", path);
	*ret = TAKE_FD(fd);
	return 0;
}

int snapshot_status_parse(const char *type, const char *params, struct snapshot_status *ret)
{
	struct dm_pool *pool;
	struct dm_status_snapshot *s;
	int r = 0;

	*ret = (struct snapshot_status){.state = HELPER_DISK_LOST};
	if (strcmp(type, "snapshot") != 0)
		return 0;
	dm_log_with_errno_init(quiet);
	pool = dm_pool_create("status", 256);
	if (!pool)
		return -ENOMEM;
	if (!dm_get_status_snapshot(pool, params, &s))
		r = -EPROTO;
	else if (s->invalid || s->merge_failed)
		ret->state = HELPER_DISK_INVALID;
	else if (s->overflow)
		ret->state = HELPER_DISK_FULL;
	else
		*ret = (struct snapshot_status){.state = HELPER_DISK_OK,
			.used = s->used_sectors * SECTOR,
			.size = s->total_sectors * SECTOR};
	dm_pool_destroy(pool);
	return r;
}

int snapshot_status(const struct snapshot_owner *o, struct snapshot_status *ret, struct err *e)
{
	_cleanup_(dm_task_destroyp) dm_task *t = NULL;
	struct dm_info info;
	uint64_t start, length;
	char *type = NULL, *params = NULL;
	int r = task_about(DM_DEVICE_STATUS, o, SNAPSHOT_ROOT, &t, e);

	if (r < 0)
		return r;
	/* Asking changes nothing on the disk, and doesn't wait for it. */
	dm_task_no_flush(t);
	r = run(t);
	if (r == -ENXIO || (r == 0 && (!dm_task_get_info(t, &info) || !info.exists)))
		return err_set(e, -ENODEV, "VM %u's root disk has gone from device-mapper", o->vm);
	if (r < 0)
		return err_sys(e, r, "device-mapper: status");
	dm_get_next_target(t, NULL, &start, &length, &type, &params);
	if (!type || !params) {
		*ret = (struct snapshot_status){.state = HELPER_DISK_LOST};
		return 0;
	}
	r = snapshot_status_parse(type, params, ret);
	return r < 0 ? err_set(e, r, "device-mapper says of a snapshot: %.64s", params) : 0;
}
