#include "account.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/parse.h"

#define GROUPS_ROOM 32
#define FILES       2

/* Of whom an answer may be remembered: the files it came from are the same ones. */
struct sources {
	struct stat files[FILES];
};

static struct {
	char *who;
	struct account account;
	struct sources from;
} last;

/* False: accounts come from elsewhere too, and may change without anything to be seen here. */
static bool look_at_sources(struct sources *ret)
{
	static const char *const names[FILES] = {"/etc/passwd", "/etc/group"};

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < FILES; i++)
		if (stat(names[i], &ret->files[i]) < 0 && errno != ENOENT)
			return false;
	/* Whom the C library asks beside the files. */
	return access("/run/nscd/socket", F_OK) < 0 && access("/var/run/nscd/socket", F_OK) < 0;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static bool same_sources(const struct sources *a, const struct sources *b)
{
	for (size_t i = 0; i < FILES; i++)
		if (!same_file(&a->files[i], &b->files[i]))
			return false;
	return true;
}

static void forget(void)
{
	free(last.who);
	free(last.account.groups);
	free(last.account.name);
	free(last.account.home);
	free(last.account.shell);
	memset(&last, 0, sizeof(last));
}

static int find_group(const char *name, gid_t *ret)
{
	const struct group *g = getgrnam(name);
	uint64_t number;

	if (!g && parse_u64(name, 0, UINT32_MAX - 1, &number) < 0)
		return -ENOENT;
	*ret = g ? g->gr_gid : (gid_t)number;
	return 0;
}

static int find_groups(struct account *a)
{
	for (int room = GROUPS_ROOM;; room = a->group_count) {
		free(a->groups);
		a->groups = calloc((size_t)room, sizeof(*a->groups));
		if (!a->groups)
			return -ENOMEM;
		a->group_count = room;
		if (getgrouplist(a->name, a->gid, a->groups, &a->group_count) >= 0)
			return 0;
		/* Not that there are more of them: that they can't be read. */
		if (a->group_count <= room) {
			a->groups[0] = a->gid;
			a->group_count = 1;
			return 0;
		}
	}
}

static int find(const char *who, struct account *ret)
{
	_cleanup_free_ char *user = strndup(who, strcspn(who, ":"));
	const char *group = strchr(who, ':');
	uint64_t number = 0;
	struct passwd *p;
	int r;

	if (user && !*user) {
		free(user);
		user = strdup("root");
	}
	if (!user)
		return -ENOMEM;
	p = getpwnam(user);
	if (!p && parse_u64(user, 0, UINT32_MAX - 1, &number) == 0)
		p = getpwuid((uid_t)number);
	else if (!p && strcmp(user, "root") != 0)
		return -ENOENT;
	/* A number, or root, needs no entry. */
	ret->uid = p ? p->pw_uid : (uid_t)number;
	ret->gid = p ? p->pw_gid : (gid_t)number;
	ret->name = strdup(p ? p->pw_name : user);
	ret->home = strdup(p && *p->pw_dir ? p->pw_dir : ret->uid == 0 ? "/root" : "/");
	ret->shell = strdup(p && *p->pw_shell ? p->pw_shell : "/bin/sh");
	if (!ret->name || !ret->home || !ret->shell)
		return -ENOMEM;
	r = group && group[1] ? find_group(group + 1, &ret->gid) : 0;
	return r == 0 ? find_groups(ret) : r;
}

int account_find(const char *who, const struct account **ret)
{
	struct sources now;
	bool constant = look_at_sources(&now);
	int r;

	*ret = &last.account;
	if (constant && last.who && strcmp(last.who, who) == 0 && same_sources(&now, &last.from))
		return 0;
	forget();
	r = find(who, &last.account);
	if (r < 0) {
		forget();
		return r;
	}
	last.from = now;
	/* Without, it is looked for again the next time. */
	last.who = constant ? strdup(who) : NULL;
	return 0;
}
