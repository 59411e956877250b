/*
 * The confinement of a process that reads what is hostile: from here on it has its descriptors, bounded memory, and threads. It reaches no
 * file by name, no network, no other process.
 */
#ifndef BANGER_IMAGE_SANDBOX_H
#define BANGER_IMAGE_SANDBOX_H

#include <stdint.h>

#include "banger/err.h"

/*
 * Of address space: 4000000 entries (tree.h) are 1.1 GiB, in one layer or in several side by side (tests/bench/mklayers.c tells); beside them the
 * dictionaries that `xz -9` and `zstd -19` ask for, libraries and stacks. Not with AddressSanitizer, which takes terabytes of it.
 */
#define SANDBOX_MEMORY (2ull << 30)

#if defined(__SANITIZE_ADDRESS__)
#define SANDBOX_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANDBOX_ASAN 1
#endif
#endif
#ifndef SANDBOX_ASAN
#define SANDBOX_ASAN 0
#endif

/*
 * For good, and for every thread that begins afterwards: there must be one. FILE_MAX: bytes of the largest file; FDS: no descriptor of that
 * number or above. BELOW: a folder that may be read, and all that is below it; -1: none. Opening a file fails with EACCES, for libraries try; any other system call that isn't on the list is the end: SIGSYS. A
 * kernel without Landlock leaves that layer out.
 */
int sandbox_enter(uint64_t file_max, unsigned fds, int below, struct err *e);

/*
 * Likewise, before another program is run (execve()) that is no part of banger, as its owner, with the file DISK as the only one that it can change or,
 * but for programs and libraries, read: by whatever name it opens it. CPU_SECONDS: after so many it is killed.
 */
int sandbox_enter_program(uint64_t file_max, unsigned cpu_seconds, int disk, struct err *e);

#endif
