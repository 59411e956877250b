/*
 * Images: what they are, made of tars, directories and busybox; and the VMs' disks. Everything blocks: workers only.
 *
 * Nothing here is mounted, nothing needs root, and no host path is ever formed from a name inside an archive. The ext4 is
 * written in one pass by libext2fs: data straight to runs in the sparse file, metadata at the end.
 */
#ifndef BANGER_IMAGE_H
#define BANGER_IMAGE_H

#include <stdint.h>

#include "banger/err.h"
#include "job/op.h"

struct image_result {
	uint64_t size;    /* apparent bytes of the image file */
	uint64_t content; /* bytes of file data in it */
	uint64_t entries;
	char digest
		[72]; /* "sha256:..." of the source stream (tar), or of the manifest of what was read (directory) */
	char diff_id[72]; /* of a layer that was made: "sha256:..." of the tar in it; "" otherwise */
	char arch[16];    /* of the machine, "x86_64" */
};

/*
 * Writes a bootable, read-only-mountable ext4 to the empty regular file OUT_FD (read-write) from a tar stream SOURCE_FD
 * (any filter libarchive reads: gz, xz, zstd, bz2, lz4, none). Errors name the entry: -EBADMSG not an archive or cut off or
 * hostile, -ENOSPC, -EFBIG beyond limits. OP: progress in bytes of the source, cancellation. UUID_SEED makes the
 * file-system UUID and hash seed (same input and seed: same bytes).
 */
int image_from_tar(int source_fd, int out_fd, const char *uuid_seed, struct op *op, struct image_result *ret,
	struct err *e);
/* From a directory, read with openat and O_NOFOLLOW; owners and modes as they are there; not crossing file systems. */
int image_from_dir(int source_fd, int out_fd, const char *uuid_seed, struct op *op, struct image_result *ret,
	struct err *e);
/*
 * The image that is always there, "busybox": /bin/busybox of Debian's busybox-static with its applets, /etc files and the
 * usual directories. BUSYBOX_FD: the static binary. Well under a second.
 */
int image_from_busybox(int busybox_fd, int out_fd, const char *uuid_seed, struct op *op,
	struct image_result *ret, struct err *e);

/*
 * Whether the ext4 in the regular file FD (ext2 and ext3 are ext4s too) can be an image: it is whole, clean, and its journal empty. Nothing is
 * changed. RET: digest of the file's bytes. -EBADMSG no ext4 (E says what it is, where it is known), cut off, damaged; -EUCLEAN not clean, E says what to do;
 * -EOPNOTSUPP.
 */
int image_check_ext4(int fd, struct op *op, struct image_result *ret, struct err *e);

/*
 * A fresh ext4 of SIZE bytes in the empty file FD (sparse; a few hundred KiB allocated, under 20 ms for 8 GiB): the work disk
 * (root directory 0700 root, promise B2; with "workspace" 0755 in it) or the overlay's disk (directories upper and work).
 */
int disk_make_work(int fd, uint64_t size, struct err *e);
int disk_make_overlay(int fd, uint64_t size, struct err *e);
/* A journal, for the clean ext4 on FD, a file or a block device that nothing has mounted; none is made where there is one. -ENOSPC: no room for it. */
int disk_add_journal(int fd, struct op *op, struct image_result *ret, struct err *e);
/* Makes the file larger; the guest grows the file system at its next start. -EINVAL: smaller than it is. */
int disk_grow(int fd, uint64_t size, struct err *e);

/*
 * `image build debian`: the host's own suite of Debian with systemd and sshd, by mmdebstrap, from where the host's apt gets its own, into
 * OUT_FD. -ENOENT, -EPERM: something is missing, E says how to get it.
 */
int image_build_debian(
	int out_fd, const char *uuid_seed, struct op *op, struct image_result *ret, struct err *e);

#endif
