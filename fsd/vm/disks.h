/*
 * A VM's disks as files: the work disk, and what is written over the image: an overlay's disk, or the cow of a device-mapper snapshot. Which of
 * the two is chosen when the first is made, and then stands: what was written in one form can't be read in the other.
 *
 * Everything blocks: workers only.
 */
#ifndef BANGER_VM_DISKS_H
#define BANGER_VM_DISKS_H

#include <stdbool.h>

#include "banger/helper_client.h"
#include "job/op.h"

#define DISKS_OVERLAY "overlay.ext4"
#define DISKS_COW     "root.cow"
#define DISKS_WORK    "work.ext4"
#define DISKS_BASE    "base"    /* the image's file that the overlay or the cow belongs to */
#define DISKS_ANSWERS "answers" /* of who serves the work disk while the VM is stopped (offline/child.h) */
#define DISKS_FRESH   "fresh"   /* there is while no guest has come up on it yet */

/* What `storage` can be told: "auto", "dm", "overlay". -EINVAL: E says so. */
int disks_check_word(const char *word, struct err *e);
/* "dm", "overlay" */
const char *disks_storage_name(enum helper_storage storage);

struct disks {
	struct helper *helper;
	struct op *op;
	uint32_t vm;
	int dir_fd, image_fd; /* borrowed: PLACE_STATE/vms/ID, the image */
	const char *image_file;
	const char *want; /* of disks_check_word() */
	uint64_t size;    /* `disk` */
	/* Of disks_open(); the descriptors are the caller's. */
	enum helper_storage storage;
	char *why;            /* what to know of the choice, or of what was found; NULL: nothing */
	int over_fd, work_fd; /* overlay's disk or cow */
};

/* Makes and grows them as needed. One over another image is thrown away: it means nothing over this one. */
int disks_open(struct disks *d, struct err *e);
/* Waits until they are nobody else's, and makes good what somebody left half done of them. */
int disks_take(struct disks *d, struct err *e);
/* The disk FD is locked for as long as it is open, wherever: -EBUSY after MSEC; CANCEL_FD readable: -EINTR. */
int disks_lock(int fd, unsigned msec, int cancel_fd, struct err *e);
/* Brings the root disk up where it is device-mapper's: then only the VM itself is to be launched. helper_disk_off() undoes it. */
int disks_up(struct disks *d, struct err *e);
/* A stopped VM's root disk, of OVER_FD, its cow, and IMAGE_FD, to be read. *RET_FD is the caller's, who closes it and then says helper_disk_off(). */
int disks_read_root(struct disks *d, int *ret_fd, struct err *e);

/* Bytes of a cow that takes SIZE bytes of changes (dm-snap-persistent.c: a header, and an area of 256 entries before each 256 chunks). */
uint64_t disks_cow_size(uint64_t size);
/* The device's size: `disk`, or the image's where that is larger. */
uint64_t disks_root_size(uint64_t image, uint64_t size);

#endif
