/* What the processes that run may do, by /proc/PID/status, against docs/privileges.md. */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdarg.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "doctor_rows.h"

/* VMs' users: docs/privileges.md, helper/instance.h. */
#define VM_UID_FIRST 1879113728u

#define SYSTEMD_BOOTED "/run/systemd/system" /* sd_booted(3) */

#define CAP(n) (UINT64_C(1) << (n))

static const char *const no_caps = "0000000000000000";

/* The text of /proc/PID/status; the caller's. NULL: it has gone. */
static char *read_status(pid_t pid)
{
	_cleanup_free_ char *path = NULL;
	char *text = NULL;

	if (asprintf(&path, "/proc/%d/status", pid) < 0) {
		path = NULL;
		return NULL;
	}
	return io_read_file(AT_FDCWD, path, 65536, &text, NULL, NULL) < 0 ? NULL : text;
}

/* What follows "KEY:\t" at the beginning of a line, up to its end; the caller's. */
static char *status_value(const char *status, const char *key)
{
	_cleanup_free_ char *words = mend_text("%s:\t", key);
	const char *at = words ? strstr(status, words) : NULL;

	while (at && at > status && at[-1] != '\n')
		at = strstr(at + 1, words);
	return at ? strndup(at + strlen(words), strcspn(at + strlen(words), "\n")) : NULL;
}

struct process {
	const char *name;
	pid_t pid;
	char *status;
};

static void wants(struct doctor *d, struct finding *f, const struct process *p, const char *key,
	const char *fmt, ...) __attribute__((format(printf, 5, 6)));
static void wants(
	struct doctor *d, struct finding *f, const struct process *p, const char *key, const char *fmt, ...)
{
	_cleanup_free_ char *is = status_value(p->status, key), *should = NULL;
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = vasprintf(&should, fmt, ap);
	va_end(ap);
	if (r < 0) {
		should = NULL;
		return;
	}
	if (is && strcmp(is, should) != 0)
		found_bad(f, GRADE_FAIL, mend_restart(d), "%s, process %d: %s is %s, not %s", p->name, p->pid,
			key, is, should);
}

static void wants_user(struct doctor *d, struct finding *f, const struct process *p, uid_t uid)
{
	wants(d, f, p, "Uid", "%u\t%u\t%u\t%u", uid, uid, uid, uid);
}

/* CAPS: those that it has; the bounding set isn't looked at. */
static void wants_caps(struct doctor *d, struct finding *f, const struct process *p, uint64_t caps)
{
	wants(d, f, p, "CapPrm", "%016" PRIx64, caps);
	wants(d, f, p, "CapEff", "%016" PRIx64, caps);
	wants(d, f, p, "CapAmb", "%s", no_caps);
}

/* False: there is none, or only its exit code, which nobody has asked for yet. */
static bool process_open(struct process *p, const char *name, pid_t pid)
{
	_cleanup_free_ char *status = read_status(pid),
			    *state = status ? status_value(status, "State") : NULL;

	if (!state || *state == 'Z' || *state == 'X')
		return false;
	*p = (struct process){.name = name, .pid = pid, .status = TAKE_PTR(status)};
	return true;
}

static void check_helper_rights(struct doctor *d, struct finding *f)
{
	const uint64_t caps = CAP(CAP_NET_ADMIN) | CAP(CAP_SYS_ADMIN) | CAP(CAP_KILL);
	struct process p;

	if (d->helper_code < 0 || !process_open(&p, "banger-helper", d->hello.pid)) {
		found_unknown(d, f);
		return;
	}
	wants_user(d, f, &p, 0);
	wants_caps(d, f, &p, caps);
	wants(d, f, &p, "CapBnd", "%016" PRIx64, caps);
	wants(d, f, &p, "NoNewPrivs", "1");
	wants(d, f, &p, "Seccomp", "2");
	found_good(f, "banger-helper has net_admin, sys_admin and kill, no_new_privs and a seccomp list");
	free(p.status);
}

/* The helper's children, each of which has what the helper has not. */
static const struct {
	const char *name, *without;
	uint64_t caps;
	bool systemd; /* only where that runs the machine */
} children_of_helper[] = {
	{"banger-launcher", "no VM can be started",
		CAP(CAP_SETUID) | CAP(CAP_SETGID) | CAP(CAP_SYS_ADMIN) | CAP(CAP_SYS_CHROOT) |
			CAP(CAP_MKNOD) | CAP(CAP_CHOWN) | CAP(CAP_DAC_OVERRIDE),
		false},
	{"banger-mounter", "the tree can't be mounted", CAP(CAP_SYS_ADMIN), false},
	{"banger-scopes", "no VM can be started", 0, true},
};

