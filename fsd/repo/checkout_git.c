/*
 * The repository that the guest gets: HEAD's history in one pack, the index, the commit that stands for all files as they are brought; made
 * in scratch, at the places where it will lie there. No hook, and no configuration but what names nothing to run.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "repo/checkout_scan.h"
#include "repo/config.h"

#define FILE_MAX (64u << 20)
#define OUT      "out"
#define MESSAGE  "The files as banger brought them"

struct make {
	struct scan *s;
	struct git git; /* with scratch for what it makes */
	const struct prepared_repo *before;
	unsigned number;
	char *head, *names, *index_tree, *tree, *commit;
	char *index, *work, *objects, *shared; /* absolute paths */
};

static void make_clear(struct make *m)
{
	free(m->head);
	free(m->names);
	free(m->index_tree);
	free(m->tree);
	free(m->commit);
	free(m->index);
	free(m->work);
	free(m->objects);
	free(m->shared);
}

static int run(struct make *m, const char *const *args, const struct text *input, char **ret, struct err *e)
{
	_cleanup_free_ char *out = NULL;
	int r = git_run(&m->git, args, input ? (input->data ? input->data : "") : NULL, input ? input->n : 0,
		&out, NULL, NULL, e);

	if (r == 0 && ret) {
		out[strcspn(out, "\n")] = '\0';
		free(*ret);
		*ret = TAKE_PTR(out);
	}
	return r;
}

/* What HEAD is, and what it names. */
static int find_head(struct make *m, struct err *e)
{
	const char *ref = *m->s->ref ? m->s->ref : "HEAD";
	_cleanup_free_ char *full = NULL, *spec = NULL;
	int r;

	if (asprintf(&spec, "%s^{commit}", ref) < 0) {
		spec = NULL;
		return err_sys(e, -ENOMEM, "git");
	}
	r = *m->s->ref
		    ? git_line(&m->git, (const char *const[]){"rev-parse", "--symbolic-full-name", ref, NULL},
			      &full, e)
		    : git_line(&m->git, (const char *const[]){"symbolic-ref", "-q", "HEAD", NULL}, &full, e);
	if (r == 0)
		r = git_line(&m->git, (const char *const[]){"rev-parse", "-q", "--verify", spec, NULL},
			&m->names, e);
	if (r < 0)
		return r;
	if (strncmp(full, "refs/heads/", 11) == 0 ? asprintf(&m->head, "ref: %s", full) < 0
						  : !(m->head = strdup(m->names)))
		return err_sys(e, -ENOMEM, "git");
	return 0;
}

static int make_places(struct make *m, struct err *e)
{
	const char *scratch = m->s->c->scratch;
	int r;

	if (asprintf(&m->index, "%s/index.%u", scratch, m->number) < 0 ||
		asprintf(&m->work, "%s/work.%u", scratch, m->number) < 0 ||
		asprintf(&m->objects, "%s/objects.%u", scratch, m->number) < 0)
		return err_sys(e, -ENOMEM, "git");
	if (mkdir(m->objects, 0700) < 0)
		return err_sys(e, -errno, "%s", m->objects);
	r = git_line(&m->s->git,
		(const char *const[]){"rev-parse", "--path-format=absolute", "--git-path", "objects", NULL},
		&m->shared, e);
	if (r == 0) {
		m->git.objects = m->objects;
		m->git.shared = m->shared;
	}
	return r;
}

int scan_copy_file(const char *from, const char *to, struct err *e)
{
	_cleanup_free_ char *data = NULL;
	_cleanup_close_ int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	size_t n;
	int r = fd < 0 ? err_sys(e, -errno, "%s", to)
		       : io_read_file(AT_FDCWD, from, FILE_MAX * 8, &data, &n, e);

	if (r == 0 && (r = io_write_full(fd, data, n)) < 0)
		err_sys(e, r, "%s", to);
	return r;
}

static int make_index(struct make *m, struct err *e)
{
	int r = scan_make_index(m->s, &m->git, m->index, m->work, &m->index_tree, e);

	m->git.index = m->index;
	return r;
}

static int make_tree(struct make *m, struct err *e)
{
	int r;

	m->git.index = *m->s->ref ? m->index : m->work;
	r = scan_make_tree(m->s, &m->git, &m->tree, e);
	m->git.index = m->index;
	return r;
}

static int make_commit(struct make *m, struct err *e)
{
	_cleanup_free_ char *own = NULL, *spec = NULL;
	int r = 0;

	if (asprintf(&spec, "%s^{tree}", m->names) < 0) {
		spec = NULL;
		return err_sys(e, -ENOMEM, "git");
	}
	if (*m->names)
		r = run(m, (const char *const[]){"rev-parse", "--verify", spec, NULL}, NULL, &own, e);
	if (r < 0)
		return r;
	if (*m->names && strcmp(own, m->tree) == 0) {
		m->commit = strdup(m->names);
		return m->commit ? 0 : err_sys(e, -ENOMEM, "git");
	}
	m->s->c->now->dirty = true;
	return *m->names ? run(m,
				   (const char *const[]){
					   "commit-tree", m->tree, "-p", m->names, "-m", MESSAGE, NULL},
				   NULL, &m->commit, e)
			 : run(m, (const char *const[]){"commit-tree", m->tree, "-m", MESSAGE, NULL}, NULL,
				   &m->commit, e);
}

