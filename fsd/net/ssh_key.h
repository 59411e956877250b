/*
 * The instance's own SSH key: made once by ssh-keygen(1), kept in PLACE_STATE/ssh (id_ed25519, id_ed25519.pub), never made again while it
 * is there. Each start puts the public half beside the keys that the guest's root has; the owner's own keys are never touched.
 */
#ifndef BANGER_NET_SSH_KEY_H
#define BANGER_NET_SSH_KEY_H

#include "banger/err.h"

/*
 * The public key, one line without a newline; the caller's. Makes it where there is none. -ENOENT: there is no ssh-keygen. Blocks for as
 * long as that takes: at the daemon's start.
 */
int ssh_key_ensure(int state_fd, char **ret, struct err *e);

#endif
