#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "banger/array.h"
#include "banger/cleanup.h"
#include "banger/io.h"
#include "repo/conflict.h"
#include "repo/send.h"
#include "repo/walk.h"

#define FOLDERS_DEEP 64

struct send {
	struct checkout *c;
	struct difference difference;
	bool *heads; /* of each repository: the guest's is another one */
	/* Whose states the guest tells, in their order: indices into the list, SIZE_MAX: nobody's. */
	size_t *sent;
	size_t sent_count, sent_room;
	struct source_progress progress;
	struct send_result *result;
	struct bring bring;
};

/* It has gone since it was looked at. What is there stays as it is: the next time it counts as removed, or is brought. */
static int note_gone(struct send *s, size_t at)
{
	struct filelist_entry *f = &s->c->now->files.entries[at];
	const struct filelist_entry *old = difference_before(&s->difference, f->path);

	memset(f->host, 0, sizeof(f->host));
	if (old)
		memcpy(f->guest, old->guest, sizeof(f->guest));
	return checkout_note(s->c, "left out: %s: it went away meanwhile", f->path);
}

/* AT: of the list, as *ST says that it is now. */
static int note_sent(struct send *s, size_t at, const struct stat *st, struct err *e)
{
	uint8_t now[WORKSPACE_ID];

	workspace_id(st, now);
	/* Others than those that were looked at: the next time they are brought again. */
	if (at != SIZE_MAX && memcmp(now, s->c->now->files.entries[at].seen, WORKSPACE_ID) != 0)
		memset(s->c->now->files.entries[at].host, 0, WORKSPACE_ID);
	if (ARRAY_GROW(s->sent, s->sent_count, s->sent_room) < 0)
		return err_sys(e, -ENOMEM, "prepare");
	s->sent[s->sent_count++] = at;
	return 0;
}

/* One plain file below DIR, as PATH in the guest; AT: its place in the list. */
static int put_file(struct send *s, int dir, const char *path, uint32_t mode, size_t at, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	bool changed = false;
	struct stat st;
	int r;

	fd = source_open(dir, path, &st);
	if (fd < 0)
		return at == SIZE_MAX ? err_sys(e, fd, "%s", path) : note_gone(s, at);
	r = bring_open(&s->bring, path, mode, st.st_mtim, e);
	if (r == 0)
		r = source_data(&s->bring, path, fd, &st, &s->progress, &changed, e);
	if (r == 0)
		r = bring_close(&s->bring, e);
	if (r == 0 && changed && at != SIZE_MAX) {
		memset(s->c->now->files.entries[at].host, 0, WORKSPACE_ID);
		r = checkout_note(
			s->c, "%s was written to while it was read: prepare again brings it again", path);
	}
	return r < 0 ? r : note_sent(s, at, &st, e);
}

static int put_link(struct send *s, const char *path, size_t at, struct err *e)
{
	uint8_t head[4 + WORKSPACE_PATH_MAX + 1];
	struct stat st;
	int n = source_link(s->c->source_fd, path, (char *)head + 4, &st), r;
	uint32_t size = (uint32_t)n;

	if (n < 0)
		return note_gone(s, at);
	memcpy(head, &size, 4);
	r = bring_say(&s->bring, WORKSPACE_LINK, head, 4 + size, path, strlen(path), e);
	return r < 0 ? r : note_sent(s, at, &st, e);
}

static int put_change(struct send *s, const struct change *c, struct err *e)
{
	const struct filelist_entry *f = difference_entry(&s->difference, c);
	uint32_t mode = f->mode & 07777;

	if (S_ISDIR(f->mode))
		return bring_say(&s->bring, WORKSPACE_FOLDER, &mode, 4, f->path, strlen(f->path), e);
	if (S_ISLNK(f->mode))
		return put_link(s, f->path, c->at, e);
	return put_file(s, s->c->source_fd, f->path, mode, c->at, e);
}

