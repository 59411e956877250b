/* Making, removing and renaming of directories; owners and modes of nodes. */
#include <errno.h>

#include "banger/cleanup.h"
#include "tree/state.h"

#define MODES_MAX 65536

void tree_mkdir(struct tree *t, const struct target *dir, const char *name, struct call *call)
{
	if (dir->attr || !dir->dir->make)
		call_done(call, -EPERM);
	else
		dir->dir->make(t, dir->row, name, call);
}

void tree_rmdir(struct tree *t, const struct target *dir, const char *name, struct call *call)
{
	struct target at;
	int r = tree_lookup(t, dir, name, &at);

	if (r < 0) {
		call_done(call, r);
		return;
	}
	/* A directory that comes with the object it stands in. */
	if (at.attr || at.dir != dir_types[dir->dir->child] || dir->dir->child == KIND_NONE) {
		if (!at.attr || S_ISDIR(at.attr->mode))
			r = dir->dir->removable ? dir->dir->removable(t, dir->row) : -EPERM;
		else
			r = -ENOTDIR;
		call_done(call, r);
		return;
	}
	if (!dir->dir->remove)
		call_done(call, -EPERM);
	else
		dir->dir->remove(t, dir->row, at.row, call);
}

void tree_rename(struct tree *t, const struct target *dir, const char *name, const struct target *new_dir,
	const char *new_name, struct call *call)
{
	struct target at;
	int r = tree_lookup(t, dir, name, &at);

	if (r < 0)
		call_done(call, r);
	else if (dir->node != new_dir->node || !dir->dir->rename || at.attr ||
		 at.dir != dir_types[dir->dir->child])
		call_done(call, -EPERM);
	else if (strcmp(name, new_name) == 0)
		call_done(call, 0);
	else
		dir->dir->rename(t, dir->row, at.row, new_name, call);
}

int tree_unlink(struct tree *t, const struct target *dir, const char *name)
{
	struct target at;
	int r = tree_lookup(t, dir, name, &at);

	if (r < 0)
		return r;
	if (!at.attr)
		return at.dir->is_link ? -EPERM : -EISDIR;
	return dir->dir->removable ? dir->dir->removable(t, dir->row) : -EPERM;
}

static struct store_mode *find_mode(const struct tree *t, uint64_t node)
{
	for (size_t i = 0; i < t->mode_count; i++)
		if (t->modes[i].node == node)
			return &t->modes[i];
	return NULL;
}

static int add_mode(void *user, const struct store_mode *row)
{
	struct tree *t = user;

	if (t->mode_count == t->mode_room) {
		size_t room = t->mode_room ? 2 * t->mode_room : 16;
		struct store_mode *modes =
			room > MODES_MAX ? NULL : reallocarray(t->modes, room, sizeof(*modes));

		if (!modes)
			return room > MODES_MAX ? -ENOSPC : -ENOMEM;
		t->modes = modes;
		t->mode_room = room;
	}
	t->modes[t->mode_count++] = *row;
	return 0;
}

void tree_modes_load(struct tree *t, struct err *e)
{
	store_mode_each(t->config.store, add_mode, t, e);
}

void tree_modes_apply(const struct tree *t, uint64_t node, struct stat *st)
{
	const struct store_mode *m = t->mode_count ? find_mode(t, node) : NULL;

	if (!m)
		return;
	st->st_mode = (st->st_mode & S_IFMT) | (m->mode & 07777);
	st->st_uid = m->uid;
	st->st_gid = m->gid;
}

struct mode_job {
	struct tree *t;
	struct store *store;
	struct store_mode row;
	uint64_t first, last;
};

static int mode_work(void *data, struct err *e)
{
	struct mode_job *j = data;

	return j->last ? store_mode_forget(j->store, j->first, j->last, e)
		       : store_mode_set(j->store, &j->row, e);
}

static void mode_done(void *data, int code, struct err *e)
{
	struct mode_job *j = data;

	if (code < 0)
		tree_log(j->t, "modes of nodes: %s", err_text(e));
	free(j);
}

static int mode_submit(struct tree *t, const struct mode_job *what)
{
	struct mode_job *j = malloc(sizeof(*j));
	int r;

	if (!j)
		return -ENOMEM;
	*j = *what;
	r = job_submit_serial(t->config.jobs, mode_work, mode_done, j, NULL);
	if (r < 0)
		free(j);
	return r;
}

int tree_chmod(struct tree *t, const struct target *at, unsigned mask, mode_t mode, uid_t uid, gid_t gid)
{
	struct store_mode *m = find_mode(t, at->node);
	struct stat st;
	int r = tree_stat(t, at, &st);

	if (r < 0)
		return r;
	if (at->dir->fleeting || at->dir->is_link)
		return -EPERM;
	if (!m) {
		r = add_mode(t, &(struct store_mode){at->node, st.st_mode & 07777, st.st_uid, st.st_gid});
		if (r < 0)
			return r;
		m = &t->modes[t->mode_count - 1];
	}
	if (mask & 1)
		m->mode = mode & 0777;
	if (mask & 2)
		m->uid = uid;
	if (mask & 4)
		m->gid = gid;
	return mode_submit(t, &(struct mode_job){.t = t, .store = t->config.store, .row = *m});
}

void tree_modes_forget(struct tree *t, uint64_t first, uint64_t last)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->mode_count; i++)
		if (t->modes[i].node < first || t->modes[i].node > last)
			t->modes[kept++] = t->modes[i];
	if (kept == t->mode_count)
		return;
	t->mode_count = kept;
	mode_submit(t, &(struct mode_job){.t = t, .store = t->config.store, .first = first, .last = last});
}
