/*
 * A layer of an OCI image out of an ext4: of an image's, all of it; of a VM's overlay disk, what the VM has changed (disk_make_overlay(): the folder
 * "upper" is overlayfs's). Blocks: workers only; what is read is hostile.
 */
#ifndef BANGER_IMAGE_PACK_H
#define BANGER_IMAGE_PACK_H

#include "image/image.h"

enum pack_kind {
	PACK_WHOLE, /* all but lost+found */
	/*
	 * Below "upper": overlayfs's whiteouts and opaque folders become the layer's (OCI image-spec layer.md). /etc/hostname, hosts and resolv.conf,
	 * which are written at each start of a VM (guest/place.c), are left out.
	 */
	PACK_UPPER,
};

/*
 * The difference of two, as a layer: what DISK has and BASE hasn't, or has another of, and whiteouts for what only BASE has. DISK was BASE once, and its
 * changes were made by a kernel that mounted it (a snapshot): an inode whose number, times, attributes and blocks are the same is the same file. Left out as
 * with PACK_UPPER. Otherwise as layer_from_ext4().
 */
int layer_from_changes(int disk, int base, int fd, struct op *op, struct image_result *ret, struct err *e);

/*
 * Writes the layer, a gzipped tar, to FD, empty. RET: size is the gzip's, digest its sha256, diff_id the tar's. The same contents make the same
 * bytes. -EUCLEAN: the disk was not unmounted; -EBADMSG, -EOPNOTSUPP as image/extfs.h; -EINVAL: a name that a layer can't hold (".wh....").
 */
int layer_from_ext4(
	int disk, enum pack_kind kind, int fd, struct op *op, struct image_result *ret, struct err *e);

#endif