/* What the guest's user may have made his own is brought once. */
static bool is_his(const char *path)
{
	static const char *const names[] = {"config", "packed-refs", "exclude"};
	const char *name = strrchr(path, '/') + 1;

	for (size_t i = 0; i < ELEMENTSOF(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static int put_git_file(void *user, const char *path, const struct stat *st, struct err *e)
{
	struct send *s = user;

	if (S_ISDIR(st->st_mode))
		return 1;
	return put_file(
		s, s->c->git_fd, path, 0644 | (is_his(path) ? WORKSPACE_UNLESS_THERE : 0), SIZE_MAX, e);
}

static int miss_git_file(void *user, const char *path, int code, struct err *e)
{
	(void)user;
	return err_sys(e, code, "%s", path);
}

/* The repositories, from scratch: whatever is there is to be at that place in the guest. */
static int put_git(struct send *s, struct err *e)
{
	static const struct walk_events events = {.found = put_git_file, .missed = miss_git_file};

	return s->c->git_fd < 0 ? 0 : walk_folder(s->c->git_fd, FOLDERS_DEEP, &events, s, e);
}

/* A branch that the guest has gone on with keeps its commits under another name. */
static int set_aside(struct send *s, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < s->c->now->repo_count && r == 0; i++) {
		const struct prepared_repo *repo = &s->c->now->repos[i];
		_cleanup_free_ char *path = NULL;

		if (!s->heads[i] || strncmp(repo->head, "ref: ", 5) != 0)
			continue;
		if (asprintf(&path, "%s.git/%s", repo->prefix, repo->head + 5) < 0) {
			path = NULL;
			return err_sys(e, -ENOMEM, "prepare");
		}
		r = bring_say(&s->bring, WORKSPACE_SET_ASIDE, path, strlen(path), NULL, 0, e);
	}
	for (size_t i = 0; i < s->c->aside_count && r == 0; i++)
		r = bring_say(
			&s->bring, WORKSPACE_SET_ASIDE, s->c->aside[i], strlen(s->c->aside[i]), NULL, 0, e);
	return r;
}

static int take_states(struct send *s, struct err *e)
{
	uint8_t(*states)[WORKSPACE_ID] = calloc(s->sent_count + 1, sizeof(*states));
	int r = states ? bring_end(&s->bring, states, s->sent_count, e) : err_sys(e, -ENOMEM, "prepare");

	for (size_t i = 0; i < s->sent_count && r == 0; i++)
		if (s->sent[i] != SIZE_MAX)
			memcpy(s->c->now->files.entries[s->sent[i]].guest, states[i], WORKSPACE_ID);
	free(states);
	return r;
}

static int bring_all(struct send *s, struct err *e)
{
	struct difference *d = &s->difference;
	int r = 0;

	op_stage(s->progress.op, "bringing");
	/* Deepest first, and all before what may take their places. */
	for (size_t i = d->count; i-- > 0 && r == 0;)
		if (d->changes[i].remove) {
			const char *path = difference_entry(d, &d->changes[i])->path;

			r = bring_say(&s->bring, WORKSPACE_REMOVE, path, strlen(path), NULL, 0, e);
			s->result->removed++;
		}
	for (size_t i = 0; i < d->count && r == 0; i++)
		if (!d->changes[i].remove) {
			r = put_change(s, &d->changes[i], e);
			s->result->files++;
		}
	if (r == 0)
		r = set_aside(s, e);
	if (r == 0)
		r = put_git(s, e);
	return r < 0 ? r : take_states(s, e);
}

static int send_all(struct send *s, const struct prepared *before, bool force, int sock, struct err *e)
{
	int r = difference_make(s->c->now, before, &s->difference);

	s->heads = calloc(s->c->now->repo_count + 1, sizeof(*s->heads));
	if (r < 0 || !s->heads)
		return err_sys(e, -ENOMEM, "prepare");
	s->progress.total = s->c->now->bytes;
	r = bring_begin(&s->bring, sock, force ? WORKSPACE_FORCE : 0, e);
	op_stage(s->progress.op, "comparing");
	if (r == 0)
		r = conflict_ask(s->c, &s->difference, &s->bring, s->heads, e);
	if (r == 0 && !force)
		r = conflict_settle(s->c, &s->difference, &s->bring, s->heads, &s->progress, e);
	s->progress.done = 0;
	return r < 0 ? r : bring_all(s, e);
}

int checkout_send(struct checkout *c, const struct prepared *before, bool force, int sock, struct op *op,
	struct send_result *ret, struct err *e)
{
	struct send *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_sys(e, -ENOMEM, "prepare");
	*ret = (struct send_result){0};
	s->c = c;
	s->progress.op = op;
	s->result = ret;
	r = send_all(s, before, force, sock, e);
	ret->bytes = s->progress.done;
	difference_clear(&s->difference);
	free(s->sent);
	free(s->heads);
	free(s);
	return r;
}
