#include "banger/launch_disks.h"

#include "banger/cleanup.h"
#include "banger/guest_config.h"

static const struct launch_disk overlay[] = {
	{GUEST_DISK_IMAGE, LAUNCH_FD_IMAGE, true, false},
	{GUEST_DISK_OVERLAY, LAUNCH_FD_OVERLAY, false, false},
	{GUEST_DISK_WORK, LAUNCH_FD_WORK, false, false},
};

static const struct launch_disk dm[] = {
	{GUEST_DISK_ROOT, LAUNCH_FD_OVERLAY, false, true},
	{GUEST_DISK_WORK, LAUNCH_FD_WORK, false, false},
};

const struct launch_disk *launch_disks(enum helper_storage storage, size_t *ret_n)
{
	*ret_n = storage == HELPER_STORAGE_DM ? ELEMENTSOF(dm) : ELEMENTSOF(overlay);
	return storage == HELPER_STORAGE_DM ? dm : overlay;
}
