#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "banger/cleanup.h"
#include "banger/fc_version.h"
#include "banger/parse.h"
#include "banger/proc.h"
#include "banger/program.h"

/* The newest release that the suite has run with. */
#define TESTED_MAJOR 1
#define TESTED_MINOR 16

/* Digits at *AT, and steps over them. */
static int number(const char **at, unsigned *ret)
{
	size_t n = strspn(*at, "0123456789");
	_cleanup_free_ char *digits = strndup(*at, n);
	uint64_t v;

	if (!digits || parse_u64(digits, 0, 9999, &v) < 0)
		return -EINVAL;
	*ret = (unsigned)v;
	*at += n;
	return 0;
}

int fc_version_parse(const char *text, struct fc_version *ret)
{
	struct fc_version v;

	if (number(&text, &v.major) < 0 || *text++ != '.' || number(&text, &v.minor) < 0 || *text++ != '.' ||
		number(&text, &v.patch) < 0 || (*text && *text != '-' && *text != '+'))
		return -EINVAL;
	*ret = v;
	return 0;
}

bool fc_version_is(const struct fc_version *v, unsigned major, unsigned minor)
{
	return v->major > major || (v->major == major && v->minor >= minor);
}

static int too_old(const struct fc_version *v, struct err *e)
{
	return fc_version_is(v, 1, 5) ? 0
				      : err_set(e, -EPROTONOSUPPORT,
						"Firecracker %u.%u.%u is too old: install 1.14.1 or newer",
						v->major, v->minor, v->patch);
}

int fc_version_check(const struct fc_version *vmm, const struct fc_version *jailer, struct err *e)
{
	const struct fc_version *j = jailer;
	int r = too_old(vmm, e);

	if (r < 0)
		return r;
	if (memcmp(vmm, jailer, sizeof(*vmm)) != 0)
		return err_set(e, -EPROTONOSUPPORT,
			"Firecracker is %u.%u.%u and its jailer %u.%u.%u: install both from one release",
			vmm->major, vmm->minor, vmm->patch, j->major, j->minor, j->patch);
	/* Mended in 1.13.2 and 1.14.1. */
	if (!fc_version_is(j, 1, 13) || (j->major == 1 && j->minor == 13 && j->patch < 2) ||
		(j->major == 1 && j->minor == 14 && j->patch < 1))
		return err_set(e, -EPROTONOSUPPORT,
			"the jailer of Firecracker %u.%u.%u can be misled by links (CVE-2026-1386): install "
			"1.14.1 or "
			"newer",
			j->major, j->minor, j->patch);
	return 0;
}

int fc_version_note(const struct fc_version *v, char **ret, struct err *e)
{
	char *note = NULL;
	int n = 0, r = too_old(v, e);

	if (r < 0)
		return r;
	if (fc_version_is(v, TESTED_MAJOR, TESTED_MINOR + 1))
		n = asprintf(&note,
			"Firecracker %u.%u.%u is newer than any that banger was tested with (%u.%u)",
			v->major, v->minor, v->patch, TESTED_MAJOR, TESTED_MINOR);
	/* Before, it told a guest of its devices only by the command line, which distributions' kernels don't read (facts 1.9). */
	else if (!fc_version_is(v, 1, 8))
		n = asprintf(&note,
			"Firecracker %u.%u.%u has no ACPI: most kernels find no disk in it: install 1.14.1 "
			"or "
			"newer",
			v->major, v->minor, v->patch);
	if (n < 0)
		return err_sys(e, -ENOMEM, "Firecracker");
	*ret = note;
	return 0;
}

/* "Jailer v1.16.1" */
static int version_of(const char *name, const char *word, unsigned msec, int cancel_fd,
	struct fc_version *ret, struct err *e)
{
	_cleanup_free_ char *path = NULL, *said = NULL;
	_cleanup_close_ int fd = -EBADF;
	struct proc_spec spec = PROC_SPEC_INIT;
	int r = program_open_firecracker(name, &path, &fd, e);

	if (r < 0)
		return r;
	/* The jail has nothing that the VMM could be loaded by. */
	if (strcmp(name, "firecracker") == 0 && program_needs_loader(path))
		return err_set(e, -EPROTONOSUPPORT,
			"%s needs shared libraries, which its jail doesn't have: take both, firecracker and "
			"jailer, from a release of Firecracker",
			path);
	spec.argv = (const char *const[]){path, "--version", NULL};
	spec.cancel_fd = cancel_fd;
	spec.timeout_msec = msec;
	r = proc_run(&spec, &said, NULL, NULL, e);
	if (r < 0)
		return r;
	said[strcspn(said, "\n")] = '\0';
	if (strncmp(said, word, strlen(word)) != 0 || fc_version_parse(said + strlen(word), ret) < 0)
		return err_set(e, -EPROTONOSUPPORT, "%s doesn't say its version", path);
	return 0;
}

int fc_version_read(unsigned msec, int cancel_fd, struct fc_version *ret_vmm, struct fc_version *ret_jailer,
	struct err *e)
{
	int r = version_of("jailer", "Jailer v", msec, cancel_fd, ret_jailer, e);

	return r == 0 ? version_of("firecracker", "Firecracker v", msec, cancel_fd, ret_vmm, e) : r;
}
