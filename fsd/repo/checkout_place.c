/*
 * Where a repository lies: what of it is outside of the checkout is read only where it is git's own way to have it there (a worktree's, a
 * submodule's), and names the checkout back; else whoever made the checkout would say which of the user's repositories a guest gets.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "repo/checkout_scan.h"

#define PATH_LINE_MAX (WORKSPACE_PATH_MAX + 2)

static bool is_below(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* PATH as it is without links, relative to FOLDER. NULL: there is none. The caller's. */
static char *real_path(const char *folder, const char *path)
{
	_cleanup_free_ char *full = NULL;

	if (*path == '/')
		return realpath(path, NULL);
	if (asprintf(&full, "%s/%s", folder, path) < 0) {
		full = NULL;
		return NULL;
	}
	return realpath(full, NULL);
}

bool scan_is_inside(const struct scan *s, const char *path)
{
	_cleanup_free_ char *real = real_path(s->top, path);

	return real && (is_below(real, s->root) || is_below(real, s->common_dir));
}

/* The folder's own path, no link in it. The caller's. */
static char *real_of_fd(int fd)
{
	char link[32];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return realpath(link, NULL);
}

static bool is_same_place(const char *folder, const char *path, const char *wanted)
{
	_cleanup_free_ char *real = real_path(folder, path);

	return real && strcmp(real, wanted) == 0;
}

/* A worktree's says where its ".git" is. */
static bool is_worktree(const struct scan *s)
{
	_cleanup_close_ int fd = open(s->git_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *line = NULL, *above = NULL, *file = NULL;

	if (fd < 0 || io_read_file(fd, "gitdir", PATH_LINE_MAX, &line, NULL, NULL) < 0 ||
		asprintf(&above, "%s/worktrees", s->common_dir) < 0)
		return false;
	if (asprintf(&file, "%s/.git", s->top) < 0) {
		file = NULL;
		return false;
	}
	line[strcspn(line, "\n")] = '\0';
	return is_below(s->git_dir, above) && is_same_place(s->git_dir, line, file);
}

/* A submodule's, or one that somebody has put elsewhere, says where its files are. */
static int is_files_own(const struct scan *s, bool *ret, struct err *e)
{
	_cleanup_free_ char *line = NULL;
	int r = git_line(&s->git, (const char *const[]){"config", "--local", "--get", "core.worktree", NULL},
		&line, e);

	*ret = r == 0 && *line && strcmp(s->git_dir, s->common_dir) == 0 &&
	       is_same_place(s->git_dir, line, s->top);
	return r;
}

/* "true", what is between the files' top and here (nothing), the repository, and what it shares with others. */
static int take_answers(struct scan *s, char *out, struct err *e)
{
	char *line[4], *rest = out;

	for (size_t i = 0; i < ELEMENTSOF(line); i++) {
		line[i] = strsep(&rest, "\n");
		if (!line[i] || (i > 0 && !rest))
			return err_set(e, -EPROTO, "%s: where its repository lies is not understood", s->top);
		if (i == 0 && strcmp(line[0], "true") != 0)
			return err_set(e, -EINVAL, "%s: git has no files checked out there", s->source);
	}
	if (*line[1])
		return err_set(e, -EINVAL,
			"%s: its core.worktree says that its files are elsewhere: git config --unset "
			"core.worktree",
			s->top);
	s->git_dir = realpath(line[2], NULL);
	s->common_dir = realpath(line[3], NULL);
	return s->git_dir && s->common_dir && !*rest ? 0 : err_sys(e, -errno, "%s", line[2]);
}

static int refuse(const struct scan *s, const char *what, struct err *e)
{
	return err_set(e, -EPERM,
		"%s: its %s outside, and that isn't brought: git clone --no-local %s CLONE, and "
		"prepare CLONE",
		s->top, what, s->top);
}

static int check_alternates(struct scan *s, struct err *e)
{
	static const char key[] = "alternate: ";
	_cleanup_free_ char *out = NULL;
	int r = git_run(
		&s->git, (const char *const[]){"count-objects", "-v", NULL}, NULL, 0, &out, NULL, NULL, e);
	char *line;

	for (char *rest = out; r == 0 && (line = strsep(&rest, "\n"));)
		if (strncmp(line, key, sizeof(key) - 1) == 0 && !scan_is_inside(s, line + sizeof(key) - 1))
			r = refuse(s, "objects (of objects/info/alternates) are", e);
	return r;
}

/* Whether FOLDER of the objects, or what is in it, is a link. */
static int check_links(struct scan *s, int objects, const char *folder, struct err *e)
{
	int fd = io_open_beneath(objects, folder, O_RDONLY | O_DIRECTORY), r = 0;
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	struct stat st;

	if (!dir) {
		close_fd(fd);
		return fd == -ELOOP ? refuse(s, "objects are links, which may lead", e) : 0;
	}
	while (r == 0 && (entry = readdir(dir))) {
		if (entry->d_type == DT_LNK ||
			(entry->d_type == DT_UNKNOWN &&
				fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
				S_ISLNK(st.st_mode)))
			r = refuse(s, "objects are links, which may lead", e);
		else if (strcmp(folder, ".") == 0 && entry->d_name[0] != '.' && entry->d_type != DT_REG)
			r = check_links(s, objects, entry->d_name, e);
	}
	return r;
}

static int check_objects(struct scan *s, struct err *e)
{
	_cleanup_close_ int common = open(s->common_dir, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -EBADF;

	if (common < 0)
		return err_sys(e, -errno, "%s", s->common_dir);
	fd = io_open_beneath(common, "objects", O_PATH | O_DIRECTORY);
	if (fd < 0)
		return refuse(s, "objects are", e);
	return check_links(s, fd, ".", e);
}

static int check_index(struct scan *s, struct err *e)
{
	_cleanup_close_ int fd = open(s->git_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return err_sys(e, -errno, "%s", s->git_dir);
	return fstatat(fd, "index", &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode)
		       ? refuse(s, "index is", e)
		       : 0;
}

int scan_place(struct scan *s, struct err *e)
{
	_cleanup_free_ char *out = NULL;
	_cleanup_err_ struct err mine = {0};
	bool is_linked;
	int r;

	s->root = real_of_fd(s->c->source_fd);
	s->top = real_of_fd(s->dir_fd);
	if (!s->root || !s->top)
		return err_sys(e, -errno, "%s", s->source);
	r = git_run(&s->git,
		(const char *const[]){"rev-parse", "--is-inside-work-tree", "--show-prefix",
			"--path-format=absolute", "--git-dir", "--git-common-dir", NULL},
		NULL, 0, &out, NULL, NULL, &mine);
	if (r == -EIO && strstr(err_text(&mine), "safe.directory"))
		return err_set(e, -EPERM,
			"%s: git trusts no repository of another user's: git config --global --add "
			"safe.directory %s",
			s->top, s->top);
	if (r < 0)
		return err_move(e, &mine);
	r = take_answers(s, out, e);
	if (r < 0)
		return r;
	is_linked = (is_below(s->git_dir, s->root) && is_below(s->common_dir, s->root)) || is_worktree(s);
	if (!is_linked)
		r = is_files_own(s, &is_linked, e);
	if (r == 0 && !is_linked)
		return refuse(s, "repository is", e);
	if (r == 0)
		r = check_index(s, e);
	if (r == 0)
		r = check_objects(s, e);
	return r < 0 ? r : check_alternates(s, e);
}

void scan_place_clear(struct scan *s)
{
	free(s->root);
	free(s->top);
	free(s->git_dir);
	free(s->common_dir);
}
