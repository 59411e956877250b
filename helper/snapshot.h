/*
 * device-mapper, by libdevmapper: a snapshot, which is what is in a cow, and, where nothing is, what is in an image.
 *
 * Two devices of the instance's and the VM's, named after both: the base (the image, and zeros after its end where the snapshot is larger), and the
 * snapshot over it. A device is only ever removed by its uuid, and only where its number is the one that is on record: another's of the same name
 * is never touched. udev's rules are told to leave them alone: what is in a guest's disk is nothing for a root program to look into.
 *
 * One thread. Nothing is printed; the library's own words become part of the error.
 */
#ifndef BANGER_SNAPSHOT_H
#define BANGER_SNAPSHOT_H

#include <stdint.h>
#include <sys/types.h>

#include "banger/err.h"
#include "banger/helper_proto.h"

#define SNAPSHOT_CHUNK                                                                                       \
	4096u /* bytes, by which it copies: a block of the file systems on it, which are then never read to be written */

enum snapshot_part {
	SNAPSHOT_BASE,
	SNAPSHOT_ROOT,
};

/* Whose: made into name and uuid. */
struct snapshot_owner {
	const char *instance; /* the bridge's name */
	uint64_t
		tag; /* of the instance's folder: what is called the same in another namespace has another one */
	uint32_t vm;
};

#define SNAPSHOT_NAME_MAX 64

/* "bg0-17-1a2b", "bg0-17-1a2b-base"; NUL-terminated. */
void snapshot_name(const struct snapshot_owner *o, enum snapshot_part part, char ret[SNAPSHOT_NAME_MAX]);
/* The name with "BANGER-" before it. */
void snapshot_uuid(const struct snapshot_owner *o, enum snapshot_part part, char ret[SNAPSHOT_NAME_MAX]);

/* 0 where this kernel has what is needed, its modules loaded by that; -ENODEV, E says what is missing. */
int snapshot_probe(struct err *e);

/*
 * IMAGE, BYTES of it, and then REST up to SIZE, read-only. Not device-mapper's own target for zeros: a snapshot takes discards only where all below it
 * does. -EEXIST: there is a device of that name.
 */
int snapshot_make_base(const struct snapshot_owner *o, dev_t image, uint64_t bytes, dev_t rest, uint64_t size,
	dev_t *ret, struct err *e);
/* BASE with what COW has over it. An empty cow (zeros) begins; one that has been used goes on. */
int snapshot_make(
	const struct snapshot_owner *o, dev_t base, dev_t cow, uint64_t size, dev_t *ret, struct err *e);

/*
 * Removes PART, which has the number DEV (0: not known, made by a helper that ended over it). One that somebody has open is tried for a while and
 * then left to the kernel to remove when it is closed: -EBUSY. 0 also where there is none. -ESTALE: there is one, not ours, left alone.
 */
int snapshot_remove(const struct snapshot_owner *o, enum snapshot_part part, dev_t dev, struct err *e);

/* The block device DEV; FLAGS: O_RDONLY or O_RDWR. The caller's. */
int snapshot_open(dev_t dev, int flags, int *ret, struct err *e);

struct snapshot_status {
	enum helper_disk_state state;
	uint64_t used, size; /* bytes of the cow; both 0 where it isn't OK */
};
/* -ENODEV: it has gone. */
int snapshot_status(const struct snapshot_owner *o, struct snapshot_status *ret, struct err *e);

/* The kernel's line about a target of TYPE (Documentation/admin-guide/device-mapper/snapshot.rst), taken apart. -EPROTO: it is none. */
int snapshot_status_parse(const char *type, const char *params, struct snapshot_status *ret);

#endif
