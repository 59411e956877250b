/*
 * Kernels: where they come from, what of them a VM needs, and the initramfs. Everything blocks: workers only.
 *
 * A kernel is a directory: vmlinux (ELF; mode 0444, so that a VMM of another uid can open it by descriptor), modules/ (those
 * that guests need, decompressed), version (uname -r), initramfs (the cached base: banger-guest as /init, the modules
 * in dependency order, uncompressed newc). The base is rebuilt when banger-guest is newer.
 */
#ifndef BANGER_KERNEL_H
#define BANGER_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banger/err.h"
#include "job/op.h"

struct kernel_result {
	char *version; /* "6.1.0-56-cloud-amd64"; the caller's to free */
	uint64_t size; /* bytes of the directory's files */
	char digest[72];
};

/*
 * Debian's cloud kernel by the host's own apt (apt-get download, which checks it against the signed index; with lists of its own
 * below DIR_FD when the host's are missing or stale), unpacked into the empty directory DIR_FD. PACKAGE NULL: what linux-image-cloud-ARCH depends on.
 */
int kernel_pull(int dir_fd, const char *package, struct op *op, struct kernel_result *ret, struct err *e);
/* From a .deb file (a path given by the user), or from a directory holding vmlinux or vmlinuz and lib/modules/VERSION. */
int kernel_import(int dir_fd, const char *path, struct op *op, struct kernel_result *ret, struct err *e);

/* The ELF kernel out of a bzImage in BUF (Linux boot protocol 2.08+, Documentation/arch/x86/boot.rst). -EBADMSG */
int kernel_vmlinux(const void *buf, size_t n, int out_fd, struct err *e);

/* Makes or renews DIR_FD/initramfs with the guest binary at GUEST_FD. No work when it is current. */
int kernel_initramfs_base(int dir_fd, int guest_fd, struct err *e);

/* Whether its guests have a driver for a virtio vsock; one that is no module isn't known of. */
bool kernel_has_vsock(int dir_fd);

/* A file that the guest is to have (absolute path in the guest). */
struct guest_file {
	const char *path;
	const void *data;
	size_t size;
	uint32_t mode, uid, gid;
};
struct guest_spec {
	const char *hostname;
	uint32_t address, prefix, gateway; /* host byte order; address 0: no network */
	const uint8_t *ip6, *gateway6;     /* sixteen bytes each; NULL: none. The network is a /64 */
	const uint32_t *dns;
	size_t dns_count;
	const char *ssh_key;                    /* NULL: none; a line of authorized_keys */
	const char *host_key, *host_key_public; /* NULL: sshd keeps those that it has; text of its files */
	const uint8_t *token; /* AGENT_TOKEN bytes that the agent knows its host by; NULL: none */
	bool probe;
	bool root_disk; /* the root is a disk of its own: GUEST_DISK_ROOT */
	const char *const
		*disks; /* their serials in order, where the VMM gives them others (banger/guest_config.h) */
	size_t disk_count;
	const struct guest_file *files;
	size_t file_count;
};
/*
 * A memfd (the caller's) with the base initramfs of DIR_FD and behind it the cpio made for this start
 * (banger/guest_config.h). Mode 0444, sealed.
 */
int kernel_initramfs_for(int dir_fd, const struct guest_spec *spec, int *ret_fd, struct err *e);

#endif
