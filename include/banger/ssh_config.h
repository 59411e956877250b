/*
 * What ssh(1) is told of VMs (ssh_config(5)): said by the tree, and by the command for the user's own file.
 */
#ifndef BANGER_SSH_CONFIG_H
#define BANGER_SSH_CONFIG_H

#include <stdio.h>

#include "banger/err.h"

#define SSH_CONFIG_ZONE ".vm"

/*
 * For the VMs of INSTANCE ("": the default). PROGRAM: the command's path, or "banger" where ssh finds it in PATH. OpenSSH 8.5 or later. -EINVAL: a
 * path that ssh can't be given.
 */
int ssh_config_write(FILE *out, const char *instance, const char *program, struct err *e);

#endif
