/*
 * What the superblock of a disk says of its last user, and e2fsck, which makes it good: a journal that was not played back, or a child that was killed
 * while it changed the disk (volume.h). Never edited before that (design: writing into a disk with an unplayed journal loses its owner's files).
 */
#ifndef BANGER_OFFLINE_REPAIR_H
#define BANGER_OFFLINE_REPAIR_H

#include <ext2fs/ext2_fs.h>

#include "banger/err.h"

enum repair_state {
	REPAIR_CLEAN,
	REPAIR_JOURNAL, /* it was not unmounted, or the kernel saw errors: its guest's kernel plays the journal back, or e2fsck does */
	REPAIR_CUT_OFF, /* a child of ours was at work on it; the guest's kernel would not look */
};
enum repair_state repair_state(const struct ext2_super_block *super);

/* Of the disk FD, whatever is on it; -EIO: not an ext4. */
int repair_probe(int fd, enum repair_state *ret, struct err *e);

/*
 * e2fsck, confined to the disk FD (read-write; nobody else may have it), by a child with the running program's name whose main() has to know
 * repair_main(). STATE: what is to be made good; one that was cut off is repaired whatever it takes, of another e2fsck does what it does by itself at a boot. CANCEL_FD as in proc.h.
 * -ENOENT: there is no e2fsck; -EUCLEAN: it would not. Blocks: workers only.
 */
int repair_run(int fd, enum repair_state state, int cancel_fd, struct err *e);

#define REPAIR_ARGUMENT "--repair-worker"
int repair_main(int argc, char **argv);

#endif
