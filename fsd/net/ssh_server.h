/*
 * The ssh server that is brought to guests whose image has none: dropbear and OpenSSH's sftp-server as this host's packages have them, with the
 * libraries that they use. Blocks: workers only.
 */
#ifndef BANGER_NET_SSH_SERVER_H
#define BANGER_NET_SSH_SERVER_H

#include <stddef.h>
#include <sys/types.h>

#include "banger/err.h"

struct ssh_file {
	char *name; /* below GUEST_SSH_FOLDER (banger/guest_ssh.h) */
	char *path; /* on the host */
	mode_t mode;
};

/* What there is of it; ended by a NULL name. -ENOENT: there is no dropbear here. */
int ssh_server_files(struct ssh_file **ret, struct err *e);
void ssh_server_free(struct ssh_file *files);

/* Makes the file NAME in DIR: the key ssh_key_ensure() made there, as dropbear has it. */
int ssh_server_key(int dir_fd, const char *name, struct err *e);

#endif
