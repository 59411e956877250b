#include "registry/credential_program.h"

#include <sys/mman.h>

#include "banger/io.h"
#include "banger/proc.h"
#include "registry/secret.h"

#define PREFIX       "docker-credential-"
#define PLACES       "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define NAME_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
#define NOT_FOUND                                                                                            \
	"credentials not found in native keychain" /* docker-credential-helpers, credentials/error.go */
#define TOKEN_USER "<token>"                       /* Secret is an identity token */

enum {
	TIMEOUT_MSEC = 30000, /* a keychain may ask the user; nobody waits for ever */
	OUTPUT_MAX = 1 << 20,
	ENV_MAX = 8,
};

/* Where programs are looked for, and their own PATH. */
static int search_path(const struct credentials_places *places, char **ret)
{
	const char *path = getenv("PATH"), *home = places->home;
	int n;

	if (!path || !*path)
		path = "/usr/bin:/bin";
	if (home)
		n = asprintf(ret, "PATH=%s:" PLACES ":%s/.local/bin:%s/bin", path, home, home);
	else
		n = asprintf(ret, "PATH=%s:" PLACES, path);
	if (n < 0) {
		*ret = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* The first executable PROGRAM in the folders of LIST; folders that aren't absolute don't count: there is no "here". */
static int find_program(const char *list, const char *program, char **ret)
{
	while (*list) {
		size_t n = strcspn(list, ":");
		_cleanup_free_ char *path = NULL;

		if (*list == '/') {
			if (asprintf(&path, "%.*s/%s", (int)n, list, program) < 0) {
				path = NULL;
				return -ENOMEM;
			}
			if (access(path, X_OK) == 0) {
				*ret = TAKE_PTR(path);
				return 0;
			}
		}
		list += n + (list[n] == ':');
	}
	return -ENOENT;
}

static int add_env(char **env, size_t *n, const char *key, const char *value, const char *more)
{
	if (!value)
		return 0;
	if (asprintf(&env[*n], "%s=%s%s", key, value, more) < 0) {
		env[*n] = NULL;
		return -ENOMEM;
	}
	(*n)++;
	return 0;
}

/* A file that holds TEXT, at its beginning. */
static int text_fd(const char *text)
{
	_cleanup_close_ int fd = memfd_create("credential", MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = io_pwrite_full(fd, text, strlen(text), 0);
	return r < 0 ? r : TAKE_FD(fd);
}

static int run(const char *path, const char *program, const char *list, const char *server,
	const struct credentials_places *places, struct op *op, char **ret_output, size_t *ret_n,
	int *ret_exit, struct err *e)
{
	const char *const argv[] = {program, "get", NULL};
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_close_ int in = text_fd(server);
	char *env[ENV_MAX] = {(char *)list};
	size_t n = 1;
	int r;

	if (in < 0)
		return err_sys(e, in, "%s", program);
	r = add_env(env, &n, "HOME", places->home, "");
	if (r == 0)
		r = add_env(env, &n, "XDG_RUNTIME_DIR", places->runtime_dir, "");
	/* Where systemd has it: for the programs that ask the desktop's keychain. */
	if (r == 0 && places->runtime_dir)
		r = add_env(env, &n, "DBUS_SESSION_BUS_ADDRESS=unix:path", places->runtime_dir, "/bus");
	if (r == 0)
		r = add_env(env, &n, "XDG_CONFIG_HOME", places->config_home, "");
	if (r == 0)
		r = add_env(env, &n, "DOCKER_CONFIG", places->docker_config, "");
	if (r < 0)
		err_set(e, r, "out of memory");
	spec.program = path;
	spec.argv = argv;
	spec.env = (const char *const *)env;
	spec.stdin_fd = in;
	spec.max_output = OUTPUT_MAX;
	spec.cancel_fd = op_cancel_fd(op);
	spec.timeout_msec = TIMEOUT_MSEC;
	if (r == 0)
		r = proc_run(&spec, ret_output, ret_n, ret_exit, e);
	for (size_t i = 1; i < n; i++)
		free(env[i]);
	return r;
}

/* What a program that failed has said on stdout, where these programs say it: one line of plain letters. */
static void say_why(char *output, struct err *e)
{
	size_t n = strcspn(output, "\r\n");

	output[n] = '\0';
	for (char *p = output; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 127)
			*p = '?';
	if (n > 0)
		err_join(e, "%.200s", output);
}

static int take(const char *program, const char *text, size_t n, struct credentials **ret, struct err *e)
{
	_cleanup_(secret_json_freep) json_object *o = NULL;
	_cleanup_(credentials_freep) struct credentials *c = calloc(1, sizeof(*c));
	size_t user_n, secret_n;
	const char *user, *secret;
	int r;

	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	r = secret_json_parse(text, n, &o, e);
	if (r < 0) {
		err_wrap(e, "%s", program);
		return r;
	}
	user = secret_json_string(o, "Username", &user_n);
	secret = secret_json_string(o, "Secret", &secret_n);
	if (!user || !secret || strlen(user) != user_n || strlen(secret) != secret_n)
		return err_set(e, -EBADMSG, "%s: its answer lacks Username or Secret", program);
	if (!*user && !*secret)
		return 0;
	if (strcmp(user, TOKEN_USER) == 0) {
		c->identity_token = strdup(secret);
	} else {
		c->user = strdup(user);
		c->password = strdup(secret);
	}
	c->source = strdup(program);
	if (!c->source || (!c->identity_token && (!c->user || !c->password)))
		return err_set(e, -ENOMEM, "out of memory");
	*ret = TAKE_PTR(c);
	return 0;
}

int credential_program_get(const char *name, const char *server, const struct credentials_places *places,
	struct op *op, struct credentials **ret, struct err *e)
{
	_cleanup_free_ char *program = NULL, *list = NULL, *path = NULL;
	char *output = NULL;
	struct credentials *c = NULL;
	size_t n = 0;
	int r, code = -1;

	if (!*name || name[strspn(name, NAME_LETTERS)])
		return err_set(
			e, -EINVAL, "a program for credentials has a name of letters, digits, '_' and '-'");
	if (asprintf(&program, PREFIX "%s", name) < 0) {
		program = NULL;
		return err_set(e, -ENOMEM, "out of memory");
	}
	r = search_path(places, &list);
	if (r == 0)
		r = find_program(list + strlen("PATH="), program, &path);
	if (r == -ENOENT)
		return err_set(e, r, "%s is not installed", program);
	if (r < 0)
		return err_set(e, r, "out of memory");
	r = run(path, program, list, server, places, op, &output, &n, &code, e);
	if (r == -EIO && code == 1 && output && strncmp(output, NOT_FOUND, strlen(NOT_FOUND)) == 0) {
		err_clear(e);
		r = 0;
	} else if (r == -EIO && output) {
		say_why(output, e);
	} else if (r == 0) {
		r = take(program, output ? output : "", n, &c, e);
	}
	if (output)
		explicit_bzero(output, n);
	free(output);
	if (r == 0)
		*ret = c;
	return r;
}
