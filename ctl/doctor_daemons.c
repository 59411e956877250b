/* The instance: its two daemons, what they answer, and who can get at them. */
#include <errno.h>
#include <mntent.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "doctor_rows.h"

static void check_helper(struct doctor *d, struct finding *f)
{
	if (d->helper_code == 0)
		found_good(f, "banger-helper is process %d", d->hello.pid);
	else if (!d->started)
		found_bad(f, GRADE_WARN, mend_up(d), "banger is down");
	else if (d->helper_code == -EACCES)
		found_unknown(d, f);
	else
		found_bad(f, GRADE_FAIL, d->helper_code == -ETIMEDOUT ? mend_restart(d) : mend_up(d), "%s",
			d->helper_why ? d->helper_why : "it doesn't answer");
}

static void check_fsd(struct doctor *d, struct finding *f)
{
	if (d->tree == TREE_ANSWERS)
		found_good(f, "banger-fsd serves the tree at %s", d->c->mount);
	else if (!d->started)
		found_bad(f, GRADE_WARN, mend_up(d), "banger is down");
	else if (d->insider && !d->fsd)
		found_bad(f, GRADE_FAIL, mend_up(d), "banger-fsd doesn't run: nobody serves the tree at %s",
			d->c->mount);
	else if (!d->mounted)
		found_bad(f, GRADE_FAIL, mend_restart(d), "nothing is mounted at %s", d->c->mount);
	else
		found_bad(f, GRADE_FAIL, mend_restart(d), "the tree at %s didn't answer within %u ms",
			d->c->mount, DOCTOR_PATIENCE_MSEC);
}

/* What runs is of one version. */
static void check_versions(struct doctor *d, struct finding *f)
{
	_cleanup_free_ char *text = d->tree == TREE_ANSWERS ? tree_read(d->c, "version") : NULL;

	if (d->helper_code == 0 && strcmp(d->hello.version, BANGER_VERSION) != 0)
		found_bad(f, GRADE_FAIL, mend_restart(d),
			"the helper that runs is %s, this is " BANGER_VERSION, d->hello.version);
	if (text && strncmp(text, "version ", 8) == 0) {
		text[strcspn(text, "\n")] = '\0';
		if (strcmp(text + 8, BANGER_VERSION) != 0)
			found_bad(f, GRADE_FAIL, mend_restart(d),
				"the daemon that runs is %s, this is " BANGER_VERSION, text + 8);
	}
	if (!d->started || d->helper_code == 0 || text)
		found_good(f, d->started ? "what runs is " BANGER_VERSION : "banger is down");
	else
		found_unknown(d, f);
}

/* Exactly this owner and mode; nothing there is fine. */
static void find_mode(struct doctor *d, struct finding *f, const char *path, mode_t type, uid_t uid,
	bool any_uid, mode_t mode)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return;
	if ((st.st_mode & S_IFMT) != type)
		found_bad(f, GRADE_FAIL, mend_restart(d), "%s is something else", path);
	else if (!any_uid && st.st_uid != uid)
		found_bad(f, GRADE_FAIL, mend_as_root(d, "chown %u %s", uid, path),
			"%s belongs to user %u, not %u", path, st.st_uid, uid);
	else if ((st.st_mode & 07777) != mode)
		found_bad(f, GRADE_FAIL, mend_as_root(d, "chmod %04o %s", mode, path),
			"%s has mode %04o, not %04o", path, st.st_mode & 07777, mode);
}

static void check_socket(struct doctor *d, struct finding *f)
{
	find_mode(d, f, d->socket, S_IFSOCK, d->owner, !d->owner_known, 0600);
	found_good(
		f, access(d->socket, F_OK) == 0 ? "only its owner can speak to the helper" : "none is there");
}

/* Who may write in a folder above may put another in its place. */
static void find_above(struct doctor *d, struct finding *f, const char *path)
{
	_cleanup_free_ char *above = strdup(path);
	struct stat st;
	char *slash;

	while (above && (slash = strrchr(above, '/')) && *above) {
		*slash = '\0';
		if (lstat(*above ? above : "/", &st) < 0)
			continue;
		if (st.st_uid != 0)
			found_bad(f, GRADE_FAIL, mend_as_root(d, "chown root %s", above),
				"%s belongs to user %u, who could replace what is in it", above, st.st_uid);
		else if (S_ISDIR(st.st_mode) && (st.st_mode & (S_IWGRP | S_IWOTH)) && !(st.st_mode & S_ISVTX))
			found_bad(f, GRADE_FAIL, mend_as_root(d, "chmod go-w %s", *above ? above : "/"),
				"others could replace what is in %s (mode %04o)", *above ? above : "/",
				st.st_mode & 07777);
	}
}

static void check_folders(struct doctor *d, struct finding *f)
{
	find_mode(d, f, d->run, S_IFDIR, 0, false, 0755);
	find_mode(d, f, d->helper_dir, S_IFDIR, 0, false, 0700);
	find_mode(d, f, d->fsd_dir, S_IFDIR, d->owner, !d->owner_known, 0700);
	find_mode(d, f, d->state, S_IFDIR, d->owner, !d->owner_known, 0700);
	find_above(d, f, d->run);
	find_above(d, f, d->state);
	found_good(f, "what is of the helper, and what is of the owner, is nobody else's");
}

static void check_mount(struct doctor *d, struct finding *f)
{
	static const char *const wanted[] = {
		"nosuid", "nodev", "noexec", "nosymfollow", "default_permissions"};
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *m;

	while (mounts && (m = getmntent(mounts))) {
		if (strcmp(m->mnt_dir, d->c->mount) != 0)
			continue;
		if (strcmp(m->mnt_type, "fuse.banger") != 0) {
			found_bad(f, GRADE_FAIL, mend_as_root(d, "umount %s", d->c->mount),
				"%s that banger didn't make is mounted at %s", m->mnt_type, d->c->mount);
			continue;
		}
		for (size_t i = 0; i < ELEMENTSOF(wanted); i++)
			if (!hasmntopt(m, wanted[i]))
				found_bad(f, GRADE_FAIL, mend_restart(d), "the tree is mounted without %s",
					wanted[i]);
	}
	if (mounts)
		endmntent(mounts);
	found_good(f, d->mounted ? "the tree is mounted as it should be" : "nothing is mounted");
}

const struct row doctor_rows_daemons[] = {
	{"helper", check_helper},
	{"fsd", check_fsd},
	{"versions", check_versions},
	{"socket", check_socket},
	{"folders", check_folders},
	{"mount", check_mount},
	{NULL, NULL},
};
