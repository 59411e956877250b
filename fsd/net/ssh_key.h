/*
 * banger's own SSH keys: made once by ssh-keygen(1), kept in a folder's SSH_KEY_DIR, never made again while they are there. The instance's is in
 * PLACE_STATE: each start puts the public half beside the keys that the guest's root has; the owner's own keys are never touched. A VM's is in
 * its folder: its host key.
 */
#ifndef BANGER_NET_SSH_KEY_H
#define BANGER_NET_SSH_KEY_H

#include "banger/err.h"

#define SSH_KEY_DIR     "ssh"
#define SSH_KEY_PRIVATE "id_ed25519"
#define SSH_KEY_PUBLIC  "id_ed25519.pub"

/*
 * The public key, one line without a newline; the caller's. Makes it where there is none. -ENOENT: there is no ssh-keygen. Blocks for as
 * long as that takes: at the daemon's start, or on a worker.
 */
int ssh_key_ensure(int dir_fd, char **ret, struct err *e);

/*
 * Likewise a VM's own host key, kept in the folder VM_FD: both halves as files of sshd's, the caller's. Blocks: workers only.
 */
int ssh_key_of_vm(int vm_fd, char **ret_private, char **ret_public, struct err *e);

#endif
