/* A folder on a file system in memory that is soon full. */
#ifndef BANGER_TESTS_SMALL_H
#define BANGER_TESTS_SMALL_H

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/need.h"

/* FN(USER, such a folder on DIR, of SIZE) in a child with a mount namespace of its own, which SIGBUS would end; skips without root. */
static inline void in_small(const char *dir, const char *size, void (*fn)(void *user, int fd), void *user)
{
	int status;
	pid_t pid;

	need_root();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
			mount("tmpfs", dir, "tmpfs", 0, size) < 0)
			_exit(100);
		fn(user, open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#endif
