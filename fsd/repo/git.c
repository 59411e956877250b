#include <errno.h>
#include <sys/mman.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/proc.h"
#include "repo/git.h"

#define OUTPUT_MAX  (512u << 20)
#define FIXED_ENV   20 /* at most so many variables that are always there */
#define FILTERS_MAX 1000

/* Before the command, so that what a repository's configuration says of these doesn't count. */
static const char *const always[] = {"git", "--no-pager", "-c", "core.fsmonitor=false", "-c",
	"core.hooksPath=/dev/null", "-c", "core.quotePath=false", "-c", "core.untrackedCache=false", "-c",
	"core.splitIndex=false"};

/* What a filter runs, and whether git may go on without it. */
static const struct {
	const char *key, *value;
} harmless[] = {{"clean", ""}, {"smudge", ""}, {"process", ""}, {"required", "false"}};

static int add(char **env, size_t *n, const char *name, const char *value)
{
	if (!value)
		return 0;
	return asprintf(&env[*n], "%s=%s", name, value) < 0 ? -ENOMEM : (int)++*n;
}

/* Configuration that comes after all other: nothing is to be run for these filters. */
static int add_filters(const struct git *g, char **env, size_t *n)
{
	size_t count = 0;

	for (const char *at = g->filters; at < g->filters + g->filters_n; at += strlen(at) + 1)
		for (size_t i = 0; i < ELEMENTSOF(harmless); i++, count++) {
			if (asprintf(&env[*n], "GIT_CONFIG_KEY_%zu=%s.%s", count, at, harmless[i].key) < 0)
				return -ENOMEM;
			++*n;
			if (asprintf(&env[*n], "GIT_CONFIG_VALUE_%zu=%s", count, harmless[i].value) < 0)
				return -ENOMEM;
			++*n;
		}
	return asprintf(&env[*n], "GIT_CONFIG_COUNT=%zu", count) < 0 ? -ENOMEM : (int)++*n;
}

static char **free_env(char **env)
{
	for (size_t i = 0; env && env[i]; i++)
		free(env[i]);
	free(env);
	return NULL;
}

static int fill_env(const struct git *g, char **env)
{
	size_t n = 0;

	if (add(env, &n, "PATH", "/usr/local/bin:/usr/bin:/bin") < 0 || add(env, &n, "HOME", g->home) < 0 ||
		add(env, &n, "LC_ALL", "C.UTF-8") < 0 || add(env, &n, "GIT_OPTIONAL_LOCKS", "0") < 0 ||
		add(env, &n, "GIT_TERMINAL_PROMPT", "0") < 0 || add(env, &n, "GIT_NO_LAZY_FETCH", "1") < 0 ||
		/* Releases that don't know the one before fetch by no protocol. */
		add(env, &n, "GIT_ALLOW_PROTOCOL", "") < 0 ||
		add(env, &n, "GIT_NO_REPLACE_OBJECTS", "1") < 0 ||
		add(env, &n, "GIT_CEILING_DIRECTORIES", g->ceiling) < 0 ||
		add(env, &n, "GIT_INDEX_FILE", g->index) < 0 ||
		add(env, &n, "GIT_OBJECT_DIRECTORY", g->objects) < 0 ||
		add(env, &n, "GIT_ALTERNATE_OBJECT_DIRECTORIES", g->objects ? g->shared : NULL) < 0 ||
		/* Of the commit that stands for what was prepared: the same files make the same commit. */
		add(env, &n, "GIT_AUTHOR_NAME", "banger") < 0 ||
		add(env, &n, "GIT_AUTHOR_EMAIL", "banger@localhost") < 0 ||
		add(env, &n, "GIT_COMMITTER_NAME", "banger") < 0 ||
		add(env, &n, "GIT_COMMITTER_EMAIL", "banger@localhost") < 0 ||
		add(env, &n, "GIT_AUTHOR_DATE", "@1000000000 +0000") < 0 ||
		add(env, &n, "GIT_COMMITTER_DATE", "@1000000000 +0000") < 0)
		return -ENOMEM;
	return add_filters(g, env, &n);
}

