#include "registry/credentials.h"

#include <fcntl.h>
#include <pthread.h>

#include "banger/io.h"
#include "registry/auth_file.h"
#include "registry/credential_program.h"
#include "registry/host_name.h"
#include "registry/secret.h"

#define OWN_FILE "auth.json"
#define OWN_NAME "banger's " OWN_FILE

struct credentials *credentials_free(struct credentials *c)
{
	if (!c)
		return NULL;
	free(c->user);
	secret_free(c->password);
	secret_free(c->identity_token);
	free(c->source);
	free(c);
	return NULL;
}

/* What is looked for, and where. */
struct search {
	const struct credentials_places *places;
	const char *host, *path;
	struct op *op;
};

/* Asks docker-credential-NAME by all names that HOST may have been stored by. -ENOENT: no such program. */
static int ask_program(const struct search *s, const char *name, struct credentials **ret, struct err *e)
{
	/* docker's own name for docker.io, then podman's. */
	const char *servers[] = {"https://index.docker.io/v1/", s->host};
	struct credentials *c = NULL;
	int r = 0;

	for (size_t i = host_name_same("docker.io", strlen("docker.io"), s->host) ? 0 : 1;
		r == 0 && !c && i < ELEMENTSOF(servers); i++)
		r = credential_program_get(name, servers[i], s->places, s->op, &c, e);
	if (r == 0)
		*ret = c;
	return r == -EINVAL
		       ? err_set(e, -EBADMSG,
				 "a name of a program for credentials isn't letters, digits, '_' and '-'")
		       : r;
}

static int ask_file(
	const struct search *s, const struct auth_file *f, struct credentials **ret, struct err *e)
{
	_cleanup_(credentials_freep) struct credentials *c = NULL;
	bool store, named, missing = false;
	const char *program = auth_file_program(f, s->host, &store);
	int r = program ? ask_program(s, program, &c, e) : 0;

	if (r == -ENOENT) {
		missing = true;
		err_clear(e);
	} else if (r < 0) {
		return r;
	}
	if (!c) {
		r = auth_file_find(f, s->host, s->path, &c, &named, e);
		if (r < 0)
			return r;
	}
	/*
	 * A store for all hosts is often left over from a program that is gone. It is missed only where somebody is logged in: docker leaves an
	 * empty entry then.
	 */
	if (missing && !c && (!store || named))
		return err_set(e, -EIO,
			"docker-credential-%s, which has the credentials for %s, is not installed: "
			"install it, or take it out of the file",
			program, s->host);
	*ret = TAKE_PTR(c);
	return 0;
}

/* *RET NULL when the file isn't there or knows nobody. NAME: for messages. */
static int look_into(const struct search *s, int dirfd, const char *file, const char *name, bool legacy,
	struct credentials **ret, struct err *e)
{
	_cleanup_(auth_file_freep) struct auth_file *f = NULL;
	_cleanup_(credentials_freep) struct credentials *c = NULL;
	int r = auth_file_read(dirfd, file, legacy, &f, e);

	if (r == -ENOENT) {
		err_clear(e);
		return 0;
	}
	if (r < 0) {
		err_wrap(e, "credentials for %s", s->host);
		return r;
	}
	r = ask_file(s, f, &c, e);
	if (r < 0) {
		err_wrap(e, "%s", name);
		err_wrap(e, "credentials for %s", s->host);
		return r;
	}
	if (c && !c->source) {
		c->source = strdup(name);
		if (!c->source)
			return err_set(e, -ENOMEM, "out of memory");
	}
	*ret = TAKE_PTR(c);
	return 0;
}

