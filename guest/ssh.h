/*
 * An ssh server that needs no network: the image's own sshd, or the one that banger brings (banger/guest_ssh.h). Programs of their own: each
 * returns an exit code.
 */
#ifndef BANGER_GUEST_SSH_SERVER_H
#define BANGER_GUEST_SSH_SERVER_H

/* Takes in what the server needs. */
int ssh_receive(void);
/* Serves one connection, which is its standard input and output. */
int ssh_serve(void);
/* What a session of the server that was brought runs: a login shell, or SSH_ORIGINAL_COMMAND by the user's shell. */
int ssh_session(void);

#endif