static int make_env(const struct git *g, char ***ret)
{
	size_t count = 0;
	int r;

	for (const char *at = g->filters; at < g->filters + g->filters_n; at += strlen(at) + 1)
		count++;
	*ret = calloc(FIXED_ENV + 2 * ELEMENTSOF(harmless) * count + 2, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	r = fill_env(g, *ret);
	return r < 0 ? r : 0;
}

/* What a child reads from its standard input. */
static int input_file(const void *input, size_t n, int *ret)
{
	_cleanup_close_ int fd = memfd_create("git", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : io_write_full(fd, input, n);

	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	if (r == 0)
		*ret = TAKE_FD(fd);
	return r;
}

int git_run(const struct git *g, const char *const *args, const void *input, size_t n, char **ret,
	size_t *ret_n, int *ret_exit, struct err *e)
{
	const char *argv[ELEMENTSOF(always) + GIT_ARGS_MAX + 1];
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_err_ struct err mine = {0};
	_cleanup_close_ int in = -EBADF;
	_cleanup_free_ char *out = NULL;
	char **env = NULL;
	size_t count = ELEMENTSOF(always), size = 0;
	int exit_code = 0, r;

	memcpy(argv, always, sizeof(always));
	for (; *args && count < ELEMENTSOF(argv) - 1; args++)
		argv[count++] = *args;
	argv[count] = NULL;
	r = *args ? -E2BIG : make_env(g, &env);
	if (r == 0 && input)
		r = input_file(input, n, &in);
	spec.argv = argv;
	spec.env = (const char *const *)env;
	spec.stdin_fd = in;
	spec.dir_fd = g->dir_fd;
	spec.cancel_fd = g->cancel_fd;
	spec.max_output = OUTPUT_MAX;
	r = r < 0 ? err_sys(&mine, r, "git") : proc_run(&spec, &out, &size, &exit_code, &mine);
	free_env(env);
	if (r == -ENOENT)
		return err_set(e, -ENOENT, "git is not installed on the host: apt install git");
	if (ret_exit && (r == 0 || (r == -EIO && exit_code > 0 && exit_code < 128))) {
		*ret_exit = exit_code;
		r = 0;
	}
	if (r < 0) {
		err_wrap(&mine, "%s", argv[ELEMENTSOF(always)]);
		return err_move(e, &mine);
	}
	if (ret) {
		*ret = out ? TAKE_PTR(out) : strdup("");
		if (!*ret)
			return err_sys(e, -ENOMEM, "git");
		if (ret_n)
			*ret_n = size;
	}
	return 0;
}

/* "SCOPE", NUL, "filter.NAME.KEY", NUL. */
int git_filters(const struct git *g, char **ret, size_t *ret_n, struct err *e)
{
	_cleanup_free_ char *out = NULL;
	size_t n = 0, used = 0, count = 0;
	int exit_code, r = git_run(g,
			       (const char *const[]){"config", "-z", "--show-scope", "--name-only",
				       "--get-regexp", "^filter\\..*\\.(clean|smudge|process)$", NULL},
			       NULL, 0, &out, &n, &exit_code, e);

	if (r < 0)
		return r;
	for (char *at = out, *next; exit_code == 0 && at < out + n; at = next) {
		char *key = at + strlen(at) + 1, *dot = key < out + n ? strrchr(key, '.') : NULL;
		size_t size;

		if (!dot)
			return err_set(e, -EPROTO, "git config: what it says is not understood");
		next = key + strlen(key) + 1;
		if (strcmp(at, "local") != 0 && strcmp(at, "worktree") != 0)
			continue;
		if (++count > FILTERS_MAX)
			return err_set(e, -E2BIG, "its configuration has more than %d filters", FILTERS_MAX);
		*dot = '\0';
		size = (size_t)(dot - key) + 1;
		memmove(out + used, key, size);
		used += size;
	}
	*ret = TAKE_PTR(out);
	*ret_n = used;
	return 0;
}

int git_line(const struct git *g, const char *const *args, char **ret, struct err *e)
{
	char *out = NULL;
	int exit_code, r = git_run(g, args, NULL, 0, &out, NULL, &exit_code, e);

	if (r < 0)
		return r;
	out[exit_code == 0 ? strcspn(out, "\n") : 0] = '\0';
	*ret = out;
	return 0;
}