/* PATH below the guest's repository, in scratch; the folders above it are made. The caller's. */
static int place(struct make *m, const char *path, char **ret, struct err *e)
{
	_cleanup_free_ char *full = NULL;

	if (asprintf(&full, "%s/" OUT "/%s.git/%s", m->s->c->scratch, m->s->prefix, path) < 0) {
		full = NULL;
		return err_sys(e, -ENOMEM, "git");
	}
	for (char *p = full + strlen(m->s->c->scratch) + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		if (mkdir(full, 0700) < 0 && errno != EEXIST)
			return err_sys(e, -errno, "%s", full);
	}
	*ret = TAKE_PTR(full);
	return 0;
}

static int put(struct make *m, const char *path, const char *data, size_t n, struct err *e)
{
	_cleanup_free_ char *full = NULL;
	_cleanup_close_ int fd = -EBADF;
	int r = place(m, path, &full, e);

	if (r < 0)
		return r;
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : io_write_full(fd, data, n);
	return r < 0 ? err_sys(e, r, "%s", path) : 0;
}

static int put_line(struct make *m, const char *path, const char *text, struct err *e)
{
	_cleanup_free_ char *line = NULL;
	int n = asprintf(&line, "%s\n", text);

	if (n < 0) {
		line = NULL;
		return err_sys(e, -ENOMEM, "git");
	}
	return put(m, path, line, (size_t)n, e);
}

/* Tags of the history that is brought, so that `git describe` says there what it says here; those that the guest has not had. */
static int put_tags(struct make *m, const char *since, struct err *e)
{
	_cleanup_free_ char *out = NULL, *merged = NULL, *not_merged = NULL;
	char *line;
	int r;

	if (!*m->names)
		return 0;
	if (asprintf(&merged, "--merged=%s", m->names) < 0 ||
		asprintf(&not_merged, "--no-merged=%s", since) < 0)
		return err_sys(e, -ENOMEM, "git");
	r = git_run(&m->git,
		(const char *const[]){"for-each-ref", "--format=%(objectname) %(refname)", merged,
			*since ? not_merged : "refs/tags/", "refs/tags/", NULL},
		NULL, 0, &out, NULL, NULL, e);
	if (r < 0 || !*out)
		return r;
	if (!*since)
		return put(m, "packed-refs", out, strlen(out), e);
	for (char *rest = out; r == 0 && (line = strsep(&rest, "\n"));) {
		char *name = strchr(line, ' ');

		if (name)
			*name++ = '\0';
		if (name && workspace_path_valid(name, strlen(name)))
			r = put_line(m, name, line, e);
	}
	return r;
}

