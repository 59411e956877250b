/*
 * A VM's disks as its VMM and its guest see them.
 */
#ifndef BANGER_LAUNCH_DISKS_H
#define BANGER_LAUNCH_DISKS_H

#include <stdbool.h>
#include <stddef.h>

#include "banger/helper_proto.h"

#define LAUNCH_DISKS_MAX 3

struct launch_disk {
	const char *serial; /* which the guest finds it by (guest_config.h) */
	enum helper_launch_fd fd;
	bool readonly;
	bool block; /* FD is a block device, that of the helper's making (disk.h), instead of the file that LAUNCH brought */
};

/* The disks of STORAGE, constant, *RET_N of them, in the order that the VMM is to have them. */
const struct launch_disk *launch_disks(enum helper_storage storage, size_t *ret_n);

#endif
