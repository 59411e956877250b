/*
 * What a start tells the guest: the file /banger/config in the cpio archive made for that start, beside the files to
 * place (each at /banger/files/PATH, owner and mode as they shall be in the guest, PATH absolute there).
 *
 * Flat keyed text: `key value` a line; unknown keys are ignored by an older guest. Disks are found by the serial that
 * their virtio-blk device reports (/sys/block/NAME/serial); where the VMM makes up serials of its own, by their order.
 */
#ifndef BANGER_GUEST_CONFIG_H
#define BANGER_GUEST_CONFIG_H

#define GUEST_CONFIG_PATH "/banger/config"
#define GUEST_FILES_PATH  "/banger/files"
/*
 * sshd's key of this VM's own, and with ".pub" its public half: there when the root is the image as it came. It takes the place of all host keys
 * that came with the image, and so are every VM's of that image, where the image has an sshd.
 */
#define GUEST_HOST_KEY_PATH "/banger/ssh_host_ed25519_key"
#define GUEST_MODULES_PATH  "/banger/modules" /* NN-name.ko, loaded in the order of their names */

/* Keys. */
#define GUEST_KEY_HOSTNAME "hostname" /* one label */
#define GUEST_KEY_ADDRESS  "address"  /* a.b.c.d/prefix; absent: no network */
#define GUEST_KEY_GATEWAY  "gateway"  /* a.b.c.d */
#define GUEST_KEY_IP6      "ip6"      /* address/prefix; absent: the host has no IPv6 */
#define GUEST_KEY_GATEWAY6 "gateway6" /* absent: no route further than the host */
#define GUEST_KEY_DNS      "dns"      /* a.b.c.d, may come several times */
#define GUEST_KEY_SSH      "ssh_key"  /* a line that root's authorized_keys is to have */
#define GUEST_KEY_CLOCK    "clock"    /* microseconds since the epoch, the host's at start */
#define GUEST_KEY_ROOT                                                                                       \
	"root" /* GUEST_ROOT_DISK: the root is the disk GUEST_DISK_ROOT; absent: an overlay over GUEST_DISK_IMAGE */
#define GUEST_KEY_TOKEN                                                                                      \
	"token" /* AGENT_TOKEN bytes in hexadecimal digits: what the agent's host says (banger/agent_proto.h) */
#define GUEST_KEY_PROBE "probe" /* 1: only prove that the machine runs: answer as agent, do nothing else */
#define GUEST_KEY_DISK                                                                                       \
	"disk" /* a serial, several times: the disks have no such serials, and are vda, vdb, ... in this order */

/* Value of GUEST_KEY_ROOT. */
#define GUEST_ROOT_DISK "disk"

/* Serials of the disks. */
#define GUEST_DISK_ROOT    "root" /* ext4, the root file system: a snapshot over the image, made by the host */
#define GUEST_DISK_IMAGE   "image"   /* ext4, read-only */
#define GUEST_DISK_OVERLAY "overlay" /* ext4, upper and work directories of the overlay over the image */
#define GUEST_DISK_WORK    "work"    /* ext4, mounted at /root */

/* Name of the agent's virtio-serial port (/sys/class/virtio-ports/vportNpM/name). */
#define GUEST_AGENT_PORT "banger.agent"
/* Where the machine has no such port but a vsock device, the agent listens on this port of it: one that in the guest root alone can have. */
#define GUEST_AGENT_VSOCK 1000u

/*
 * A word of the kernel's command line: the machine can't be switched off, but ends when it is reset. There and not in the file above, for it is
 * needed when that is long gone.
 */
#define GUEST_OFF_BY_RESET "banger.off=reset"

/* The workspace, in the guest. */
#define GUEST_WORKSPACE "/root/workspace"

/* Where a git is brought to when the image has none: bin/git, which is banger-guest, and lib/ with the program, its loader (ld.so) and its libraries. */
#define GUEST_GIT "/run/banger/git"

/* Exit codes of `banger-guest workspace patch|status|bundle`. */
#define REPO_NO_GIT  3 /* there is no git here: one is to be brought */
#define REPO_NOTHING 4 /* a bundle of no commits */

#endif
