#include <errno.h>
#include <sys/syscall.h>

#include "banger/cleanup.h"
#include "banger/landlock.h"

/* linux/landlock.h as it is by now; Debian 12's ends with its second version. */
#define VERSION_FLAG 1u
#define PATH_BENEATH 1 /* a rule's kind */
struct ruleset {
	uint64_t fs, net, scoped;
};
struct path_beneath {
	uint64_t rights;
	int32_t fd;
} __attribute__((packed));

int landlock_version(void)
{
	int version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION_FLAG);

	return version < 0 ? 0 : version;
}

static int add_rule(int ruleset, const struct landlock_rule *rule, uint64_t known)
{
	const struct path_beneath beneath = {.rights = rule->rights & known, .fd = rule->fd};

	/* What is on no file system that anybody could mount, a memfd, is never held back, and can't be named. */
	return rule->fd < 0 || syscall(SYS_landlock_add_rule, ruleset, PATH_BENEATH, &beneath, 0) == 0 ||
			       errno == EBADFD
		       ? 0
		       : -errno;
}

int landlock_enter(const struct landlock_rule *rules, size_t n, struct err *e)
{
	/* Access rights of files by version: thirteen, REFER, TRUNCATE, (those of networks), IOCTL_DEV. */
	static const unsigned fs_bits[] = {0, 13, 14, 15, 15, 16};
	int version = landlock_version(), r = 0;
	_cleanup_close_ int fd = -EBADF;
	struct ruleset all = {0};

	if (version < 1)
		return 0;
	all.fs = (1ull << fs_bits[version < (int)ELEMENTSOF(fs_bits) ? version
								     : (int)ELEMENTSOF(fs_bits) - 1]) -
		 1;
	all.net = version >= 4 ? 3 : 0;    /* bind and connect, TCP */
	all.scoped = version >= 6 ? 3 : 0; /* abstract sockets, signals */
	fd = (int)syscall(SYS_landlock_create_ruleset, &all,
		version >= 6   ? sizeof(all)
		: version >= 4 ? 2 * sizeof(uint64_t)
			       : sizeof(uint64_t),
		0);
	if (fd < 0)
		r = -errno;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = add_rule(fd, &rules[i], all.fs);
	if (r == 0 && syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		r = -errno;
	return r < 0 ? err_sys(e, r, "Landlock") : 0;
}
