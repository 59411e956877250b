/* A repository's files: what its index has, what differs, what isn't in it and isn't ignored; and the repositories in it. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "repo/checkout_scan.h"

#define REPOS_DEEP 16
#define REPOS_MAX  500

/* PATH below the repository, as it is in the checkout. The caller's. */
static char *whole(const struct scan *s, const char *path)
{
	char *ret;

	return asprintf(&ret, "%s%s", s->prefix, path) < 0 ? NULL : ret;
}

static int add_file(struct scan *s, const char *path, bool tracked, struct err *e)
{
	_cleanup_free_ char *full = whole(s, path);
	const char *name = strrchr(path, '/');

	if (strcmp(name ? name + 1 : path, ".gitattributes") == 0)
		s->attributes = true;
	return full ? scan_file(s, full, tracked, e) : err_sys(e, -ENOMEM, "%s", path);
}

/* "TAG MODE OID STAGE\tPATH", as `ls-files -v -s` says it. */
static int on_stage(struct scan *s, char *line, struct text *subs, struct err *e)
{
	char *path = strchr(line, '\t'), *mode = line + 2, *oid, *stage;

	if (!path || line[1] != ' ' || !(oid = strchr(mode, ' ')) || !(stage = strchr(oid + 1, ' ')))
		return err_set(e, -EPROTO, "git ls-files: what it says is not understood");
	*path++ = '\0';
	/* As `update-index --index-info` takes it. */
	*stage++ = '\0';
	*oid++ = '\0';
	if (text_add(&s->stages, mode, strlen(mode)) < 0 || text_add(&s->stages, " ", 1) < 0 ||
		text_add(&s->stages, oid, strlen(oid)) < 0 || text_add(&s->stages, " ", 1) < 0 ||
		text_add(&s->stages, stage, 1) < 0 || text_add(&s->stages, "\t", 1) < 0 ||
		text_add(&s->stages, path, strlen(path) + 1) < 0)
		return err_sys(e, -ENOMEM, "git");
	if (stage[0] != '0') {
		s->unmerged = true;
		if (text_add(&s->blobs, oid, strlen(oid)) < 0 || text_add(&s->blobs, "\n", 1) < 0)
			return err_sys(e, -ENOMEM, "git");
	}
	if ((line[0] == 'S' || line[0] == 's') && text_add(&s->skipped, path, strlen(path) + 1) < 0)
		return err_sys(e, -ENOMEM, "git");
	/* git was told not to look whether it has changed. */
	if ((line[0] == 'S' || islower((unsigned char)line[0])) &&
		text_add(&s->changed, path, strlen(path) + 1) < 0)
		return err_sys(e, -ENOMEM, "git");
	if (strcmp(mode, "160000") == 0)
		return text_add(subs, path, strlen(path) + 1) < 0 ? err_sys(e, -ENOMEM, "git") : 0;
	return add_file(s, path, true, e);
}

static int read_index(struct scan *s, struct text *subs, struct err *e)
{
	_cleanup_free_ char *out = NULL;
	size_t n;
	int r = git_run(&s->git, (const char *const[]){"ls-files", "-z", "-v", "-s", NULL}, NULL, 0, &out, &n,
		NULL, e);

	for (char *at = out; r == 0 && at < out + n;) {
		char *next = at + strlen(at) + 1;

		r = on_stage(s, at, subs, e);
		at = next;
	}
	return r;
}

/* What isn't in the index and isn't ignored; a repository of its own among them ends with a slash. */
static int read_others(struct scan *s, struct text *subs, struct err *e)
{
	_cleanup_free_ char *out = NULL;
	size_t n;
	int r = git_run(&s->git, (const char *const[]){"ls-files", "-z", "-o", "--exclude-standard", NULL},
		NULL, 0, &out, &n, NULL, e);

	for (char *at = out, *next; r == 0 && at < out + n; at = next) {
		size_t size = strlen(at);

		next = at + size + 1;
		if (size > 0 && at[size - 1] == '/') {
			at[size - 1] = '\0';
			r = text_add(subs, at, size) < 0 ? -ENOMEM : 0;
			continue;
		}
		r = add_file(s, at, false, e);
		if (r == 0 && text_add(&s->changed, at, size + 1) < 0)
			r = err_sys(e, -ENOMEM, "git");
	}
	return r;
}

