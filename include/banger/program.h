/*
 * Programs of the system's, before they are run: found at fixed places, and nobody's to change but root's.
 */
#ifndef BANGER_PROGRAM_H
#define BANGER_PROGRAM_H

#include <stdbool.h>

#include "banger/err.h"

/*
 * Opens a program as O_PATH: an absolute path whose every folder and the file itself are root's, writable by root alone, and no
 * links but root's own /bin-like ones. *RET_FD is the caller's. -ENOENT, -EPERM. Any thread.
 */
int program_open(const char *path, int *ret_fd, struct err *e);

/*
 * The same of QEMU, at the first of its places where there is one. *RET_PATH (may be NULL), a constant, is set to it, also where it is refused.
 */
int program_open_qemu(const char **ret_path, int *ret_fd, struct err *e);

/*
 * The same of NAME, "firecracker" or "jailer": in the folder that BANGER_FIRECRACKER_DIR of the environment names and nowhere else, or in /usr/bin or
 * /usr/local/bin. *RET_PATH (may be NULL) is the caller's; it is set also where it is refused.
 */
int program_open_firecracker(const char *name, char **ret_path, int *ret_fd, struct err *e);

/*
 * Whether the program at PATH is an ELF file of this machine's kind that names a loader (PT_INTERP, elf(5)), as one with shared libraries does: in a root
 * without these it can't run. One that can't be read doesn't. Any thread.
 */
bool program_needs_loader(const char *path);

#endif
