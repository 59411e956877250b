#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include "banger/cleanup.h"
#include "banger/guest_config.h"
#include "guest.h"
#include "modules.h"

void modules_load(void)
{
	struct dirent **names = NULL;
	int n = scandir(GUEST_MODULES_PATH, &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *path = NULL;
		_cleanup_close_ int fd = -EBADF;

		if (names[i]->d_name[0] != '.' &&
			asprintf(&path, GUEST_MODULES_PATH "/%s", names[i]->d_name) > 0) {
			fd = open(path, O_RDONLY | O_CLOEXEC);
			/* EEXIST: built in, or there already. */
			if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
				guest_say("module %s: %s", names[i]->d_name, strerror(errno));
		}
		free(names[i]);
	}
	free(names);
}
