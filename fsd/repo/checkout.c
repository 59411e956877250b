/* The folder that is prepared: opened, told whether it is a checkout, walked where it is none. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "repo/checkout_scan.h"
#include "repo/head.h"
#include "repo/walk.h"

#define FOLDERS_DEEP 128
#define NOTES_MAX    200
#define FILES_MAX    4000000

int text_add(struct text *t, const char *data, size_t n)
{
	/* Nothing may be at no place. */
	if (n == 0)
		return 0;
	if (t->n + n > t->room) {
		size_t room = (t->n + n) * 2 + 4096;
		char *bigger = realloc(t->data, room);

		if (!bigger)
			return -ENOMEM;
		t->data = bigger;
		t->room = room;
	}
	memcpy(t->data + t->n, data, n);
	t->n += n;
	return 0;
}

static int add_line(char ***list, size_t *count, char *line)
{
	char **bigger = realloc(*list, (*count + 2) * sizeof(*bigger));

	if (!bigger || !line) {
		*list = bigger ? bigger : *list;
		free(line);
		return -ENOMEM;
	}
	*list = bigger;
	bigger[(*count)++] = line;
	bigger[*count] = NULL;
	return 0;
}

int scan_set_aside(struct scan *s, char *path)
{
	return add_line(&s->c->aside, &s->c->aside_count, path);
}

int checkout_note(struct checkout *c, const char *fmt, ...)
{
	va_list ap;
	char *line;
	int n;

	if (c->note_count >= NOTES_MAX)
		return 0;
	va_start(ap, fmt);
	n = vasprintf(&line, c->note_count == NOTES_MAX - 1 ? "more were left out" : fmt, ap);
	va_end(ap);
	return n < 0 ? -ENOMEM : add_line(&c->notes, &c->note_count, line);
}

/* Does a link at PATH, whose target is TARGET, lead out of the folder? */
static bool leads_out(const char *path, const char *target)
{
	int depth = 0;

	if (*target == '/')
		return true;
	for (const char *p = path; (p = strchr(p, '/')); p++)
		depth++;
	for (const char *p = target; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.')
			depth--;
		else if (n > 0 && !(n == 1 && p[0] == '.'))
			depth++;
		if (depth < 0)
			return true;
		p += n + (p[n] == '/');
	}
	return false;
}

int scan_file(struct scan *s, const char *path, bool tracked, struct err *e)
{
	_cleanup_close_ int fd = io_open_beneath(s->c->source_fd, path, O_PATH | O_NOFOLLOW);
	char target[WORKSPACE_PATH_MAX + 1];
	uint8_t id[WORKSPACE_ID];
	struct stat st;
	ssize_t n;
	int r;

	/* Deleted, or not checked out; or a link has taken the place of a folder. */
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP || fd == -EXDEV)
		return 0;
	if (fd == -EACCES)
		return checkout_note(s->c, "left out: %s: permission denied", path);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, fd < 0 ? fd : -errno, "%s", path);
	if (s->c->now->files.count >= FILES_MAX)
		return err_set(e, -E2BIG, "more than %d files", FILES_MAX);
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		break;
	case S_IFLNK:
		n = readlinkat(fd, "", target, sizeof(target) - 1);
		if (n <= 0)
			return 0;
		target[n] = '\0';
		/* A tracked link is content, as git has it; it isn't followed here, and in the guest it leads to the guest's. */
		if (!tracked && leads_out(path, target))
			return checkout_note(
				s->c, "left out: %s: a link that leads out, to %s", path, target);
		break;
	case S_IFDIR:
		/* Of a folder that is no checkout; in one, a folder in a file's place. */
		if (s->git.dir_fd >= 0)
			return 0;
		break;
	default:
		return checkout_note(s->c, "left out: %s: a %s", path,
			S_ISSOCK(st.st_mode)   ? "socket"
			: S_ISFIFO(st.st_mode) ? "pipe"
					       : "device");
	}
	workspace_id(&st, id);
	if (S_ISREG(st.st_mode))
		s->c->now->bytes += (uint64_t)st.st_size;
	r = filelist_add(&s->c->now->files, path, st.st_mode & (S_IFMT | 0777), id);
	if (r == -EINVAL)
		return checkout_note(s->c, "left out: a file whose path is too long");
	if (r < 0)
		return err_sys(e, r, "%s", path);
	return op_check(s->op, e);
}

static int found(void *user, const char *path, const struct stat *st, struct err *e)
{
	int r = scan_file(user, path, false, e);

	return r < 0 ? r : S_ISDIR(st->st_mode);
}

static int missed(void *user, const char *path, int code, struct err *e)
{
	struct scan *s = user;

	if (!*path)
		return err_sys(e, code, "%s", s->source);
	switch (code) {
	case -EACCES:
		return checkout_note(s->c, "left out: %s: permission denied", path);
	case -ENAMETOOLONG:
		return checkout_note(s->c, "left out: %s: folders too deep", path);
	/* It went away meanwhile, or is no folder any more. */
	case -ENOENT:
	case -ENOTDIR:
	case -ELOOP:
		return 0;
	default:
		return err_sys(e, code, "%s", path);
	}
}

