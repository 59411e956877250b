/*
 * Files of credentials: docker's config.json, which podman's auth.json is one of too ("auths", "credHelpers", "credsStore"), and the flat
 * .dockercfg that was before it. What is in them that nobody here knows stays when one is written again.
 *
 * A struct auth_file is one thread's at a time; it holds secrets, and wipes them.
 */
#ifndef BANGER_REGISTRY_AUTH_FILE_H
#define BANGER_REGISTRY_AUTH_FILE_H

#include <stdbool.h>

#include "registry/credentials.h"

#define AUTH_FILE_MAX (1u << 20) /* bytes; people's have some hundreds */

struct auth_file;

/* Parses N bytes, a NUL after them; none but blanks are an empty file. LEGACY: .dockercfg. -EBADMSG with what is wrong. */
int auth_file_parse(const char *text, size_t n, bool legacy, struct auth_file **ret, struct err *e);
/* Reads one; E names PATH. -ENOENT, -EACCES, -EFBIG, -EBADMSG. */
int auth_file_read(int dirfd, const char *path, bool legacy, struct auth_file **ret, struct err *e);
struct auth_file *auth_file_free(struct auth_file *f);
DEFINE_CLEANUP(struct auth_file *, auth_file_free)

/* NAME of the docker-credential-NAME to ask for HOST: F's, or NULL. *RET_STORE: the one for all hosts, not one of HOST's own. */
const char *auth_file_program(const struct auth_file *f, const char *host, bool *ret_store);

/*
 * What F itself has for PATH (may be "") at HOST: HOST/PATH, then what is above it, HOST, then keys that are URLs of HOST's. *RET NULL: nothing.
 * *RET_NAMED (may be NULL): there is an entry, with or without something in it. The source isn't set. -EBADMSG.
 */
int auth_file_find(const struct auth_file *f, const char *host, const char *path, struct credentials **ret,
	bool *ret_named, struct err *e);

/* FN for each entry with something in it; what FN returns but 0 ends it. */
int auth_file_each(const struct auth_file *f, int (*fn)(void *user, const char *key, const char *name),
	void *user, struct err *e);

/* Takes out what is HOST's as a whole, not that of a path below it. False: there was nothing. */
bool auth_file_remove(struct auth_file *f, const char *host);
/* Puts C in its stead. -EINVAL: a user with ':' in it can't be written. */
int auth_file_set(struct auth_file *f, const char *host, const struct credentials *c, struct err *e);
/* The file's new text; the caller's, for secret_free(). */
int auth_file_text(const struct auth_file *f, char **ret, struct err *e);

#endif
