/*
 * The index that the guest's repository gets: the entries that were read, and of files that are as it has them what the user's own index knows of them. Sizes and
 * times are the same in the guest (config.c: core.checkStat): without it, git there would read every file again before its first answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "banger/cleanup.h"
#include "repo/checkout_scan.h"

static int run(const struct git *git, const char *const *args, const struct text *input, struct err *e)
{
	return git_run(git, args, input ? (input->data ? input->data : "") : NULL, input ? input->n : 0, NULL,
		NULL, NULL, e);
}

static int skip_worktree(const struct scan *s, const struct git *git, struct err *e)
{
	return s->skipped.n == 0 ? 0
				 : run(git,
					   (const char *const[]){
						   "update-index", "-z", "--skip-worktree", "--stdin", NULL},
					   &s->skipped, e);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The entries of files that may differ from theirs, for `update-index --index-info`: nothing is known of them. */
static int changed_entries(const struct scan *s, struct text *ret)
{
	_cleanup_free_ const char **changed = NULL;
	size_t count = 0, n = 0;
	int r = 0;

	for (const char *at = s->changed.data; at < s->changed.data + s->changed.n; at += strlen(at) + 1)
		count++;
	changed = calloc(count + 1, sizeof(*changed));
	if (!changed)
		return -ENOMEM;
	for (const char *at = s->changed.data; n < count; at += strlen(at) + 1)
		changed[n++] = at;
	qsort(changed, count, sizeof(*changed), by_name);
	for (const char *at = s->stages.data; r == 0 && at < s->stages.data + s->stages.n;
		at += strlen(at) + 1) {
		const char *path = strchr(at, '\t') + 1;

		if (bsearch(&path, changed, count, sizeof(*changed), by_name))
			r = text_add(ret, at, strlen(at) + 1);
	}
	return r;
}

/* The user's index as KNOWN, with its time: an entry that isn't older than that is one that git doesn't trust. -ENOENT: there is none. */
static int copy_own(const struct scan *s, const char *known, struct err *e)
{
	_cleanup_free_ char *own = NULL;
	struct stat st;
	int r;

	if (asprintf(&own, "%s/index", s->git_dir) < 0) {
		own = NULL;
		return err_sys(e, -ENOMEM, "git");
	}
	if (lstat(own, &st) < 0)
		return err_sys(e, -errno, "%s", own);
	r = scan_copy_file(own, known, e);
	if (r == 0 && utimensat(AT_FDCWD, known, (struct timespec[]){st.st_atim, st.st_mtim}, 0) < 0)
		r = err_sys(e, -errno, "%s", known);
	return r;
}

/*
 * TREE's entries as an index at KNOWN, as the user's own has them where it has the same ones (read-tree -m). It may be gone on with meanwhile, and a git may refuse
 * what is in it: no more is lost then than time.
 */
static int make_known(
	const struct scan *s, struct git git, const char *tree, const char *known, struct err *e)
{
	struct text entries = {0};
	int r = copy_own(s, known, e);

	git.index = known;
	if (r == 0)
		r = run(&git, (const char *const[]){"read-tree", "-m", "--no-sparse-checkout", tree, NULL},
			NULL, e);
	if (r == 0 && (r = changed_entries(s, &entries)) < 0)
		err_sys(e, r, "git");
	if (r == 0 && entries.n > 0)
		r = run(&git, (const char *const[]){"update-index", "-z", "--index-info", NULL}, &entries, e);
	free(entries.data);
	return r == 0 ? skip_worktree(s, &git, e) : r;
}

/* In place of the one at INDEX, which has the same entries. */
static int know_files(
	const struct scan *s, const struct git *git, const char *index, const char *tree, struct err *e)
{
	_cleanup_err_ struct err why = {0};
	_cleanup_free_ char *known = NULL;
	int r;

	if (asprintf(&known, "%s.known", index) < 0) {
		known = NULL;
		return err_sys(e, -ENOMEM, "git");
	}
	r = make_known(s, *git, tree, known, &why);
	if (r == -EINTR || r == -ENOMEM)
		return err_move(e, &why);
	if (r < 0)
		return 0;
	return rename(known, index) < 0 ? err_sys(e, -errno, "%s", index) : 0;
}

int scan_make_index(struct scan *s, const struct git *with, const char *index, const char *work, char **ret,
	struct err *e)
{
	_cleanup_free_ char *tree = NULL;
	struct git git = *with;
	int r;

	git.index = index;
	r = run(&git, (const char *const[]){"read-tree", "--empty", NULL}, NULL, e);
	if (r == 0 && s->stages.n > 0)
		r = run(&git, (const char *const[]){"update-index", "-z", "--index-info", NULL}, &s->stages,
			e);
	/* What isn't checked out counts there too. */
	if (r == 0)
		r = scan_copy_file(index, work, e);
	if (r == 0)
		r = skip_worktree(s, &git, e);
	if (r == 0 && s->unmerged)
		tree = strdup("");
	else if (r == 0)
		r = git_run(&git, (const char *const[]){"write-tree", "--missing-ok", NULL}, NULL, 0, &tree,
			NULL, NULL, e);
	if (r == 0 && !tree)
		r = err_sys(e, -ENOMEM, "git");
	if (r == 0)
		tree[strcspn(tree, "\n")] = '\0';
	/* Files of a ref are in no index of the user's. */
	if (r == 0 && *tree && !*s->ref)
		r = know_files(s, &git, index, tree, e);
	if (r == 0)
		*ret = TAKE_PTR(tree);
	return r;
}