static void check_children_rights(struct doctor *d, struct finding *f)
{
	_cleanup_free_ char *path = NULL, *children = NULL;
	bool found[ELEMENTSOF(children_of_helper)] = {false};
	struct process p;
	char *rest, *word;
	uint64_t pid;

	if (d->helper_code == 0)
		path = mend_text("/proc/%d/task/%d/children", d->hello.pid, d->hello.pid);
	if (!path || io_read_file(AT_FDCWD, path, 65536, &children, NULL, NULL) < 0) {
		found_unknown(d, f);
		return;
	}
	rest = children;
	while ((word = strsep(&rest, " \n"))) {
		_cleanup_free_ char *name = NULL;

		if (parse_u64(word, 1, INT32_MAX, &pid) < 0 || !process_open(&p, "", (pid_t)pid))
			continue;
		name = status_value(p.status, "Name");
		for (size_t i = 0; name && i < ELEMENTSOF(children_of_helper); i++) {
			if (strcmp(name, children_of_helper[i].name) != 0)
				continue;
			found[i] = true;
			p.name = children_of_helper[i].name;
			wants_user(d, f, &p, 0);
			wants_caps(d, f, &p, children_of_helper[i].caps);
			wants(d, f, &p, "CapBnd", "%016" PRIx64, children_of_helper[i].caps);
			wants(d, f, &p, "NoNewPrivs", "1");
		}
		free(p.status);
	}
	for (size_t i = 0; i < ELEMENTSOF(children_of_helper); i++)
		if (!found[i] && (!children_of_helper[i].systemd || access(SYSTEMD_BOOTED, F_OK) == 0))
			found_bad(f, GRADE_FAIL, mend_restart(d),
				"%s, a child of banger-helper's, has gone: %s", children_of_helper[i].name,
				children_of_helper[i].without);
	found_good(f, "the helper's children have what each of them needs, and no_new_privs");
}

/* The daemon's process by its lock, else by its own word. */
static pid_t fsd_pid(struct doctor *d)
{
	_cleanup_free_ char *text = NULL;
	uint64_t pid;
	char *at;

	if (d->fsd || d->tree != TREE_ANSWERS)
		return d->fsd;
	text = tree_read(d->c, "version");
	at = text ? strstr(text, "\npid ") : NULL;
	if (!at)
		return 0;
	at += strlen("\npid ");
	at[strcspn(at, "\n")] = '\0';
	return parse_u64(at, 1, INT32_MAX, &pid) == 0 ? (pid_t)pid : 0;
}

static void check_fsd_rights(struct doctor *d, struct finding *f)
{
	pid_t pid = fsd_pid(d);
	struct process p;

	if (!pid || !process_open(&p, "banger-fsd", pid)) {
		found_unknown(d, f);
		return;
	}
	if (d->owner_known)
		wants_user(d, f, &p, d->owner);
	wants_caps(d, f, &p, 0);
	wants(d, f, &p, "Umask", "0077");
	found_good(f, "banger-fsd is the owner's, without capabilities");
	free(p.status);
}

/* One that nobody else runs as, above all that distributions give out; *RET. */
static void wants_vm_user(struct doctor *d, struct finding *f, const struct process *p, uid_t *ret)
{
	_cleanup_free_ char *uids = status_value(p->status, "Uid");
	uint64_t uid;

	if (!uids)
		return;
	uids[strcspn(uids, "\t")] = '\0';
	if (parse_u64(uids, VM_UID_FIRST, INT32_MAX, &uid) == 0) {
		*ret = (uid_t)uid;
		wants_user(d, f, p, *ret);
	} else {
		found_bad(f, GRADE_FAIL, mend_restart(d), "%s, process %d, runs as user %s", p->name, p->pid,
			uids);
	}
}

static void find_vmm(struct doctor *d, struct finding *f, pid_t pid)
{
	_cleanup_free_ char *parent = NULL;
	struct process p, reaper;
	uint64_t reaper_pid;
	uid_t uid = 0;

	if (!process_open(&p, "a VMM", pid))
		return;
	wants_vm_user(d, f, &p, &uid);
	wants_caps(d, f, &p, 0);
	wants(d, f, &p, "NoNewPrivs", "1");
	wants(d, f, &p, "Seccomp", "2");
	parent = status_value(p.status, "PPid");
	/* 1: the reaper was killed; the VM goes with it, or has its error elsewhere. */
	if (uid && parent && parse_u64(parent, 2, INT32_MAX, &reaper_pid) == 0 &&
		process_open(&reaper, "a reaper", (pid_t)reaper_pid)) {
		wants_user(d, f, &reaper, uid);
		wants_caps(d, f, &reaper, 0);
		wants(d, f, &reaper, "NoNewPrivs", "1");
		free(reaper.status);
	}
	free(p.status);
}

static void check_vmm_rights(struct doctor *d, struct finding *f)
{
	struct helper_entry entry = {0};
	unsigned n = 0;

	if (d->helper_code < 0) {
		found_unknown(d, f);
		return;
	}
	while (helper_list(d->helper, entry.vm, &entry, NULL) == 0)
		if (entry.alive) {
			find_vmm(d, f, entry.pid);
			n++;
		}
	found_good(f, n ? "%u VMs run as users of their own, without capabilities" : "no VM runs", n);
}

const struct row doctor_rows_rights[] = {
	{"helper-rights", check_helper_rights},
	{"children-rights", check_children_rights},
	{"fsd-rights", check_fsd_rights},
	{"vm-rights", check_vmm_rights},
	{NULL, NULL},
};
