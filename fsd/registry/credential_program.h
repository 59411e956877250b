/*
 * docker-credential-NAME programs (docker/docker-credential-helpers): a server's name on stdin, a JSON object with Username and Secret on stdout.
 */
#ifndef BANGER_REGISTRY_CREDENTIAL_PROGRAM_H
#define BANGER_REGISTRY_CREDENTIAL_PROGRAM_H

#include "registry/credentials.h"

/*
 * Asks docker-credential-NAME for SERVER. It is looked for in PATH, where programs of the machine's own lie, and in bin and .local/bin of the
 * owner's home; it runs without a shell, with the environment's PATH and what PLACES says. *RET NULL: it knows nobody for SERVER. -ENOENT
 * there is no such program; -EINVAL NAME is none; -ETIMEDOUT after 30 s; -EINTR OP was cancelled; -EIO it failed; -EBADMSG it says nonsense.
 * Blocks; any thread.
 */
int credential_program_get(const char *name, const char *server, const struct credentials_places *places,
	struct op *op, struct credentials **ret, struct err *e);

#endif
