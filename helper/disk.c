#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "disk.h"
#include "loop.h"

#define SIZE_MAX_BYTES (16ull << 40) /* of a disk (fsd/image/disk.c) */
#define COW_MIN        (16ull << 10) /* a header, an area, something to be in it */
#define COW_SLACK      (1ull << 20)
#define BLOCK          4096u
#define SECTOR         512u /* the part of one at an image's end isn't of its file system */

int disk_init(struct disk *d, const struct instance *inst, struct journal *journal, struct err *e)
{
	struct stat st;

	if (fstat(inst->helper_fd, &st) < 0)
		return err_sys(e, -errno, "%s", inst->helper_dir);
	*d = (struct disk){.inst = inst, .journal = journal, .tag = st.st_ino};
	return 0;
}

int disk_probe(struct err *e)
{
	int r = loop_probe(e);

	return r < 0 ? r : snapshot_probe(e);
}

static struct snapshot_owner owner_of(const struct disk *d, uint32_t vm)
{
	return (struct snapshot_owner){.instance = d->inst->bridge, .tag = d->tag, .vm = vm};
}

/* A cow is no larger than it takes to write all of the disk: the kernel keeps in memory what it says it has. */
static int check_sizes(const struct stat *image, const struct stat *cow, uint64_t size, struct err *e)
{
	if (image->st_size < BLOCK || cow->st_size < (off_t)COW_MIN || size > SIZE_MAX_BYTES ||
		size % BLOCK || size < (uint64_t)image->st_size ||
		(uint64_t)cow->st_size > size + size / 128 + COW_SLACK)
		return err_set(e, -ERANGE,
			"sizes that don't go together: image %lld, cow %lld, disk %llu bytes",
			(long long)image->st_size, (long long)cow->st_size, (unsigned long long)size);
	return 0;
}

/* A name that isn't ours any more: somebody took the device away by hand, and made another. Said, and no reason to keep what is ours. */
static int remove_part(const struct snapshot_owner *owner, enum snapshot_part part, dev_t dev, struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	int r = snapshot_remove(owner, part, dev, &mine);

	if (r != -ESTALE)
		return r < 0 ? err_move(e, &mine) : 0;
	fprintf(stderr, "banger-helper: %s\n", err_text(&mine));
	return 0;
}

int disk_remove(const struct disk *d, struct journal_vm *slot, struct err *e)
{
	struct snapshot_owner owner = owner_of(d, slot->vm);
	_cleanup_err_ struct err second = {0};
	int r, k;

	if (slot->disk == JOURNAL_NONE)
		return 0;
	slot->disk = JOURNAL_DELETING;
	if ((r = journal_write(d->journal, slot, e)) < 0)
		return r;
	/* Also where the first is held open: the kernel then removes the one after the other. */
	r = remove_part(&owner, SNAPSHOT_ROOT, slot->root_dev, e);
	k = remove_part(&owner, SNAPSHOT_BASE, slot->base_dev, r < 0 ? &second : e);
	if (r < 0 || k < 0)
		return r < 0 ? r : k;
	slot->disk = JOURNAL_NONE;
	slot->root_dev = slot->base_dev = slot->cow_ino = 0;
	return journal_write(d->journal, slot, e);
}

/* What comes behind the image: a file in memory that has nothing in it. */
static int make_zeros(uint64_t size, int *ret_fd, dev_t *ret, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;

	if (size == 0)
		return 0;
	fd = memfd_create("banger-zeros", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return err_sys(e, -errno, "root disk");
	return loop_make(fd, LOOP_READ, ret_fd, ret, e);
}

/* The loop devices are open only while this runs: then the devices above hold them. */
static int make(const struct disk *d, struct journal_vm *slot, int image_fd, int cow_fd, uint64_t bytes,
	uint64_t size, struct err *e)
{
	_cleanup_close_ int image_loop = -EBADF, zeros_loop = -EBADF, cow_loop = -EBADF;
	struct snapshot_owner owner = owner_of(d, slot->vm);
	uint64_t whole = bytes - bytes % SECTOR;
	dev_t image, zeros = 0, cow, dev;
	int r;

	if ((r = loop_make(image_fd, LOOP_READ, &image_loop, &image, e)) < 0 ||
		(r = loop_make(cow_fd, LOOP_WRITE, &cow_loop, &cow, e)) < 0 ||
		(r = make_zeros(size - whole, &zeros_loop, &zeros, e)) < 0 ||
		(r = snapshot_make_base(&owner, image, whole, zeros, size, &dev, e)) < 0)
		return r;
	slot->base_dev = dev;
	if ((r = snapshot_make(&owner, dev, cow, size, &dev, e)) < 0)
		return r;
	slot->root_dev = dev;
	slot->disk = JOURNAL_LIVE;
	return journal_write(d->journal, slot, e);
}

int disk_make(const struct disk *d, uint32_t vm, int image_fd, int cow_fd, uint64_t size, struct err *e)
{
	struct journal_vm *slot = journal_find(d->journal, vm);
	struct stat image, cow;
	int r;

	if (fstat(image_fd, &image) < 0 || fstat(cow_fd, &cow) < 0)
		return err_sys(e, -errno, "root disk");
	r = check_sizes(&image, &cow, size, e);
	if (r == 0 && slot)
		r = disk_remove(d, slot, e);
	if (r == 0)
		r = journal_take(d->journal, vm, &slot, e);
	if (r < 0)
		return r;
	slot->disk = JOURNAL_INTENT;
	slot->root_dev = slot->base_dev = 0;
	slot->cow_ino = cow.st_ino;
	r = journal_write(d->journal, slot, e);
	if (r == 0)
		r = make(d, slot, image_fd, cow_fd, (uint64_t)image.st_size, size, e);
	if (r < 0)
		disk_remove(d, slot, NULL);
	return r;
}

static int has_none(uint32_t vm, struct err *e)
{
	return err_set(e, -ENODEV, "VM %u has no root disk by device-mapper", vm);
}

int disk_open(const struct journal_vm *slot, int flags, int *ret, struct err *e)
{
	if (!slot || slot->disk != JOURNAL_LIVE)
		return has_none(slot ? slot->vm : 0, e);
	return snapshot_open(slot->root_dev, flags, ret, e);
}

int disk_status(
	const struct disk *d, const struct journal_vm *slot, struct snapshot_status *ret, struct err *e)
{
	struct snapshot_owner owner;

	if (!slot || slot->disk != JOURNAL_LIVE)
		return has_none(slot ? slot->vm : 0, e);
	owner = owner_of(d, slot->vm);
	return snapshot_status(&owner, ret, e);
}
