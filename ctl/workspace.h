/* A VM's workspace, as other commands need it. */
#ifndef BANGER_CTL_WORKSPACE_H
#define BANGER_CTL_WORKSPACE_H

#include "ctl.h"

/* Brings the checkout or folder PATH in, with progress; says what failed. An exit code. */
int workspace_prepare(struct ctl *c, const char *vm, const char *path, const char *ref, bool force);

/* Prepares it again where it is stale. An exit code; EXIT_OK too when nothing was ever prepared. */
int workspace_refresh(struct ctl *c, const char *vm);

/* Says so on standard error when it is stale. Any thread. */
void workspace_check(struct ctl *c, const char *vm);

/* How many files the guest has changed; 0 also when it can't be told. */
size_t workspace_changed(struct ctl *c, const char *vm);
/* vms/VM/FILE (workspace.patch, workspace.bundle) to the file TO, which appears when it is whole; NULL: to standard output. Says what failed. An exit code. */
int workspace_save(struct ctl *c, const char *vm, const char *file, const char *to);

#endif