/* A file of the repository's own, by its path below FOLDER. Where there is none, or a link, *RET is NULL. The caller's. */
static int read_own(const char *folder, const char *path, char **ret, size_t *ret_n, struct err *e)
{
	_cleanup_close_ int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -EBADF;

	*ret = NULL;
	*ret_n = 0;
	if (dir < 0)
		return err_sys(e, -errno, "%s", folder);
	fd = io_open_beneath(dir, path, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return 0;
	if (io_read_fd(fd, FILE_MAX, ret, ret_n) < 0)
		*ret = NULL;
	return 0;
}

/* Where a history that was cut ends. */
static int put_shallow(struct make *m, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r = read_own(m->s->common_dir, "shallow", &text, &n, e);

	return r < 0 || !text || n == 0 ? r : put(m, "shallow", text, n, e);
}

/* What is ignored by the user's own rules. */
static int read_global_excludes(struct make *m, char **ret, size_t *ret_n, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	int r = config_path(m->s, "core.excludesFile", &path, e);

	if (r == 0 && !*path && m->git.home) {
		free(path);
		if (asprintf(&path, "%s/.config/git/ignore", m->git.home) < 0) {
			path = NULL;
			return err_sys(e, -ENOMEM, "git");
		}
	}
	if (r < 0 || !*path || io_read_file(AT_FDCWD, path, FILE_MAX, ret, ret_n, NULL) < 0)
		*ret = NULL;
	return r;
}

static int put_excludes(struct make *m, struct err *e)
{
	_cleanup_free_ char *own = NULL, *global = NULL, *both = NULL;
	size_t n, global_n;
	int size, r = read_own(m->s->common_dir, "info/exclude", &own, &n, e);

	if (r == 0)
		r = read_global_excludes(m, &global, &global_n, e);
	if (r < 0 || (!own && !global))
		return r;
	size = asprintf(&both, "%s%s%s", own ? own : "", own && n > 0 && own[n - 1] != '\n' ? "\n" : "",
		global ? global : "");
	if (size < 0) {
		both = NULL;
		return err_sys(e, -ENOMEM, "git");
	}
	return put(m, "info/exclude", both, (size_t)size, e);
}

static bool is_known(struct make *m, const char *oid)
{
	int exit_code = 1;

	return *oid &&
	       git_run(&m->git, (const char *const[]){"cat-file", "-e", oid, NULL}, NULL, 0, NULL, NULL,
		       &exit_code, NULL) == 0 &&
	       exit_code == 0;
}

/* HEAD's history, what the index has and the files as they are brought, without what the guest had from the last time. */
static int put_pack(struct make *m, struct err *e)
{
	_cleanup_free_ char *folder = NULL, *revs = NULL;
	bool again = m->before && is_known(m, m->before->names);
	int n, r = place(m, "objects/pack/pack", &folder, e);

	if (r < 0)
		return r;
	n = asprintf(&revs, "%s%s%s\n%s%s%.*s%s%s%s", m->names, *m->names ? "\n" : "", m->commit,
		m->index_tree, *m->index_tree ? "\n" : "", (int)m->s->blobs.n,
		m->s->blobs.data ? m->s->blobs.data : "", again ? "^" : "", again ? m->before->names : "",
		again ? "\n" : "");
	if (n < 0) {
		revs = NULL;
		return err_sys(e, -ENOMEM, "git");
	}
	op_stage(m->s->op, "packing");
	/* What is packed already goes as it is; looking for deltas among the rest would cost more than they save. */
	return git_run(&m->git,
		(const char *const[]){"pack-objects", "-q", "--revs", "--non-empty", "--delta-base-offset",
			"--include-tag", "--window=0", folder, NULL},
		revs, (size_t)n, NULL, NULL, NULL, e);
}

static int put_index(struct make *m, struct err *e)
{
	_cleanup_free_ char *to = NULL;
	char *aside;
	int r = place(m, "index", &to, e);

	if (r == 0)
		r = scan_copy_file(m->index, to, e);
	if (r < 0 || !m->before)
		return r;
	/* What was staged in the guest is in the one before. */
	if (asprintf(&aside, "%s.git/index", m->s->prefix) < 0)
		aside = NULL;
	return scan_set_aside(m->s, aside) < 0 ? err_sys(e, -ENOMEM, "git") : 0;
}

static int put_all(struct make *m, struct err *e)
{
	const char *since = m->before && is_known(m, m->before->names) ? m->before->names : "";
	bool moved = !m->before || strcmp(m->before->head, m->head) != 0 ||
		     strcmp(m->before->names, m->names) != 0;
	_cleanup_free_ char *config = NULL;
	size_t n;
	int r = put_pack(m, e);

	if (r == 0)
		r = put_line(m, "refs/banger/prepared", m->commit, e);
	if (r == 0 && (moved || strcmp(m->before->index, m->index_tree) != 0 || !*m->index_tree))
		r = put_index(m, e);
	if (r < 0 || !moved)
		return r;
	r = config_for_guest(m->s, &config, &n, e);
	if (r == 0)
		r = put(m, "config", config, n, e);
	if (r == 0)
		r = put_line(m, "HEAD", *m->head ? m->head : m->names, e);
	if (r == 0 && *m->names && strncmp(m->head, "ref: ", 5) == 0 &&
		workspace_path_valid(m->head + 5, strlen(m->head + 5)))
		r = put_line(m, m->head + 5, m->names, e);
	if (r == 0)
		r = put_tags(m, since, e);
	if (r == 0)
		r = put_shallow(m, e);
	if (r == 0)
		r = put_excludes(m, e);
	return r;
}

int scan_make_git(struct scan *s, struct err *e)
{
	struct make m = {.s = s,
		.git = s->git,
		.before = prepared_repo_find(s->before, s->prefix),
		.number = (unsigned)s->c->now->repo_count};
	int r;

	filelist_sort(&s->c->now->files);
	if ((r = find_head(&m, e)) == 0 && (r = make_places(&m, e)) == 0 && (r = make_index(&m, e)) == 0 &&
		(r = make_tree(&m, e)) == 0)
		r = make_commit(&m, e);
	if (r == 0 &&
		(!m.before || strcmp(m.before->head, m.head) != 0 || strcmp(m.before->names, m.names) != 0 ||
			strcmp(m.before->index, m.index_tree) != 0 ||
			strcmp(m.before->commit, m.commit) != 0))
		r = put_all(&m, e);
	if (r == 0 && s->c->git_fd < 0)
		s->c->git_fd = openat(s->c->scratch_fd, OUT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0 &&
		prepared_add_repo(s->c->now, s->prefix, m.head, m.names, m.index_tree, m.tree, m.commit) < 0)
		r = err_sys(e, -ENOMEM, "git");
	make_clear(&m);
	return r;
}
