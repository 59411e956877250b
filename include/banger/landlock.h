/*
 * Landlock (landlock(7)): a process takes from itself, and from all that it will start, whatever its rules don't name.
 */
#ifndef BANGER_LANDLOCK_H
#define BANGER_LANDLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "banger/err.h"

/* Rights (linux/landlock.h); those that only folders have must not be given to a file. */
#define LANDLOCK_EXECUTE  (1u << 0)
#define LANDLOCK_WRITE    (1u << 1)
#define LANDLOCK_READ     (1u << 2)
#define LANDLOCK_READ_DIR (1u << 3)
#define LANDLOCK_IOCTL    (1u << 15) /* of devices; not held back before Linux 6.10 */

struct landlock_rule {
	int fd; /* a file, or a folder and all below it; O_PATH will do. Negative: the rule is left out */
	uint64_t rights;
};

/* Which version of it this kernel has; 0: none. Any thread. */
int landlock_version(void);

/*
 * All that the kernel's version knows of is taken away (files, TCP, abstract sockets, signals to others) but for RULES. 0 also where the kernel has
 * none. For a process of one thread, with no_new_privs.
 */
int landlock_enter(const struct landlock_rule *rules, size_t n, struct err *e);

#endif
