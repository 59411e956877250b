#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "banger/cleanup.h"
#include "repo/conflict.h"

#define NAMED 3 /* of the files that are in the way */

struct question {
	bool *no;                         /* set when the answer is no */
	const struct prepared_repo *repo; /* whose HEAD was asked for; else NULL */
};

struct asking {
	const struct checkout *c;
	const struct prepared *before;
	struct question *questions;
	size_t count;
};

static int asking_begin(struct asking *a, const struct checkout *c, const struct difference *d, struct err *e)
{
	*a = (struct asking){.c = c, .before = d->before};
	a->questions = calloc(d->count + c->now->repo_count + 1, sizeof(*a->questions));
	return a->questions ? 0 : err_sys(e, -ENOMEM, "prepare");
}

/* Whether the guest's HEAD is where it may be moved on from: where it was brought to, or in what is brought. */
static bool is_ours(
	const struct asking *a, const struct prepared_repo *repo, const char *head, const char *names)
{
	const struct prepared_repo *before = prepared_repo_find(a->before, repo->prefix);

	/* Of an earlier prepare that was cut off: nothing was done there since. */
	if (!before)
		return strcmp(head, repo->head) == 0 && (!*names || strcmp(names, repo->names) == 0);
	if (strcmp(head, before->head) != 0 && strcmp(head, repo->head) != 0)
		return false;
	return strcmp(names, before->names) == 0 || !*names || checkout_contains(a->c, repo, names);
}

static void on_no(void *user, uint32_t number)
{
	struct asking *a = user;

	*a->questions[number].no = true;
}

static int on_head(void *user, uint32_t number, const char *head, const char *commit)
{
	struct asking *a = user;

	if (number >= a->count || !a->questions[number].repo)
		return -EPROTO;
	*a->questions[number].no = !is_ours(a, a->questions[number].repo, head, commit);
	return 0;
}

static int asking_end(struct asking *a, struct bring *b, struct err *e)
{
	static const struct bring_answers answers = {.no = on_no, .head = on_head};

	return a->count == 0 ? 0 : bring_answers(b, a->count, &answers, a, e);
}

/* What is asked for stays untouched where the repository hasn't moved on here. */
static bool moves(const struct prepared *before, const struct prepared_repo *repo)
{
	const struct prepared_repo *old = prepared_repo_find(before, repo->prefix);

	return !old || strcmp(old->head, repo->head) != 0 || strcmp(old->names, repo->names) != 0 ||
	       strcmp(old->index, repo->index) != 0;
}

static int ask_file(
	struct asking *a, const struct difference *d, struct change *c, struct bring *b, struct err *e)
{
	const struct filelist_entry *f = difference_entry(d, c), *old = difference_before(d, f->path);
	uint32_t flags = c->remove || S_ISDIR(f->mode) ? WORKSPACE_MAY_LACK : 0;
	uint8_t head[4 + WORKSPACE_ID] = {0};

	memcpy(head, &flags, 4);
	if (old && !S_ISDIR(old->mode))
		memcpy(head + 4, old->guest, WORKSPACE_ID);
	a->questions[a->count++].no = &c->in_way;
	return bring_say(b, WORKSPACE_CHECK, head, sizeof(head), f->path, strlen(f->path), e);
}

static int ask_head(
	struct asking *a, const struct prepared_repo *repo, bool *no, struct bring *b, struct err *e)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s.git", repo->prefix) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "prepare");
	}
	a->questions[a->count++] = (struct question){no, repo};
	return bring_say(b, WORKSPACE_HEAD, path, strlen(path), NULL, 0, e);
}

int conflict_ask(const struct checkout *c, struct difference *d, struct bring *b, bool *heads, struct err *e)
{
	struct asking a;
	int r = asking_begin(&a, c, d, e);

	for (size_t i = 0; i < d->count && r == 0; i++)
		r = ask_file(&a, d, &d->changes[i], b, e);
	for (size_t i = 0; i < c->now->repo_count && r == 0; i++)
		if (moves(d->before, &c->now->repos[i]))
			r = ask_head(&a, &c->now->repos[i], &heads[i], b, e);
	if (r == 0)
		r = asking_end(&a, b, e);
	free(a.questions);
	return r;
}

