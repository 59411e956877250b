#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/guest_config.h"
#include "banger/io.h"
#include "banger/proc.h"
#include "beneath.h"
#include "guest.h"
#include "repo.h"

#define LINE_MAX_  4096
#define CONFIG_MAX (1u << 20)
#define ENV_MAX    10
#define ARGS_MAX   24
#define OWN        "banger" /* in .git */

struct repo {
	const char *git;    /* the program */
	const char *prefix; /* "" or "PATH/" */
	const char *commit;
	char *folder; /* absolute */
	char *env[ENV_MAX + 1];
	size_t env_count;
	int dir_fd, own_fd; /* the folder; its .git/banger */
};

int repo_git(char **argv)
{
	char *args[ARGS_MAX * 4] = {(char *)GUEST_GIT "/lib/ld.so", (char *)"--library-path",
		(char *)GUEST_GIT "/lib", (char *)"--argv0", (char *)"git", (char *)GUEST_GIT "/lib/git"};
	size_t n = 6;

	for (size_t i = 1; argv[i] && n < ELEMENTSOF(args) - 1; i++)
		args[n++] = argv[i];
	/* A git that needs no loader came without one. */
	if (access(args[0], F_OK) == 0)
		execv(args[0], args);
	else
		execv(args[5], argv);
	guest_say("git: %s", strerror(errno));
	return 127;
}

static const char *find_git(void)
{
	static const char *const places[] = {
		"/usr/local/bin/git", "/usr/bin/git", "/bin/git", GUEST_GIT "/bin/git"};

	for (size_t i = 0; i < ELEMENTSOF(places); i++)
		if (access(places[i], X_OK) == 0)
			return places[i];
	return NULL;
}

static int set(struct repo *r, const char *name, const char *value)
{
	if (r->env_count >= ENV_MAX || asprintf(&r->env[r->env_count], "%s=%s", name, value) < 0)
		return -ENOMEM;
	r->env_count++;
	return 0;
}

/* Runs git with ARGS; its output goes to FD, or (negative) into *RET. Says what failed. */
static int run(struct repo *r, const char *const *args, int fd, char **ret)
{
	const char *argv[ARGS_MAX + 8] = {r->git, "-c", "core.fsmonitor=false", "-c",
		"core.hooksPath=/dev/null", "-c", "advice.addEmbeddedRepo=false"};
	struct proc_spec spec = PROC_SPEC_INIT;
	_cleanup_err_ struct err e = {0};
	size_t n = 7;
	int k;

	while (*args && n < ELEMENTSOF(argv) - 1)
		argv[n++] = *args++;
	spec.argv = argv;
	spec.env = (const char *const *)r->env;
	spec.stdout_fd = fd;
	spec.dir_fd = r->dir_fd;
	k = proc_run(&spec, ret, NULL, NULL, &e);
	if (k < 0)
		fprintf(stderr, "%s%s\n", r->prefix, err_text(&e));
	return k;
}

static int put(int dir, const char *name, const void *data, size_t n)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : io_write_full(fd, data, n);
}

