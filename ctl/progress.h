/*
 * What is going on while a write blocks, on a terminal.
 */
#ifndef BANGER_CTL_PROGRESS_H
#define BANGER_CTL_PROGRESS_H

#include "ctl.h"

/*
 * As tree_write_bytes(); meanwhile the operation whose target is TARGET ("vms/box1"; "images/": any below it) is looked at in ops/ and shown on
 * standard error, when that is a terminal: with its parts, a line each, and, while it waits for an image or a kernel, with what makes that. Ctrl-C interrupts the write (-EINTR): the daemon rolls back.
 */
int progress_write(struct ctl *c, const char *path, const char *text, const char *target);

#endif