/* All that is below a folder which is no checkout. */
static int scan_folder(struct scan *s, struct err *e)
{
	static const struct walk_events events = {.found = found, .missed = missed};

	return walk_folder(s->c->source_fd, FOLDERS_DEEP, &events, s, e);
}

static int open_source(struct scan *s, struct err *e)
{
	struct stat st;

	s->c->source_fd = open(s->source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->c->source_fd < 0)
		return err_sys(e, -errno, "%s", s->source);
	/* A folder of a worktree or a submodule has a file of that name. */
	s->c->now->is_git = fstatat(s->c->source_fd, ".git", &st, AT_SYMLINK_NOFOLLOW) == 0;
	return 0;
}

static int look(struct scan *s, struct err *e)
{
	int r = open_source(s, e);

	if (r < 0)
		return r;
	if (s->c->now->is_git)
		return scan_repo(s, "", e);
	if (*s->ref)
		return err_set(e, -EINVAL, "%s is no git checkout: it has no %s", s->source, s->ref);
	return scan_folder(s, e);
}

static char *path_of_fd(int fd)
{
	char link[32], path[WORKSPACE_PATH_MAX + 1];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	return n > 0 ? strndup(path, (size_t)n) : NULL;
}

static void cut_slashes(char *path)
{
	for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
}

/* The folder above. */
static void cut_last(char *path)
{
	char *slash;

	cut_slashes(path);
	slash = strrchr(path, '/');
	if (slash)
		slash[slash == path] = '\0';
}

int checkout_look(const char *source, const char *ref, const struct prepared *before, int scratch_fd,
	const char *home, struct op *op, struct checkout *ret, struct err *e)
{
	_cleanup_free_ char *ceiling = strdup(source), *path = strdup(source);
	struct checkout c = {.source_fd = -EBADF, .git_fd = -EBADF, .scratch_fd = scratch_fd};
	struct scan s = {.c = &c, .op = op, .before = before, .ref = ref, .source = path};
	int r;

	s.git = (struct git){
		.dir_fd = -EBADF, .cancel_fd = op_cancel_fd(op), .home = home, .ceiling = ceiling};
	c.now = prepared_new(source, ref);
	c.scratch = path_of_fd(scratch_fd);
	c.home = home ? strdup(home) : NULL;
	if (!ceiling || !path || !c.now || !c.scratch) {
		checkout_clear(&c);
		return err_sys(e, -ENOMEM, "%s", source);
	}
	cut_slashes(path);
	cut_last(ceiling);
	c.now->when = io_wall_usec() / 1000000;
	r = look(&s, e);
	if (r < 0) {
		checkout_clear(&c);
		return r;
	}
	filelist_sort(&c.now->files);
	c.now->file_count = c.now->files.count;
	*ret = c;
	return 0;
}

void checkout_clear(struct checkout *c)
{
	for (size_t i = 0; i < c->aside_count; i++)
		free(c->aside[i]);
	for (size_t i = 0; i < c->note_count; i++)
		free(c->notes[i]);
	free(c->aside);
	free(c->notes);
	free(c->scratch);
	free(c->home);
	close_fd(c->source_fd);
	close_fd(c->git_fd);
	prepared_free(c->now);
	*c = (struct checkout){.source_fd = -EBADF, .git_fd = -EBADF, .scratch_fd = -EBADF};
}

bool checkout_contains(const struct checkout *c, const struct prepared_repo *repo, const char *commit)
{
	_cleanup_free_ char *folder = NULL;
	_cleanup_close_ int fd = -EBADF;
	struct git git = {.cancel_fd = -EBADF, .home = c->home};
	size_t n = strlen(commit);
	int exit_code = 1;

	if (strspn(commit, "0123456789abcdef") != n || (n != 40 && n != 64) || !*repo->names ||
		asprintf(&folder, "%s/%s", c->now->source, repo->prefix) < 0)
		return false;
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	git.dir_fd = fd;
	git.ceiling = c->now->source;
	return fd >= 0 &&
	       git_run(&git, (const char *const[]){"merge-base", "--is-ancestor", commit, repo->names, NULL},
		       NULL, 0, NULL, NULL, &exit_code, NULL) == 0 &&
	       exit_code == 0;
}

int checkout_head(const char *source, const char *ref, const char *home, char **ret, struct err *e)
{
	_cleanup_close_ int fd = open(source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *ceiling = strdup(source), *spec = NULL;
	struct git git = {.dir_fd = fd, .cancel_fd = -EBADF, .home = home, .ceiling = ceiling};

	if (fd < 0)
		return err_sys(e, -errno, "%s", source);
	if (!*ref && head_read(fd, ret) == 0)
		return 0;
	if (!ceiling || asprintf(&spec, "%s^{commit}", *ref ? ref : "HEAD") < 0) {
		spec = NULL;
		return err_sys(e, -ENOMEM, "%s", source);
	}
	cut_last(ceiling);
	return git_line(&git, (const char *const[]){"rev-parse", "-q", "--verify", spec, NULL}, ret, e);
}
