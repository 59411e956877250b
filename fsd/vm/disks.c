#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "banger/io.h"
#include "image/image.h"
#include "image/worker.h"
#include "offline/repair.h"
#include "vm/disks.h"

#define CHUNK           4096ull     /* helper/snapshot.h: SNAPSHOT_CHUNK */
#define AREA            256ull      /* entries of 16 bytes in a chunk */
#define COW_MAGIC       0x70416e53u /* dm-snap-persistent.c: SNAP_MAGIC, little-endian as all of it */
#define LOCK_MSEC       60000       /* for the last writes of who served its files */
#define LOCK_AGAIN_MSEC 10
#define COW_NEW         ".tmp-" DISKS_COW

static const struct {
	const char *word;
	enum helper_storage storage; /* 0: what the host has */
} words[] = {{"auto", 0}, {"dm", HELPER_STORAGE_DM}, {"overlay", HELPER_STORAGE_OVERLAY}};

int disks_check_word(const char *word, struct err *e)
{
	for (size_t i = 0; i < ELEMENTSOF(words); i++)
		if (strcmp(words[i].word, word) == 0)
			return 0;
	return err_set(e, -EINVAL, "'%.64s' is none: auto, dm or overlay", word);
}

static enum helper_storage storage_of(const char *word)
{
	for (size_t i = 0; i < ELEMENTSOF(words); i++)
		if (strcmp(words[i].word, word) == 0)
			return words[i].storage;
	return 0;
}

const char *disks_storage_name(enum helper_storage storage)
{
	return storage == HELPER_STORAGE_DM ? "dm" : "overlay";
}

uint64_t disks_cow_size(uint64_t size)
{
	uint64_t chunks = (size + CHUNK - 1) / CHUNK, areas = (chunks + AREA - 1) / AREA;

	/* One area more: the next is wiped when one is full. */
	return (1 + chunks + areas + 1) * CHUNK;
}

uint64_t disks_root_size(uint64_t image, uint64_t size)
{
	uint64_t larger = image > size ? image : size;

	return (larger + CHUNK - 1) / CHUNK * CHUNK;
}