/* The repository's own file NAME, where it has one, as ours. */
static int copy_of(struct repo *r, const char *name)
{
	_cleanup_free_ char *path = NULL, *data = NULL;
	_cleanup_close_ int fd = -EBADF;
	size_t n;
	int k;

	if (asprintf(&path, ".git/%s", name) < 0)
		return -ENOMEM;
	fd = io_open_beneath(r->dir_fd, path, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	k = io_read_fd(fd, CONFIG_MAX, &data, &n);
	return k < 0 ? k : put(r->own_fd, name, data, n);
}

/*
 * A folder that git takes for a repository: the real one's configuration and objects, an index that is ours, attributes under which files are what they are.
 */
static int open_own(struct repo *r)
{
	static const char head[] = "ref: refs/heads/none\n", attributes[] = "* -filter\n",
			  alternates[] = "../../objects\n";
	static const char *const folders[] = {"objects", "objects/info", "info", "refs"};
	_cleanup_close_ int git = io_open_beneath(r->dir_fd, ".git", O_RDONLY | O_DIRECTORY);
	int k;

	if (git < 0) {
		fprintf(stderr, "%s.git is not there any more: prepare again\n", r->prefix);
		return git;
	}
	if (mkdirat(git, OWN, 0700) < 0 && errno != EEXIST)
		return -errno;
	r->own_fd = io_open_beneath(git, OWN, O_RDONLY | O_DIRECTORY);
	if (r->own_fd < 0)
		return r->own_fd;
	if (flock(r->own_fd, LOCK_EX) < 0)
		return -errno;
	/* What a run that was killed has left, by which git would go no further. */
	unlinkat(r->own_fd, "index.lock", 0);
	/* What an earlier run has made of changed files. */
	k = beneath_remove(r->own_fd, "objects");
	for (size_t i = 0; i < ELEMENTSOF(folders) && k == 0; i++)
		if (mkdirat(r->own_fd, folders[i], 0700) < 0 && errno != EEXIST)
			k = -errno;
	if (k == 0)
		k = put(r->own_fd, "HEAD", head, sizeof(head) - 1);
	if (k == 0)
		k = put(r->own_fd, "info/attributes", attributes, sizeof(attributes) - 1);
	if (k == 0)
		k = put(r->own_fd, "objects/info/alternates", alternates, sizeof(alternates) - 1);
	if (k == 0)
		k = copy_of(r, "config");
	if (k == 0)
		k = copy_of(r, "info/exclude");
	if (k == 0)
		k = copy_of(r, "shallow");
	return k;
}

static int set_env(struct repo *r, bool own)
{
	_cleanup_free_ char *git_dir = NULL, *tree = NULL;
	const char *home = getenv("HOME");

	if (asprintf(&git_dir, "%s/.git%s", r->folder, own ? "/" OWN : "") < 0 ||
		asprintf(&tree, "%s", r->folder) < 0)
		return -ENOMEM;
	if (set(r, "PATH", GUEST_GIT "/bin:/usr/local/bin:/usr/bin:/bin") < 0 ||
		set(r, "HOME", home ? home : "/root") < 0 || set(r, "LC_ALL", "C.UTF-8") < 0 ||
		set(r, "GIT_DIR", git_dir) < 0 || set(r, "GIT_WORK_TREE", tree) < 0 ||
		set(r, "GIT_NO_REPLACE_OBJECTS", "1") < 0 || set(r, "GIT_OPTIONAL_LOCKS", "0") < 0)
		return -ENOMEM;
	/* Of a git that was brought: its other programs are itself. */
	return strncmp(r->git, GUEST_GIT, strlen(GUEST_GIT)) == 0 ? set(r, "GIT_EXEC_PATH", GUEST_GIT "/bin")
								  : 0;
}

/* The files as they are now, as a tree. */
static int write_tree(struct repo *r, char **ret)
{
	/* Of files that are as they were brought, what is known of them stays. Those that an earlier run has added may have changed since: -i. */
	int k = faccessat(r->own_fd, "index", F_OK, 0) == 0
			? run(r, (const char *const[]){"read-tree", "-i", "-m", r->commit, NULL}, -1, NULL)
			: run(r, (const char *const[]){"read-tree", r->commit, NULL}, -1, NULL);

	if (k == 0)
		k = run(r, (const char *const[]){"add", "-A", "--", ".", NULL}, -1, NULL);
	if (k == 0)
		k = run(r, (const char *const[]){"write-tree", NULL}, -1, ret);
	if (k == 0)
		(*ret)[strcspn(*ret, "\n")] = '\0';
	return k;
}

static int tell_patch(struct repo *r, const char *from, const char *to, const char *tree)
{
	/* The names of what was renamed would have no prefix. */
	return run(r,
		(const char *const[]){"diff-tree", "-r", "-p", "--binary", "--full-index", "--no-color",
			"--no-ext-diff", "--no-textconv", "--ignore-submodules=all",
			*r->prefix ? "--no-renames" : "-M", from, to, r->commit, tree, NULL},
		STDOUT_FILENO, NULL);
}

/* "A\tNAME", NAME in quotes where it holds what a line can't. */
static int tell_status(struct repo *r, const char *tree)
{
	_cleanup_free_ char *out = NULL;
	int k = run(r,
		(const char *const[]){"diff-tree", "-r", "--name-status", "--no-color",
			"--ignore-submodules=all", "--no-renames", r->commit, tree, NULL},
		-1, &out);
	char *line;

	for (char *rest = out; k == 0 && (line = strsep(&rest, "\n"));) {
		char *name = strchr(line, '\t');

		if (!name)
			continue;
		*name++ = '\0';
		printf("%s\t%s%s%s\n", line, *name == '"' ? "\"" : "", r->prefix,
			*name == '"' ? name + 1 : name);
	}
	return k == 0 && fflush(stdout) != 0 ? -errno : k;
}

static int differences(struct repo *r, bool patch)
{
	_cleanup_free_ char *tree = NULL, *from = NULL, *to = NULL;
	int k = open_own(r);

	if (k == 0)
		k = set_env(r, true);
	if (k == 0)
		k = write_tree(r, &tree);
	if (k == 0 && (asprintf(&from, "--src-prefix=a/%s", r->prefix) < 0 ||
			      asprintf(&to, "--dst-prefix=b/%s", r->prefix) < 0))
		k = -ENOMEM;
	if (k < 0)
		return k;
	k = patch ? tell_patch(r, from, to, tree) : tell_status(r, tree);
	beneath_remove(r->own_fd, "objects");
	return k;
}

/* All branches and HEAD, without what was brought. */
static int bundle(struct repo *r)
{
	_cleanup_free_ char *count = NULL;
	int k = set_env(r, false);

	if (k == 0)
		k = *r->commit
			    ? run(r,
				      (const char *const[]){"rev-list", "--count", "HEAD", "--branches",
					      "--not", r->commit, NULL},
				      -1, &count)
			    : run(r, (const char *const[]){"rev-list", "--count", "HEAD", "--branches", NULL},
				      -1, &count);
	if (k == 0 && strcmp(count, "0\n") == 0) {
		fputs("the guest has no commits of its own\n", stderr);
		return -ENODATA;
	}
	if (k < 0)
		return k;
	return *r->commit ? run(r,
				    (const char *const[]){"bundle", "create", "-q", "-", "HEAD", "--branches",
					    "--not", r->commit, NULL},
				    STDOUT_FILENO, NULL)
			  : run(r,
				    (const char *const[]){
					    "bundle", "create", "-q", "-", "HEAD", "--branches", NULL},
				    STDOUT_FILENO, NULL);
}

static int one(
	const char *what, const char *workspace, const char *git, const char *prefix, const char *commit)
{
	struct repo r = {.git = git, .prefix = prefix, .commit = commit, .dir_fd = -EBADF, .own_fd = -EBADF};
	int k = asprintf(&r.folder, "%s%s%s", workspace, *prefix ? "/" : "", prefix) < 0 ? -ENOMEM : 0;

	if (k < 0)
		return k;
	for (size_t n = strlen(r.folder); n > 1 && r.folder[n - 1] == '/'; n--)
		r.folder[n - 1] = '\0';
	r.dir_fd = open(r.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* A submodule that the guest has removed: its files are gone from the checkout's own point of view as well. */
	if (r.dir_fd < 0 && *prefix)
		k = 0;
	else if (r.dir_fd < 0)
		k = -errno;
	else
		k = strcmp(what, "bundle") == 0 ? bundle(&r) : differences(&r, strcmp(what, "patch") == 0);
	for (size_t i = 0; i < r.env_count; i++)
		free(r.env[i]);
	free(r.folder);
	close_fd(r.dir_fd);
	close_fd(r.own_fd);
	return k;
}

int repo_run(int argc, char **argv)
{
	const char *git = find_git();
	int k = 0;

	if (argc < 4 || argc % 2 != 0)
		return 2;
	if (!git)
		return REPO_NO_GIT;
	for (int i = 2; i + 1 < argc && k == 0; i += 2)
		k = one(argv[0], argv[1], git, argv[i], argv[i + 1]);
	if (k < 0 && k != -EIO && k != -ENODATA)
		fprintf(stderr, "%s\n", strerror(-k));
	return k == 0 ? 0 : k == -ENODATA ? REPO_NOTHING : 1;
}
