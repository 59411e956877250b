/*
 * What an ssh server in a guest is started with, by streams alone: `banger-guest ssh receive` takes it in, as a job of the agent's, `banger-guest
 * ssh serve` is the server, with the connection as its standard input and output.
 *
 * `ssh receive` says one GUEST_SSH_NEED first, then is the receiving end of banger/workspace_proto.h below GUEST_SSH_BASE. Everything lies in
 * GUEST_SSH_FOLDER, in memory, and goes with the guest's run.
 */
#ifndef BANGER_GUEST_SSH_H
#define BANGER_GUEST_SSH_H

#define GUEST_SSH_BASE   "/run"
#define GUEST_SSH_BELOW  "banger/ssh"
#define GUEST_SSH_FOLDER GUEST_SSH_BASE "/" GUEST_SSH_BELOW

/* Guest to host, as a record: u32 1: a server is to be brought, for the image has none; 0: the host's key is enough. */
#define GUEST_SSH_NEED 64u

/* The files, each by its name below GUEST_SSH_BELOW. */
#define GUEST_SSH_HOST_KEY     "host_key" /* as OpenSSH has it; mode 0600 */
#define GUEST_SSH_AUTHORIZED   "authorized_keys"
#define GUEST_SSH_DROPBEAR     "dropbear"
#define GUEST_SSH_DROPBEAR_KEY "host_key.dropbear" /* the same key, as dropbear has it; mode 0600 */
#define GUEST_SSH_SFTP         "sftp-server"       /* may be missing */
#define GUEST_SSH_LINKER       "ld.so"             /* the two's dynamic linker, and the libraries of both */
#define GUEST_SSH_LIBRARIES    "lib"
#define GUEST_SSH_SELF         "banger-guest" /* put there by the guest itself */

#endif
