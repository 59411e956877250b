/*
 * Releases of Firecracker, and which of them are of use.
 */
#ifndef BANGER_FC_VERSION_H
#define BANGER_FC_VERSION_H

#include <stdbool.h>

#include "banger/err.h"

struct fc_version {
	unsigned major, minor, patch;
};

/* "1.16.1", also with something behind it ("1.17.0-dev"). -EINVAL */
int fc_version_parse(const char *text, struct fc_version *ret);
bool fc_version_is(const struct fc_version *v, unsigned major, unsigned minor); /* or newer */

/*
 * Asks both programs (program.h) by running them, for MSEC at most; CANCEL_FD (negative: none) readable: -EINTR. -ENOENT, -EPERM:
 * program_open_firecracker(); -EPROTONOSUPPORT: one that doesn't say, or a VMM that can't be loaded in its jail.
 */
int fc_version_read(unsigned msec, int cancel_fd, struct fc_version *ret_vmm, struct fc_version *ret_jailer,
	struct err *e);
/*
 * Whether the two are of use: of one release, 1.5.0 or newer, and no jailer that as root follows a link in a folder that it finds (CVE-2026-1386).
 * -EPROTONOSUPPORT
 */
int fc_version_check(const struct fc_version *vmm, const struct fc_version *jailer, struct err *e);
/* -EPROTONOSUPPORT: older than 1.5.0. *RET: what is to be said about V, or NULL; the caller's. */
int fc_version_note(const struct fc_version *v, char **ret, struct err *e);

#endif
