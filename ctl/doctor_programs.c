/* What is run: banger's own programs, QEMU, and what makes kernels and images. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "banger/cleanup.h"
#include "banger/fc_version.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "banger/proc.h"
#include "banger/program.h"
#include "banger/subid.h"
#include "doctor_rows.h"

#define QEMU_NEEDED 6 /* -action panic=shutdown */
#define INSTALL     "make install"
#define FIRECRACKER "install -m 0755 firecracker jailer /usr/local/bin" /* of a release */

static const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", NULL};
static const char *const ours[] = {"banger-fsd", "banger-helper", "banger-guest"};

/* The first line that a program says, on whichever stream; the caller's. NULL: it doesn't run, and E says why. */
static char *first_line(const char *path, const char *argument, bool on_stderr, struct err *e)
{
	const char *const argv[] = {path, argument, NULL};
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_free_ char *text = NULL;
	int r;

	spec.argv = argv;
	spec.env = env;
	spec.timeout_msec = DOCTOR_PATIENCE_MSEC;
	r = proc_run(&spec, &text, NULL, NULL, e);
	if (on_stderr)
		return r == -EIO ? strdup(err_text(e)) : NULL;
	if (r < 0 || !text)
		return NULL;
	text[strcspn(text, "\n")] = '\0';
	return TAKE_PTR(text);
}

static bool is_roots(const char *path, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;

	return program_open(path, &fd, e) == 0;
}

/* As root nothing is run that others could have changed; unless this program is no better. */
static bool may_run(const struct doctor *d, const char *path)
{
	return !d->root || is_roots(path, NULL) || !is_roots("/proc/self/exe", NULL);
}

static void check_version(struct doctor *d, struct finding *f, const char *name, const char *path)
{
	bool guest = strcmp(name, "banger-guest") == 0;
	_cleanup_free_ char *wanted = NULL, *said = NULL;
	_cleanup_err_ struct err e = {0};

	if (!may_run(d, path)) {
		found_good(f, "%s is not run, as root, to ask its version", name);
		return;
	}
	/* The guest's has no options on a host: it says who it is and that it doesn't belong here. */
	if (asprintf(&wanted, "%s " BANGER_VERSION "%s", name, guest ? ":" : "") < 0) {
		wanted = NULL;
		return;
	}
	said = first_line(path, guest ? NULL : "--version", guest, &e);
	if (!said)
		found_bad(
			f, GRADE_FAIL, mend_as_root(d, INSTALL), "%s cannot be run: %s", path, err_text(&e));
	else if (guest ? !strstr(said, wanted) : strcmp(said, wanted) != 0)
		found_bad(f, GRADE_FAIL, mend_as_root(d, INSTALL),
			"%s is of another version than " BANGER_VERSION, path);
}

static void check_programs(struct doctor *d, struct finding *f)
{
	for (size_t i = 0; i < ELEMENTSOF(ours); i++) {
		_cleanup_free_ char *path = daemons_program(ours[i]);

		if (path)
			check_version(d, f, ours[i], path);
		else
			found_bad(f, GRADE_FAIL, mend_as_root(d, INSTALL), "%s is not beside this program",
				ours[i]);
	}
	found_good(f, "banger, its daemon, helper and guest are " BANGER_VERSION);
}

/* One that could be changed is told; that the others, beside it, are no better says nothing more. */
static void check_binary(struct doctor *d, struct finding *f, const char *path)
{
	_cleanup_err_ struct err e = {0};
	struct stat st;

	if (is_roots(path, &e))
		return;
	if (stat(path, &st) == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)))
		found_bad(f, GRADE_FAIL, mend_as_root(d, "chmod go-w %s", path),
			"%s can be changed by others, and root runs it (mode %04o)", path,
			st.st_mode & 07777);
	else if (f->grade == GRADE_PASS)
		/* As from a clone: who may write there is root at the next `sudo banger up`. */
		found_bad(f, GRADE_WARN, mend_as_root(d, INSTALL), "%s", err_text(&e));
}

static void check_binaries(struct doctor *d, struct finding *f)
{
	_cleanup_free_ char *self = realpath("/proc/self/exe", NULL);

	if (self)
		check_binary(d, f, self);
	for (size_t i = 0; i < ELEMENTSOF(ours); i++) {
		_cleanup_free_ char *path = daemons_program(ours[i]),
				    *real = path ? realpath(path, NULL) : NULL;

		if (real)
			check_binary(d, f, real);
	}
	found_good(f, "only root can change banger's programs");
}

