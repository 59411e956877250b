/*
 * All files of a repository as they are brought, as a tree: what changes in the guest are told against, and what tells whether a file's
 * contents are others the next time. Files may come and go meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "repo/checkout_scan.h"

#define PER_CALL 100
#define TRIES    10 /* while files come and go */

static struct filelist_entry *brought(const struct scan *s, const char *path)
{
	_cleanup_free_ char *whole = NULL;

	if (asprintf(&whole, "%s%s", s->prefix, path) < 0) {
		whole = NULL;
		return NULL;
	}
	return filelist_find(&s->c->now->files, whole);
}

/* Why git could not read it; NULL: it can. */
static const char *in_the_way(const struct scan *s, const struct filelist_entry *f)
{
	_cleanup_close_ int fd = io_open_beneath(
		s->c->source_fd, f->path, (S_ISLNK(f->mode) ? O_PATH : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd == -EACCES)
		return "permission denied";
	return fd < 0 || fstat(fd, &st) < 0 || (st.st_mode & S_IFMT) != (f->mode & S_IFMT)
		       ? "it went away meanwhile"
		       : NULL;
}

/* Of PATHS (each with its NUL) those that can't be read are brought no more, and said so; *RET: how many. */
static int leave_out(struct scan *s, struct text *paths, size_t *ret, struct err *e)
{
	size_t kept = 0;
	int r = 0;

	*ret = 0;
	for (size_t at = 0, size; at < paths->n && r == 0; at += size) {
		struct filelist_entry *f = brought(s, paths->data + at);
		const char *why = f ? in_the_way(s, f) : NULL;

		size = strlen(paths->data + at) + 1;
		if (f && !why) {
			memmove(paths->data + kept, paths->data + at, size);
			kept += size;
			continue;
		}
		++*ret;
		if (!f)
			continue;
		r = checkout_note(s->c, "left out: %s: %s", f->path, why);
		filelist_remove(&s->c->now->files, f);
	}
	paths->n = kept;
	return r < 0 ? err_sys(e, r, "prepare") : 0;
}

/* What differs from the index: hashed by git, as its rules of line ends say. */
static int add_changed(struct scan *s, const struct git *git, struct text *paths, struct err *e)
{
	(void)s;
	return paths->n == 0 ? 0
			     : git_run(git,
				       (const char *const[]){"update-index", "-z", "--add", "--remove",
					       "--replace", "--stdin", NULL},
				       paths->data, paths->n, NULL, NULL, NULL, e);
}

/* OIDS, a line each, are those of the paths from FIRST to END. */
static int add_stages(struct scan *s, char *oids, const char *first, const char *end, struct text *info)
{
	char *line;

	for (; first < end && (line = strsep(&oids, "\n")); first += strlen(first) + 1) {
		const struct filelist_entry *f = brought(s, first);
		_cleanup_free_ char *stage = NULL;
		int n = asprintf(&stage, "%s %s\t%s", f && f->mode & 0100 ? "100755" : "100644", line, first);

		if (n < 0) {
			stage = NULL;
			return -ENOMEM;
		}
		if (text_add(info, stage, (size_t)n + 1) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Of what a filter makes something else of, the bytes that are brought. */
static int add_raw(struct scan *s, const struct git *git, struct text *paths, struct err *e)
{
	const char *at = paths->data, *end = paths->data + paths->n;
	struct text info = {0};
	int r = 0;

	while (r == 0 && at < end) {
		const char *args[PER_CALL + 5] = {"hash-object", "-w", "--no-filters", "--"}, *first = at;
		_cleanup_free_ char *out = NULL;
		size_t n = 4;

		for (; n < PER_CALL + 4 && at < end; at += strlen(at) + 1)
			args[n++] = at;
		r = git_run(git, args, NULL, 0, &out, NULL, NULL, e);
		if (r == 0 && (r = add_stages(s, out, first, at, &info)) < 0)
			err_sys(e, r, "git");
	}
	if (r == 0 && info.n > 0)
		r = git_run(git, (const char *const[]){"update-index", "-z", "--index-info", NULL}, info.data,
			info.n, NULL, NULL, NULL, e);
	free(info.data);
	return r;
}

/* By ADD, until all of PATHS that can be read were. */
static int add_all(struct scan *s, const struct git *git, struct text *paths,
	int (*add)(struct scan *s, const struct git *git, struct text *paths, struct err *e), struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	size_t gone = 0;
	int r = -EAGAIN, k = 0;

	for (unsigned i = 0; r < 0 && k == 0 && i < TRIES; i++) {
		err_clear(&mine);
		r = add(s, git, paths, &mine);
		if (r < 0 && r != -EIO)
			break;
		k = r < 0 ? leave_out(s, paths, &gone, e) : 0;
	}
	return k < 0 ? k : r < 0 ? err_move(e, &mine) : 0;
}

/* What the index has and isn't brought. */
static int take_out(struct scan *s, const struct git *git, struct err *e)
{
	struct text gone = {0};
	int r = 0;

	for (const char *at = s->stages.data; r == 0 && at < s->stages.data + s->stages.n;
		at += strlen(at) + 1) {
		const char *path = strchr(at, '\t');

		if (path && strncmp(at, "160000", 6) != 0 && !brought(s, path + 1))
			r = text_add(&gone, path + 1, strlen(path + 1) + 1);
	}
	if (r < 0)
		err_sys(e, r, "git");
	if (r == 0 && gone.n > 0)
		r = git_run(git,
			(const char *const[]){"update-index", "-z", "--force-remove", "--stdin", NULL},
			gone.data, gone.n, NULL, NULL, NULL, e);
	free(gone.data);
	return r;
}

static int put_in(struct scan *s, const struct git *git, struct err *e)
{
	const struct filelist_entry *f;
	struct text add = {0};
	int r = 0;

	for (const char *at = s->changed.data; r == 0 && at < s->changed.data + s->changed.n;
		at += strlen(at) + 1)
		if ((f = brought(s, at)) && !f->filtered)
			r = text_add(&add, at, strlen(at) + 1);
	if (r < 0)
		err_sys(e, r, "git");
	if (r == 0)
		r = add_all(s, git, &add, add_changed, e);
	if (r == 0)
		r = add_all(s, git, &s->filtered, add_raw, e);
	free(add.data);
	return r;
}

/*
 * What tells a file's contents from others is what git calls them: written anew with the same, it is the same. With its size, for git may keep other line
 * ends than stand there. Half of the digits tell it well enough.
 */
static void name_contents(struct filelist_entry *f, const char *oid)
{
	const size_t size_at = 8; /* as workspace_id() has it */

	if (strlen(oid) < WORKSPACE_ID)
		return;
	memcpy(f->host, oid, WORKSPACE_ID);
	for (size_t i = size_at; i < size_at + sizeof(uint64_t); i++)
		f->host[i] ^= f->seen[i];
}

/* "MODE OID STAGE\tPATH", each with its NUL. */
static int name_all(struct scan *s, const struct git *git, struct err *e)
{
	_cleanup_free_ char *out = NULL;
	size_t n = 0;
	int r = git_run(git, (const char *const[]){"ls-files", "-z", "-s", NULL}, NULL, 0, &out, &n, NULL, e);

	for (char *at = out, *next; r == 0 && at < out + n; at = next) {
		char *oid = strchr(at, ' '), *path = strchr(at, '\t'), *end;
		struct filelist_entry *f;

		next = at + strlen(at) + 1;
		if (!oid || !path || !(end = strchr(oid + 1, ' ')) || end > path)
			return err_set(e, -EPROTO, "git ls-files: what it says is not understood");
		*end = '\0';
		f = brought(s, path + 1);
		if (f)
			name_contents(f, oid + 1);
	}
	return r;
}

int scan_make_tree(struct scan *s, const struct git *git, char **ret, struct err *e)
{
	int r = 0;

	/* A folder may be where a file was, and the other way round: what goes goes first. */
	if (!*s->ref && (r = take_out(s, git, e)) == 0)
		r = put_in(s, git, e);
	if (r == 0)
		r = name_all(s, git, e);
	if (r == 0)
		r = git_run(git, (const char *const[]){"write-tree", "--missing-ok", NULL}, NULL, 0, ret,
			NULL, NULL, e);
	if (r == 0)
		(*ret)[strcspn(*ret, "\n")] = '\0';
	return r;
}
