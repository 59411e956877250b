/*
 * What comes from outside, before it is used: descriptors.
 */
#ifndef BANGER_CHECK_H
#define BANGER_CHECK_H

#include <stddef.h>
#include <sys/types.h>

#include "banger/err.h"
#include "banger/helper_proto.h"

/*
 * The first N descriptors of a LAUNCH, each against its row: a regular file of OWNER's, open as it must be and no wider (but a sealed memfd may be
 * writable), on no FUSE or network file system (there the owner could park whoever reads it); a listening unix stream socket.
 * -EINVAL, -EPERM, saying which. No file system is asked anything before it is known to be this kernel's own.
 */
int check_launch_fds(const int *fds, size_t n, uid_t owner, struct err *e);
/* Likewise those of a DISK. */
int check_disk_fds(const int fds[DISK_FD_COUNT], uid_t owner, struct err *e);

/* FD is a mount namespace (/proc/self/ns/mnt). -EINVAL */
int check_mount_namespace(int fd, struct err *e);

#endif