static int read_changed(struct scan *s, struct err *e)
{
	_cleanup_free_ char *out = NULL;
	size_t n;
	int r = git_run(&s->git,
		(const char *const[]){"diff-files", "-z", "--name-only", "--no-ext-diff", "--no-textconv",
			"--ignore-submodules=all", NULL},
		NULL, 0, &out, &n, NULL, e);

	return r == 0 && text_add(&s->changed, out, n) < 0 ? err_sys(e, -ENOMEM, "git") : r;
}

static bool is_file(const struct scan *s, size_t i, const char *path)
{
	const char *whole_path = s->c->now->files.entries[i].path;
	size_t n = strlen(s->prefix);

	return strncmp(whole_path, s->prefix, n) == 0 && strcmp(whole_path + n, path) == 0;
}

/* "PATH filter VALUE", each with a NUL. */
static int read_filtered(struct scan *s, struct err *e)
{
	_cleanup_free_ char *out = NULL;
	struct text paths = {0};
	size_t n = 0, skip = strlen(s->prefix), i;
	int r = 0;

	if (!s->attributes)
		return 0;
	for (i = 0; i < s->c->now->files.count && r == 0; i++) {
		const struct filelist_entry *f = &s->c->now->files.entries[i];

		if (S_ISREG(f->mode) && strncmp(f->path, s->prefix, skip) == 0)
			r = text_add(&paths, f->path + skip, strlen(f->path + skip) + 1);
	}
	if (r == 0)
		r = git_run(&s->git, (const char *const[]){"check-attr", "-z", "--stdin", "filter", NULL},
			paths.data, paths.n, &out, &n, NULL, e);
	else
		err_sys(e, r, "git");
	free(paths.data);
	i = 0;
	for (char *at = out; r == 0 && at < out + n;) {
		char *path = at, *name = path + strlen(path) + 1,
		     *value = name < out + n ? name + strlen(name) + 1 : out + n;

		if (value >= out + n)
			break;
		at = value + strlen(value) + 1;
		/* In the order in which they were asked. */
		while (i < s->c->now->files.count && !is_file(s, i, path))
			i++;
		if (strcmp(value, "unspecified") == 0 || strcmp(value, "unset") == 0)
			continue;
		if (i < s->c->now->files.count)
			s->c->now->files.entries[i].filtered = true;
		if (text_add(&s->filtered, path, strlen(path) + 1) < 0)
			r = err_sys(e, -ENOMEM, "git");
	}
	return r;
}

/*
 * Files as REF has them are checked out to scratch, by an index of its own, and taken from there.
 */