static void check_qemu(struct doctor *d, struct finding *f)
{
	static const char words[] = "QEMU emulator version ";
	_cleanup_free_ char *said = NULL, *machines = NULL;
	_cleanup_close_ int fd = -EBADF;
	_cleanup_err_ struct err e = {0};
	struct proc_spec spec = PROC_SPEC_INIT;
	const char *path = NULL;
	uint64_t major_version;
	char *version;
	int r = program_open_qemu(&path, &fd, &e);

	if (r < 0) {
		found_bad(f, GRADE_FAIL,
			path ? mend_as_root(d, "chown root: %s && %schmod go-w %s", path,
				       d->root ? "" : "sudo ", path)
			     : mend_package(d, PACKAGE_QEMU, false),
			"%.*s", path ? 4096 : (int)strcspn(err_text(&e), ":"), err_text(&e));
		return;
	}
	said = first_line(path, "-version", false, &e);
	if (!said || strncmp(said, words, strlen(words)) != 0) {
		found_bad(f, GRADE_FAIL, mend_package(d, PACKAGE_QEMU, true), "%s doesn't work: %s", path,
			said ? said : err_text(&e));
		return;
	}
	version = said + strlen(words);
	version[strcspn(version, " ")] = '\0';
	found_good(f, "%s, version %s", path, version);
	version[strcspn(version, ".")] = '\0';
	if (parse_u64(version, 0, UINT32_MAX, &major_version) < 0 || major_version < QEMU_NEEDED) {
		found_bad(f, GRADE_FAIL, mend_package(d, PACKAGE_QEMU, false),
			"%s is of version %s: %d is needed", path, version, QEMU_NEEDED);
		return;
	}
	spec.argv = (const char *const[]){path, "-machine", "help", NULL};
	spec.env = env;
	spec.timeout_msec = DOCTOR_PATIENCE_MSEC;
	if (proc_run(&spec, &machines, NULL, NULL, NULL) == 0 && !strstr(machines, "\nmicrovm "))
		found_bad(f, GRADE_FAIL, mend_package(d, PACKAGE_QEMU, false),
			"%s has no machine microvm: another QEMU is needed", path);
}

static bool is_program(const char *const *paths)
{
	for (; *paths; paths++)
		if (access(*paths, X_OK) == 0)
			return true;
	return false;
}

static void check_busybox(struct doctor *d, struct finding *f)
{
	if (is_program((const char *const[]){"/bin/busybox", "/usr/bin/busybox", NULL}))
		found_good(f, "the image busybox can be made");
	else
		found_bad(f, GRADE_WARN, mend_package(d, PACKAGE_BUSYBOX, false),
			"busybox is not installed, which the image busybox is made of");
}

/* What is brought to guests whose image has no sshd (fsd/net/ssh_server.c). */
static void check_ssh(struct doctor *d, struct finding *f)
{
	if (!is_program((const char *const[]){"/usr/bin/ssh-keygen", NULL}))
		found_bad(
			f, GRADE_WARN, mend_text("install OpenSSH's client"), "ssh to VMs needs ssh-keygen");
	if (!is_program((const char *const[]){"/usr/sbin/dropbear", NULL}))
		found_bad(f, GRADE_WARN, mend_package(d, PACKAGE_DROPBEAR, false),
			"ssh to VMs whose image has no sshd needs dropbear");
	if (!is_program((const char *const[]){"/usr/lib/openssh/sftp-server",
		    "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server", NULL}))
		found_bad(f, GRADE_WARN, mend_package(d, PACKAGE_SFTP, false),
			"sftp and scp to VMs whose image has no sshd need sftp-server");
	found_good(f, "ssh to VMs has what it needs");
}