/* Opens a disk, made under a temporary name first, so that half of one is never taken for it. */
static int open_disk(struct disks *d, const char *name, int (*make)(int fd, uint64_t size, struct err *e),
	int *ret, struct err *e)
{
	_cleanup_close_ int fd = openat(d->dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_free_ char *temp = NULL;
	struct stat st;
	int r;

	if (fd < 0 && errno != ENOENT)
		return err_sys(e, -errno, "%s", name);
	if (fd >= 0) {
		if (fstat(fd, &st) < 0)
			return err_sys(e, -errno, "%s", name);
		r = (uint64_t)st.st_size < d->size ? disk_grow(fd, d->size, e) : 0;
		if (r < 0) {
			err_wrap(e, "%s", name);
			return r;
		}
		*ret = TAKE_FD(fd);
		return 0;
	}
	if (asprintf(&temp, ".tmp-%s", name) < 0) {
		temp = NULL;
		return err_sys(e, -ENOMEM, "%s", name);
	}
	fd = openat(d->dir_fd, temp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, -errno, "%s", name);
	r = make(fd, d->size, e);
	if (r == 0 && (fdatasync(fd) < 0 || renameat(d->dir_fd, temp, d->dir_fd, name) < 0))
		r = err_sys(e, -errno, "%s", name);
	if (r < 0) {
		unlinkat(d->dir_fd, temp, 0);
		err_wrap(e, "%s", name);
		return r;
	}
	*ret = TAKE_FD(fd);
	return 0;
}

/*
 * What was written over one image means nothing over another: it is kept with the image's file that it belongs to, and another one begins anew. The
 * work disk stays.
 */
static int keep_over(struct disks *d, struct err *e)
{
	static const char *const names[] = {DISKS_OVERLAY, DISKS_COW, COW_NEW};
	_cleanup_free_ char *base = NULL;
	int r = io_read_file(d->dir_fd, DISKS_BASE, 4096, &base, NULL, NULL);

	if (r == 0 && strcmp(base, d->image_file) == 0)
		return 0;
	for (size_t i = 0; r == 0 && i < ELEMENTSOF(names); i++)
		if (unlinkat(d->dir_fd, names[i], 0) < 0 && errno != ENOENT)
			return err_sys(e, -errno, "%s", names[i]);
	return io_replace_file(d->dir_fd, DISKS_BASE, d->image_file, strlen(d->image_file), 0600, e);
}

static bool there_is(const struct disks *d, const char *name)
{
	return faccessat(d->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* What is there says it; else what is wanted; else what the host has. */
static int choose(struct disks *d, struct err *e)
{
	_cleanup_err_ struct err why = {0};
	int r;

	d->storage = there_is(d, DISKS_COW)       ? HELPER_STORAGE_DM
		     : there_is(d, DISKS_OVERLAY) ? HELPER_STORAGE_OVERLAY
						  : storage_of(d->want);
	if (d->storage == HELPER_STORAGE_OVERLAY)
		return 0;
	r = helper_storage(d->helper, &why);
	if (r < 0 && d->storage == HELPER_STORAGE_DM) {
		err_wrap(&why, "storage dm");
		return err_move(e, &why);
	}
	if (r < 0 && r != -ENODEV)
		return err_move(e, &why);
	d->storage = r < 0 ? HELPER_STORAGE_OVERLAY : HELPER_STORAGE_DM;
	if (r < 0 && asprintf(&d->why, "storage: overlay: %s", err_text(&why)) < 0)
		d->why = NULL;
	return 0;
}

/*
 * A snapshot whose cow could not be written, the host's disk being full, marks it as not valid, and is right: until somebody looks. All that
 * was entered into it before is there, as after a power cut, and the guest's kernel recovers from that.
 */
static int revive(struct disks *d, int fd, struct err *e)
{
	uint8_t head[8];
	uint32_t magic, valid;

	if (pread(fd, head, sizeof(head), 0) != sizeof(head))
		return err_set(e, -EUCLEAN, DISKS_COW ": it has no header");
	magic = (uint32_t)head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16 |
		(uint32_t)head[3] << 24;
	valid = (uint32_t)head[4] | (uint32_t)head[5] << 8 | (uint32_t)head[6] << 16 |
		(uint32_t)head[7] << 24;
	if (magic != COW_MAGIC)
		return err_set(e, -EUCLEAN, DISKS_COW ": it isn't device-mapper's");
	if (valid)
		return 0;
	head[4] = 1;
	if (io_pwrite_full(fd, head, sizeof(head), 0) < 0 || fdatasync(fd) < 0)
		return err_sys(e, -errno, DISKS_COW);
	if (asprintf(&d->why, "storage: the root disk had run out of space on the host; it goes on from what "
			      "had been written") < 0)
		d->why = NULL;
	return 0;
}

/* A new one gets its name when it is a whole disk (disks_up()). */
static int open_cow(struct disks *d, struct err *e)
{
	_cleanup_close_ int fd = openat(d->dir_fd, DISKS_COW, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	uint64_t size = disks_cow_size(d->size);
	struct stat st;
	int r;

	if (fd < 0 && errno == ENOENT)
		fd = openat(d->dir_fd, COW_NEW, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, -errno, DISKS_COW);
	r = st.st_size > 0 ? revive(d, fd, e) : 0;
	if (r == 0 && (uint64_t)st.st_size < size && ftruncate(fd, (off_t)size) < 0)
		r = err_sys(e, -errno, DISKS_COW);
	if (r == 0)
		d->over_fd = TAKE_FD(fd);
	return r;
}

/* What is made now is the image as it came. */
static int mark_fresh(struct disks *d, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;

	if (there_is(d, DISKS_COW) || there_is(d, DISKS_OVERLAY))
		return 0;
	fd = openat(d->dir_fd, DISKS_FRESH, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? err_sys(e, -errno, DISKS_FRESH) : 0;
}

int disks_open(struct disks *d, struct err *e)
{
	int r;

	if ((r = keep_over(d, e)) < 0 || (r = mark_fresh(d, e)) < 0 || (r = choose(d, e)) < 0)
		return r;
	r = d->storage == HELPER_STORAGE_DM ? open_cow(d, e)
					    : open_disk(d, DISKS_OVERLAY, disk_make_overlay, &d->over_fd, e);
	return r == 0 ? open_disk(d, DISKS_WORK, disk_make_work, &d->work_fd, e) : r;
}

int disks_lock(int fd, unsigned msec, int cancel_fd, struct err *e)
{
	struct pollfd p = {.fd = cancel_fd, .events = POLLIN};
	uint64_t end = io_now_usec() + (uint64_t)msec * 1000;

	/* Nobody tells when a lock is let go: it is tried again, and the wait is as long as a flush. */
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_sys(e, -errno, "locking its disk");
		if (io_now_usec() > end)
			return err_set(e, -EBUSY,
				"its disk is somebody else's: a VMM's, or of who serves its files");
		if (poll(&p, 1, LOCK_AGAIN_MSEC) > 0)
			return err_set(e, -EINTR, "cancelled");
	}
	return 0;
}

int disks_take(struct disks *d, struct err *e)
{
	enum repair_state state;
	int r = disks_lock(d->work_fd, LOCK_MSEC, op_cancel_fd(d->op), e);

	if (r == 0)
		r = repair_probe(d->work_fd, &state, e);
	/* A journal is the guest's kernel's. */
	if (r == 0 && state == REPAIR_CUT_OFF)
		r = repair_run(d->work_fd, state, op_cancel_fd(d->op), e);
	return r;
}

static int bring_up(struct disks *d, enum helper_disk_what what, int *ret_fd, struct err *e)
{
	int fds[DISK_FD_COUNT] = {[DISK_FD_IMAGE] = d->image_fd, [DISK_FD_COW] = d->over_fd};
	struct stat image;

	if (fstat(d->image_fd, &image) < 0)
		return err_sys(e, -errno, "image");
	return helper_disk(d->helper, op_id(d->op), d->vm, what,
		disks_root_size((uint64_t)image.st_size, d->size), fds, ret_fd, e);
}

/* Images are read-only and have no journal; what is written has to have one. Done by the child that may read what is hostile. */
static int begin_root(struct disks *d, int fd, struct err *e)
{
	struct worker_request request = {.task = WORKER_JOURNAL, .input = -1, .output = fd};
	struct image_result result;
	int r = worker_run(&request, d->op, &result, e);

	if (r < 0) {
		err_wrap(e, "root disk");
		return r;
	}
	if (fsync(fd) < 0 || renameat(d->dir_fd, COW_NEW, d->dir_fd, DISKS_COW) < 0)
		return err_sys(e, -errno, DISKS_COW);
	return 0;
}

int disks_up(struct disks *d, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (d->storage != HELPER_STORAGE_DM)
		return 0;
	r = bring_up(d, HELPER_DISK_WRITE, &fd, e);
	return r == 0 && !there_is(d, DISKS_COW) ? begin_root(d, fd, e) : r;
}

int disks_read_root(struct disks *d, int *ret_fd, struct err *e)
{
	return bring_up(d, HELPER_DISK_READ, ret_fd, e);
}
