/*
 * banger as a service of systemd: `banger system install` gives the packaged units an owner, by a drop-in each in /etc/systemd/system. The units
 * serve the default instance, in its usual place. Root only, but for service_installed(). Results are exit codes, failures said.
 */
#ifndef BANGER_CTL_SERVICE_H
#define BANGER_CTL_SERVICE_H

#include <stddef.h>

#include "ctl.h"

/* This instance is that of the units, and they have an owner. */
bool service_installed(const struct ctl *c);

int service_up(struct ctl *c);
/* The unit of the daemon, and those of the helper, are stopped. Guests stay. */
int service_end_fsd(void);
int service_end_helper(void);
/* systemctl show UNIT --property=NAMES, *RET the caller's: an exit code, which is EXIT_OK, or the failure was said. */
int service_show(const char *unit, const char *names, char **ret);
/* The value of NAME in what service_show() gave, cut to fit: BUF, or "". */
const char *service_property(const char *shown, const char *name, char *buf, size_t size);

/* What a helper that is gone, and was a service, left of the instance's runtime folder RUN: it never clears away what units refer to. */
void service_clear_run(const char *run);

#endif
