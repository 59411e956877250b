/*
 * Power-off that leaves the disks clean, whoever the guest's init is.
 *
 * The file systems under the root (image, overlay's disk) can't be unmounted by an image's init: it doesn't see them. So the last act is
 * ours: all file systems are remounted read-only by the kernel's emergency remount (SysRq u, Documentation/admin-guide/sysrq.rst),
 * which leaves an ext4 clean, and the machine is switched off, or reset where that is its end (GUEST_OFF_BY_RESET).
 */
#ifndef BANGER_GUEST_POWER_H
#define BANGER_GUEST_POWER_H

#include <stdint.h>

/* Syncs, remounts all read-only, powers off. At once: whoever still runs is not asked. */
void power_off_now(void) __attribute__((noreturn));

/*
 * systemd runs /run/initramfs/shutdown, where it is, as its last act (systemd.io: INITRD_INTERFACE). Keeps this program's
 * own file for that while the initramfs is still there; places it once /run is mounted. Only where the root has systemd.
 */
int power_keep_last_act(const char *root);
void power_place_last_act(void);

/* Asks init to shut down in order. What the agent has to do beside that: */
enum power_plan {
	POWER_INIT_DOES_IT, /* systemd: our last act comes at the end */
	POWER_WHEN_TOLD,    /* another init: power_off_now() soon after its SIGTERM */
	POWER_ALONE,        /* no init: end the processes, then power_off_now() */
};
enum power_plan power_ask_init(int init_runs);

#endif