/* A file that goes, as it was brought, is not in the way of what comes below a folder of its name. */
static int clear_way(struct difference *d, struct err *e)
{
	for (size_t i = 0; i < d->count; i++) {
		struct change *c = &d->changes[i], *above;
		_cleanup_free_ char *path = NULL;

		if (!c->in_way || c->remove)
			continue;
		path = strdup(difference_entry(d, c)->path);
		if (!path)
			return err_sys(e, -ENOMEM, "prepare");
		for (char *slash; (slash = strrchr(path, '/'));) {
			*slash = '\0';
			above = difference_find(d, path);
			if (above && above->remove && !above->in_way)
				c->in_way = false;
		}
	}
	return 0;
}

/* Whether what is in the way is what was to come: then the work of both is the same, and it isn't. */
static int tell_compare(const struct checkout *c, const struct filelist_entry *f, struct bring *b,
	struct source_progress *progress, struct err *e)
{
	char target[WORKSPACE_PATH_MAX + 1];
	_cleanup_close_ int fd = -EBADF;
	bool changed;
	struct stat st;
	int n, r;

	r = bring_say(b, WORKSPACE_COMPARE, &f->mode, 4, f->path, strlen(f->path), e);
	if (r == 0 && S_ISLNK(f->mode)) {
		n = source_link(c->source_fd, f->path, target, &st);
		r = n > 0 ? bring_say(b, WORKSPACE_DATA, target, (size_t)n, NULL, 0, e) : 0;
	} else if (r == 0 && S_ISREG(f->mode)) {
		fd = source_open(c->source_fd, f->path, &st);
		r = fd >= 0 ? source_data(b, f->path, fd, &st, progress, &changed, e) : 0;
	}
	return r < 0 ? r : bring_close(b, e);
}

/* Links and files that are in the way, once more: by what is in them. */
static int ask_again(const struct checkout *c, struct difference *d, struct bring *b,
	struct source_progress *progress, struct err *e)
{
	struct asking a;
	int r = asking_begin(&a, c, d, e);

	for (size_t i = 0; i < d->count && r == 0; i++) {
		struct change *change = &d->changes[i];
		const struct filelist_entry *f = difference_entry(d, change);

		if (!change->in_way || change->remove || S_ISDIR(f->mode))
			continue;
		change->in_way = false;
		a.questions[a.count++].no = &change->in_way;
		r = tell_compare(c, f, b, progress, e);
	}
	if (r == 0)
		r = asking_end(&a, b, e);
	free(a.questions);
	return r;
}

/* Refuses to overwrite what the guest has changed, by name. */
static int refuse(const struct checkout *c, const struct difference *d, const bool *heads, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t n = 0, size = 0;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return err_sys(e, -ENOMEM, "prepare");
	for (size_t i = 0; i < d->count; i++)
		if (d->changes[i].in_way && n++ < NAMED)
			fprintf(out, "%s%s", n > 1 ? ", " : "", difference_entry(d, &d->changes[i])->path);
	for (size_t i = 0; i < c->now->repo_count; i++)
		if (heads[i] && n++ < NAMED)
			fprintf(out, "%s%s.git (it has commits or a branch of its own)", n > 1 ? ", " : "",
				c->now->repos[i].prefix);
	if (n > NAMED)
		fprintf(out, " and %zu more", n - NAMED);
	if (fclose(out) != 0)
		return err_sys(e, -ENOMEM, "prepare");
	return n == 0 ? 0
		      : err_set(e, -EEXIST,
				"what the guest has changed would be lost: %s: read workspace.patch first, "
				"or prepare force PATH",
				text);
}

int conflict_settle(const struct checkout *c, struct difference *d, struct bring *b, const bool *heads,
	struct source_progress *progress, struct err *e)
{
	int r = clear_way(d, e);

	if (r == 0)
		r = ask_again(c, d, b, progress, e);
	return r < 0 ? r : refuse(c, d, heads, e);
}
