/*
 * What QEMU sees of the host's files: a root of its own, put together in a mount namespace of its own, with QEMU's program, the system's libraries and
 * QEMU's firmware, all read-only, /dev/kvm where it is wanted, and a /proc in which nobody is but itself. What else it has, it has by descriptor. All of it
 * goes when the process does.
 *
 * In the process that becomes the VMM, in its process namespace, with the launcher's capabilities. All return 0 or -errno.
 */
#ifndef BANGER_VIEW_H
#define BANGER_VIEW_H

#include <stdbool.h>

#include "instance.h"

/* PROGRAM_FD, QEMU as O_PATH, is the same file as it is seen in there afterwards, close-on-exec; root and working folder are the view's. */
int view_enter(const struct instance *inst, bool kvm, int program_fd);

/*
 * And by Landlock, where the kernel has it, the same once more: nothing may be opened but what is in the view, and KERNEL_FD and INITRD_FD, for
 * reading. As the VM's user.
 */
int view_restrict(int kernel_fd, int initrd_fd);

#endif