static int check_out(struct scan *s, struct err *e)
{
	_cleanup_free_ char *commit = NULL, *index = NULL, *to = NULL, *spec = NULL;
	struct text subs = {0};
	int r;

	if (asprintf(&spec, "%s^{commit}", s->ref) < 0 || asprintf(&index, "%s/index", s->c->scratch) < 0 ||
		asprintf(&to, "--prefix=%s/tree/", s->c->scratch) < 0)
		return err_sys(e, -ENOMEM, "git");
	r = git_line(&s->git, (const char *const[]){"rev-parse", "-q", "--verify", spec, NULL}, &commit, e);
	if (r == 0 && !*commit)
		return err_set(e, -EINVAL, "%s has no commit, branch or tag '%s'", s->source, s->ref);
	if (r == 0 && mkdirat(s->c->scratch_fd, "tree", 0700) < 0 && errno != EEXIST)
		r = err_sys(e, -errno, "tree");
	if (r < 0)
		return r;
	s->git.index = index;
	r = git_run(&s->git, (const char *const[]){"read-tree", commit, NULL}, NULL, 0, NULL, NULL, NULL, e);
	if (r == 0)
		r = git_run(&s->git, (const char *const[]){"checkout-index", "-a", "-q", to, NULL}, NULL, 0,
			NULL, NULL, NULL, e);
	if (r == 0) {
		close_fd(s->c->source_fd);
		s->c->source_fd = openat(s->c->scratch_fd, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (s->c->source_fd < 0)
			r = err_sys(e, -errno, "tree");
	}
	if (r == 0)
		r = read_index(s, &subs, e);
	if (subs.n > 0)
		checkout_note(
			s->c, "left out: the submodules of %s: prepare without a ref brings them", s->ref);
	free(subs.data);
	s->git.index = NULL;
	return r;
}

static int each_sub(struct scan *s, const struct text *subs, struct err *e)
{
	int r = 0;

	for (const char *at = subs->data; r == 0 && at < subs->data + subs->n; at += strlen(at) + 1) {
		_cleanup_free_ char *path = whole(s, at), *prefix = NULL;
		_cleanup_close_ int dir = -EBADF;
		struct stat st;

		if (!path || asprintf(&prefix, "%s/", path) < 0) {
			prefix = NULL;
			return err_sys(e, -ENOMEM, "%s", at);
		}
		dir = io_open_beneath(s->c->source_fd, path, O_RDONLY | O_DIRECTORY);
		/* One that isn't checked out is an empty folder, and stays one. */
		if (dir < 0 || fstatat(dir, ".git", &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		r = scan_repo(s, prefix, e);
	}
	return r;
}

int scan_repo(struct scan *outer, const char *prefix, struct err *e)
{
	/* What belongs to one repository; counters, files and notes are the scan's. */
	struct scan s = {.c = outer->c,
		.op = outer->op,
		.git = outer->git,
		.before = outer->before,
		.ref = outer->ref,
		.source = outer->source,
		.depth = outer->depth + 1};
	struct text subs = {0};
	char *filters = NULL;
	int r = 0;

	/* The outer's are others'. */
	s.git.filters = NULL;
	s.git.filters_n = 0;
	if (s.depth > REPOS_DEEP || s.c->now->repo_count >= REPOS_MAX)
		return checkout_note(s.c, "left out: %s: too many repositories in each other", prefix);
	s.prefix = strdup(prefix);
	s.dir_fd = s.prefix ? io_open_beneath(s.c->source_fd, *prefix ? prefix : ".", O_RDONLY | O_DIRECTORY)
			    : -ENOMEM;
	if (s.dir_fd < 0)
		r = err_sys(e, s.dir_fd, "%s", prefix);
	s.git.dir_fd = s.dir_fd;
	if (r == 0)
		r = scan_place(&s, e);
	if (r == 0 && (r = git_filters(&s.git, &filters, &s.git.filters_n, e)) == 0)
		s.git.filters = filters;
	op_stage(s.op, "looking");
	if (r == 0 && *s.ref)
		r = check_out(&s, e);
	else if (r == 0 && (r = read_index(&s, &subs, e)) == 0 && (r = read_others(&s, &subs, e)) == 0 &&
		 (r = read_changed(&s, e)) == 0)
		r = read_filtered(&s, e);
	if (r == 0)
		r = scan_make_git(&s, e);
	if (r == 0)
		r = each_sub(&s, &subs, e);
	free(subs.data);
	free(s.stages.data);
	free(s.skipped.data);
	free(s.changed.data);
	free(s.filtered.data);
	free(filters);
	free(s.blobs.data);
	free(s.prefix);
	scan_place_clear(&s);
	close_fd(s.dir_fd);
	return r;
}
