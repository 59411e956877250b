/* What a VM is started from: the accelerator, a kernel, an image. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/proc.h"
#include "doctor_rows.h"

#define APT_MSEC 1000

/* Proven by a guest that came up with it, or not: the device alone says nothing. */
static void check_kvm(struct doctor *d, struct finding *f)
{
	_cleanup_free_ char *why = d->tree == TREE_ANSWERS ? tree_read(d->c, "host/kvm") : NULL;

	if (why && strcmp(why, "proven") == 0)
		found_good(f, "proven by a guest");
	else if (why && strstr(why, "setting accel"))
		found_bad(f, GRADE_WARN, mend_text("echo auto > %s/config/accel", d->c->mount),
			"%s: VMs are emulated", why);
	else if (why)
		found_bad(f, GRADE_WARN,
			mend_text("see the row kvm-device; VMs are emulated meanwhile, which is slower"),
			"%s", why);
	else
		found_bad(f, GRADE_WARN, mend_text("start a VM: the first start proves it"),
			"not proven on this boot");
}

static bool is_file(int dir_fd, const char *folder, const char *name)
{
	_cleanup_free_ char *path = mend_text("%s%s%s", folder, *name ? "/" : "", name);
	struct stat st;

	return path && fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       st.st_size > 0;
}

/* How many of a kind lie whole in the state folder; -1: we can't tell. */
static int count_files(struct doctor *d, const char *kind, const char *file)
{
	_cleanup_free_ char *path = mend_text("%s/%s", d->state, kind);
	int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1, n = 0;
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir)
		return fd < 0 && errno == ENOENT && d->insider ? 0 : -1;
	while ((entry = readdir(dir)))
		/* A number each; one that is being made has another name. */
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
			n += is_file(dirfd(dir), entry->d_name, file);
	return n;
}

static int count_names(char **names)
{
	int n = 0;

	while (names && names[n])
		n++;
	return n;
}

static bool has_name(char **names, const char *name)
{
	for (; names && *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

/*
 * Of a kind of objects: what the tree lists must be on the disk, and the default one among them. GET makes that one; NONE
 * is the grade where it isn't there yet.
 */
static void find_objects(struct doctor *d, struct finding *f, const char *kind, const char *one,
	const char *file, char *get, enum grade none)
{
	_cleanup_free_ char *mine = get, *wanted = NULL;
	int files = count_files(d, kind, file);
	char **names;

	if (d->tree != TREE_ANSWERS) {
		if (files > 0)
			found_good(f, "%d on the disk", files);
		else if (files == 0)
			found_bad(f, none, TAKE_PTR(mine), "none yet");
		else
			found_bad(f, GRADE_WARN, mend_up(d), "not known while banger is down");
		return;
	}
	names = tree_names(d->c, kind);
	wanted = tree_read(d->c, "config/default_%s", one);
	if (files >= 0 && files < count_names(names))
		found_bad(f, GRADE_FAIL,
			mend_text(
				"banger %s delete %s && %s", one, wanted ? wanted : "NAME", mine ? mine : ""),
			"%d are listed, but %d are whole in %s/%s", count_names(names), files, d->state,
			kind);
	else if (wanted && has_name(names, wanted))
		found_good(f, "%s is there", wanted);
	else
		found_bad(f, none, TAKE_PTR(mine), "%s, which VMs get by default, isn't there yet",
			wanted ? wanted : "what");
	tree_free_names(names);
}

static void check_kernel(struct doctor *d, struct finding *f)
{
	bool apt = access("/usr/bin/apt-get", X_OK) == 0;

	find_objects(d, f, "kernels", "kernel", "vmlinux",
		mend_text(apt ? "banger kernel pull"
			      : "banger kernel import PATH, of a Debian linux-image package"),
		apt ? GRADE_WARN : GRADE_FAIL);
}

static void check_image(struct doctor *d, struct finding *f)
{
	find_objects(d, f, "images", "image", "", mend_text("banger image build busybox"), GRADE_WARN);
}

/* Only asked where there is no kernel: it takes a while. */
static void check_apt(struct doctor *d, struct finding *f)
{
	static const char *const argv[] = {
		"apt-cache", "show", "--no-all-versions", "linux-image-cloud-amd64", NULL};
	static const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", NULL};
	char **names = d->tree == TREE_ANSWERS ? tree_names(d->c, "kernels") : NULL;
	bool needed = count_names(names) == 0 && count_files(d, "kernels", "vmlinux") <= 0;
	_cleanup_free_ char *said = NULL;
	_cleanup_err_ struct err e = {0};
	struct proc_spec spec = PROC_SPEC_INIT;
	int r;

	tree_free_names(names);
	if (!needed) {
		found_good(f, "not needed: a kernel is there");
		return;
	}
	spec.argv = argv;
	spec.env = env;
	spec.timeout_msec = APT_MSEC;
	r = access("/usr/bin/apt-get", X_OK) < 0 ? -ENOENT : proc_run(&spec, &said, NULL, NULL, &e);
	if (r == 0 && said && *said)
		found_good(f, "it can give a kernel");
	else if (r == -ENOENT)
		found_bad(f, GRADE_WARN,
			mend_text("banger kernel import PATH, of a Debian linux-image package"),
			"there is no apt on this host to get a kernel by");
	else if (r == -ETIMEDOUT)
		found_bad(f, GRADE_WARN, mend_text("banger kernel pull: it gives apt the time that it takes"),
			"it didn't say within %d ms whether it can give a kernel", APT_MSEC);
	else
		found_bad(f, GRADE_WARN,
			d->family == FAMILY_DEBIAN
				? mend_as_root(d, "apt-get update")
				: mend_text("banger kernel import PATH, of a Debian linux-image package"),
			"apt knows no linux-image-cloud-amd64");
}

/* Root disks by device-mapper, or what else there is. */
static void check_storage(struct doctor *d, struct finding *f)
{
	_cleanup_free_ char *text = d->tree == TREE_ANSWERS ? tree_read(d->c, "host/storage") : NULL;

	if (!text)
		found_unknown(d, f);
	else if (strncmp(text, "dm", 2) == 0)
		found_good(f, "root disks are device-mapper's");
	else
		found_bad(f, GRADE_WARN, mend_as_root(d, "modprobe -a loop dm_snapshot"),
			"root disks are made writable in the guest: %s", text);
}

const struct row doctor_rows_objects[] = {
	{"storage", check_storage},
	{"kvm", check_kvm},
	{"kernel", check_kernel},
	{"image", check_image},
	{"apt", check_apt},
	{NULL, NULL},
};