/* Whether an ordinary user can be root of a user namespace: by trying it, as one. */
static bool user_namespaces(const struct doctor *d)
{
	uid_t uid = d->root && d->owner_known ? d->owner : geteuid();
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (geteuid() == 0 && uid != 0 && setresuid(uid, uid, uid) < 0)
			_exit(1);
		_exit(unshare(CLONE_NEWUSER) < 0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Which of the switches is off: distributions have their own. */
static char *mend_namespaces(const struct doctor *d)
{
	static const struct {
		const char *path, *off, *on;
	} switches[] = {
		{"/proc/sys/kernel/unprivileged_userns_clone", "0\n", "kernel.unprivileged_userns_clone=1"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n",
			"kernel.apparmor_restrict_unprivileged_userns=0"},
		{"/proc/sys/user/max_user_namespaces", "0\n", "user.max_user_namespaces=10000"},
	};

	for (size_t i = 0; i < ELEMENTSOF(switches); i++) {
		_cleanup_free_ char *now = NULL;

		if (io_read_file(AT_FDCWD, switches[i].path, 64, &now, NULL, NULL) == 0 &&
			strcmp(now, switches[i].off) == 0)
			return mend_as_root(d, "sysctl -w %s", switches[i].on);
	}
	return mend_text("banger image pull debian does without them");
}

/* Only for `image build debian`; nothing else wants these. */
static void check_mmdebstrap(struct doctor *d, struct finding *f)
{
	_cleanup_err_ struct err e = {0};

	if (d->family != FAMILY_DEBIAN) {
		found_good(f, "image build debian needs a Debian host: image pull debian works here too");
		return;
	}
	if (access("/usr/bin/mmdebstrap", X_OK) < 0)
		found_bad(f, GRADE_WARN, mend_package(d, PACKAGE_MMDEBSTRAP, false),
			"image build debian needs mmdebstrap");
	if (access("/usr/bin/newuidmap", X_OK) < 0)
		found_bad(f, GRADE_WARN, mend_package(d, PACKAGE_UIDMAP, false),
			"image build debian needs newuidmap");
	if (!user_namespaces(d))
		found_bad(f, GRADE_WARN, mend_namespaces(d),
			"image build debian needs user namespaces, which this host refuses");
	if (d->owner_name && subid_check(d->owner_name, &e) < 0)
		found_bad(f, GRADE_WARN,
			mend_as_root(d, "usermod --add-subuids 165536-231071 --add-subgids 165536-231071 %s",
				d->owner_name),
			"user %s has no range of ids in /etc/subuid and /etc/subgid", d->owner_name);
	found_good(f, "image build debian has what it needs");
}

/* None is fine: VMs run in QEMU then. */
static void check_firecracker(struct doctor *d, struct finding *f)
{
	static const char *const names[] = {"jailer", "firecracker"};
	_cleanup_err_ struct err e = {0};
	_cleanup_free_ char *note = NULL;
	struct fc_version vmm, jailer;
	int r;

	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		_cleanup_err_ struct err mine = {0};
		_cleanup_free_ char *path = NULL;
		_cleanup_close_ int fd = -EBADF;

		r = program_open_firecracker(names[i], &path, &fd, &mine);
		if (r == -ENOENT) {
			found_good(f, "no %s: VMs run in QEMU", names[i]);
			return;
		}
		if (r < 0) {
			found_bad(f, GRADE_FAIL,
				mend_as_root(d, "chown root: %s && %schmod go-w %s", path,
					d->root ? "" : "sudo ", path),
				"%s", err_text(&mine));
			return;
		}
	}
	r = fc_version_read(DOCTOR_PATIENCE_MSEC, -1, &vmm, &jailer, &e);
	if (r == 0)
		r = fc_version_check(&vmm, &jailer, &e);
	if (r == 0)
		r = fc_version_note(&vmm, &note, &e);
	if (r < 0)
		found_bad(f, GRADE_FAIL, mend_as_root(d, FIRECRACKER), "%s", err_text(&e));
	else if (note)
		found_bad(f, GRADE_WARN, mend_as_root(d, FIRECRACKER), "%s", note);
	else
		found_good(
			f, "Firecracker and its jailer, version %u.%u.%u", vmm.major, vmm.minor, vmm.patch);
}

const struct row doctor_rows_programs[] = {
	{"programs", check_programs},
	{"binaries", check_binaries},
	{"qemu", check_qemu},
	{"firecracker", check_firecracker},
	{"busybox", check_busybox},
	{"mmdebstrap", check_mmdebstrap},
	{"ssh", check_ssh},
	{NULL, NULL},
};
