/* VMs, as other commands need them. */
#ifndef BANGER_CTL_VM_H
#define BANGER_CTL_VM_H

#include "ctl.h"

/* One verb to vms/NAME/ctl, with progress; says what failed. An exit code. */
int vm_do(struct ctl *c, const char *name, const char *verb);
/* mkdir, settings (KEY=VALUE...), said when it fails. An exit code. */
int vm_make(struct ctl *c, const char *name, char *const *settings, size_t n);
int vm_remove(struct ctl *c, const char *name);
/* A connection to the guest's ssh server, as our standard input and output. An exit code. */
int exec_ssh(struct ctl *c, const char *vm);
/* A name that can't be a path. False, and said, when it is none. */
bool vm_name_good(const char *name);

#endif
