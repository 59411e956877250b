/*
 * Whom a job runs as: a user's numbers, groups, home and shell, from the guest's /etc/passwd and /etc/group.
 */
#ifndef BANGER_GUEST_ACCOUNT_H
#define BANGER_GUEST_ACCOUNT_H

#include <sys/types.h>

struct account {
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* as initgroups(3) sets them */
	int group_count;
	char *name, *home, *shell;
};

/*
 * WHO: a name or a number; after a ':' the group, likewise (OCI image-spec config.md has it so for User). *RET stays the module's, until the next call: who
 * was found is remembered while those files stay as they are. -ENOENT: there is no such user or group.
 */
int account_find(const char *who, const struct account **ret);

#endif
