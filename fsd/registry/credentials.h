/*
 * Who to be for a registry: banger's own file, podman's, docker's, and docker-credential-* programs; in the order of containers/image's
 * config (design: facts on images 1.3). Files are read anew each time: a login elsewhere counts at once.
 *
 * Blocks (a helper program has 30 s): workers only.
 */
#ifndef BANGER_REGISTRY_CREDENTIALS_H
#define BANGER_REGISTRY_CREDENTIALS_H

#include "banger/cleanup.h"
#include "banger/err.h"
#include "job/op.h"

/* Where to look. Strings are borrowed, NULL: not there. */
struct credentials_places {
	int state_fd;              /* banger's own file, "auth.json" in docker's format, 0600 */
	const char *home;          /* the owner's home folder */
	const char *runtime_dir;   /* XDG_RUNTIME_DIR */
	const char *config_home;   /* XDG_CONFIG_HOME */
	const char *docker_config; /* DOCKER_CONFIG */
	const char *auth_file;     /* REGISTRY_AUTH_FILE: then no other but banger's own */
};

struct credentials {
	char *user, *password;
	char *identity_token; /* OAuth2 refresh token in the password's stead (user may be NULL or ""), or NULL */
	char *source;         /* the file or the program, for messages */
};

/*
 * For PATH ("library/alpine") at HOST ("docker.io"). *RET NULL: nobody in particular. A file that is there and can't be read or parsed is an
 * error that names it: to go on as nobody would tell the user nothing. -EACCES, -EFBIG (1 MiB), -EBADMSG; of programs: -EIO (it failed, or isn't
 * installed), -ETIMEDOUT, -EINTR (OP was cancelled).
 */
int credentials_find(const struct credentials_places *places, const char *host, const char *path,
	struct op *op, struct credentials **ret, struct err *e);
/* Wipes the secrets too. */
struct credentials *credentials_free(struct credentials *c);
DEFINE_CLEANUP(struct credentials *, credentials_free)

/* Into and out of banger's own file, replaced in one step. -EINVAL: no host, or nobody; a user with ':' in it. -ENOENT: nobody was logged in at HOST. */
int credentials_save(const struct credentials_places *places, const char *host, const struct credentials *c,
	struct err *e);
int credentials_forget(const struct credentials_places *places, const char *host, struct err *e);
/* FN for each host in banger's own file: the user's name, or "<token>". What FN returns but 0 ends it. */
int credentials_each(const struct credentials_places *places,
	int (*fn)(void *user, const char *host, const char *name), void *user, struct err *e);

#endif
