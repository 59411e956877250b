/* The guest's program that was built with a test. */
#ifndef BANGER_TESTS_GUEST_PATH_H
#define BANGER_TESTS_GUEST_PATH_H

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* BUILD/bin/banger-guest, seen from BUILD/unit/ROOM/NAME: 0 or -ENOENT. */
static inline int guest_path(char *path, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", path, size - 64);

	if (n <= 0)
		return -ENOENT;
	path[n] = '\0';
	for (int i = 0; i < 3; i++) {
		char *slash = strrchr(path, '/');

		if (!slash)
			return -ENOENT;
		*slash = '\0';
	}
	memcpy(path + strlen(path), "/bin/banger-guest", sizeof("/bin/banger-guest"));
	return 0;
}

#endif
