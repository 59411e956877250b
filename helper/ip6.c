#include <errno.h>
#include <fcntl.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "ip6.h"

/* The caller's; NULL: no memory. */
static char *setting(const char *interface, const char *name)
{
	char *path = NULL;

	return asprintf(&path, "/proc/sys/net/ipv6/conf/%s/%s", interface, name) < 0 ? NULL : path;
}

bool ip6_usable(const char *interface)
{
	const char *const places[] = {interface, "default"};

	for (size_t i = 0; i < ELEMENTSOF(places); i++) {
		_cleanup_free_ char *path = setting(places[i], "disable_ipv6"), *value = NULL;

		if (path && io_read_file(AT_FDCWD, path, 16, &value, NULL, NULL) == 0)
			return value[0] == '0';
	}
	return false;
}

int ip6_forward(const char *interface, struct err *e)
{
	_cleanup_free_ char *path = setting(interface, "force_forwarding");
	_cleanup_close_ int fd = -EBADF;

	if (!path)
		return err_sys(e, -ENOMEM, "forwarding of %s", interface);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "%s", path);
	return write(fd, "1", 1) == 1 ? 0 : err_sys(e, -errno, "%s", path);
}
