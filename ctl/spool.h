/* Standard input as a file, for a daemon that is told of paths. */
#ifndef BANGER_CTL_SPOOL_H
#define BANGER_CTL_SPOOL_H

#include "ctl.h"

/*
 * All of standard input in a new file below TMPDIR or /var/tmp, which only the tree's owner (and who runs this) can read; the bytes so far are shown when
 * standard error is a terminal. *RET: its path, the caller's, who calls spool_remove(): until then Ctrl-C ends nothing but a system call that waits. An exit code, which is EXIT_OK, or the failure was
 * said and no file is left; Ctrl-C: EXIT_CANCELLED.
 */
int spool_stdin(struct ctl *c, char **ret);
void spool_remove(const char *path);

#endif
