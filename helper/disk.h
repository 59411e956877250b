/*
 * A VM's root disk by device-mapper: loop devices of the image and the cow, the snapshot of one over the other, and what the journal has of it.
 * Made in this order and gone in the other; the loop devices go by themselves with what is above them.
 */
#ifndef BANGER_DISK_H
#define BANGER_DISK_H

#include "instance.h"
#include "journal.h"
#include "snapshot.h"

struct disk {
	const struct instance *inst;
	struct journal *journal;
	uint64_t tag; /* of names, snapshot.h */
};

/* Borrows both. */
int disk_init(struct disk *d, const struct instance *inst, struct journal *journal, struct err *e);

/* 0, or -ENODEV: E says what the kernel lacks. Loads modules. */
int disk_probe(struct err *e);

/*
 * VM's, of IMAGE_FD and COW_FD (checked by check.h, borrowed), SIZE bytes; its slot is written. One that is there is removed before.
 * -EBUSY: it is open; -EEXIST: device-mapper has one of that name that isn't ours; -ERANGE: sizes that don't go together.
 */
int disk_make(const struct disk *d, uint32_t vm, int image_fd, int cow_fd, uint64_t size, struct err *e);

/* The device of SLOT; FLAGS: O_RDONLY or O_RDWR. The caller's. -ENODEV: it has none. */
int disk_open(const struct journal_vm *slot, int flags, int *ret, struct err *e);

/* Removes it and writes the slot, which may then be free. None is 0. -EBUSY: it is open; the kernel removes it when it is closed. */
int disk_remove(const struct disk *d, struct journal_vm *slot, struct err *e);

/* -ENODEV: VM has none. */
int disk_status(
	const struct disk *d, const struct journal_vm *slot, struct snapshot_status *ret, struct err *e);

#endif