/* The files of podman and docker, in the order of containers/image (pkg/docker/config, getAuthFilePaths). */
static int look_elsewhere(const struct search *s, struct credentials **ret, struct err *e)
{
	const struct credentials_places *p = s->places;
	const struct {
		const char *folder, *file;
		bool legacy;
	} files[] = {
		{p->runtime_dir, "containers/auth.json", false},
		{p->config_home, "containers/auth.json", false},
		{p->config_home ? NULL : p->home, ".config/containers/auth.json", false},
		{p->docker_config, "config.json", false},
		{p->docker_config ? NULL : p->home, ".docker/config.json", false},
		{p->home, ".dockercfg", true},
	};
	struct credentials *c = NULL;
	int r = 0;

	if (p->auth_file)
		return look_into(s, AT_FDCWD, p->auth_file, p->auth_file, false, ret, e);
	for (size_t i = 0; r == 0 && !c && i < ELEMENTSOF(files); i++) {
		_cleanup_free_ char *file = NULL;

		if (!files[i].folder)
			continue;
		if (asprintf(&file, "%s/%s", files[i].folder, files[i].file) < 0) {
			file = NULL;
			return err_set(e, -ENOMEM, "out of memory");
		}
		r = look_into(s, AT_FDCWD, file, file, files[i].legacy, &c, e);
	}
	if (r == 0)
		*ret = c;
	return r;
}

int credentials_find(const struct credentials_places *places, const char *host, const char *path,
	struct op *op, struct credentials **ret, struct err *e)
{
	const struct search s = {.places = places, .host = host, .path = path, .op = op};
	struct credentials *c = NULL;
	int r = look_into(&s, places->state_fd, OWN_FILE, OWN_NAME, false, &c, e);

	if (r == 0 && !c)
		r = look_elsewhere(&s, &c, e);
	if (r == 0)
		*ret = c;
	return r;
}

/* One change of banger's own file at a time: the daemon is the only process that writes it. */
static pthread_mutex_t own_lock = PTHREAD_MUTEX_INITIALIZER;

static int read_own(const struct credentials_places *places, struct auth_file **ret, struct err *e)
{
	int r = auth_file_read(places->state_fd, OWN_FILE, false, ret, e);

	if (r == -ENOENT) {
		err_clear(e);
		r = auth_file_parse("", 0, false, ret, e);
	}
	if (r < 0)
		err_wrap(e, "banger's credentials");
	return r;
}

static int write_own(const struct credentials_places *places, const struct auth_file *f, struct err *e)
{
	_cleanup_secret_ char *text = NULL;
	int r = auth_file_text(f, &text, e);

	if (r == 0 && strlen(text) > AUTH_FILE_MAX)
		r = err_set(e, -EFBIG, OWN_FILE ": longer than %u bytes", AUTH_FILE_MAX);
	if (r == 0)
		r = io_replace_file(places->state_fd, OWN_FILE, text, strlen(text), 0600, e);
	if (r < 0)
		err_wrap(e, "banger's credentials");
	return r;
}

/* C NULL: takes HOST out. */
static int change_own(
	const struct credentials_places *places, const char *host, const struct credentials *c, struct err *e)
{
	_cleanup_(auth_file_freep) struct auth_file *f = NULL;
	int r = read_own(places, &f, e);

	if (r < 0)
		return r;
	if (c)
		r = auth_file_set(f, host, c, e);
	else if (!auth_file_remove(f, host))
		r = err_set(e, -ENOENT, "nobody is logged in at %s", host);
	return r < 0 ? r : write_own(places, f, e);
}

int credentials_save(
	const struct credentials_places *places, const char *host, const struct credentials *c, struct err *e)
{
	int r;

	if (!c->identity_token && (!c->user || !*c->user || !c->password))
		return err_set(e, -EINVAL, "a user and a password, or an identity token, are needed");
	if (!host_name_valid(host))
		return err_set(e, -EINVAL, "'%.300s' isn't HOST or HOST:PORT", host);
	pthread_mutex_lock(&own_lock);
	r = change_own(places, host_name_canonical(host), c, e);
	pthread_mutex_unlock(&own_lock);
	return r;
}

int credentials_forget(const struct credentials_places *places, const char *host, struct err *e)
{
	int r;

	pthread_mutex_lock(&own_lock);
	r = change_own(places, host, NULL, e);
	pthread_mutex_unlock(&own_lock);
	return r;
}

int credentials_each(const struct credentials_places *places,
	int (*fn)(void *user, const char *host, const char *name), void *user, struct err *e)
{
	_cleanup_(auth_file_freep) struct auth_file *f = NULL;
	int r = read_own(places, &f, e);

	return r < 0 ? r : auth_file_each(f, fn, user, e);
}
