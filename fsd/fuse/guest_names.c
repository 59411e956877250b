/* Names in a guest, and what is known of its files. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "banger/cleanup.h"
#include "fuse/guest.h"
#include "tree/node.h"

#define LINK_MAX_BYTES 4096

/* The answer is that there is no such name, and that the kernel may keep that. */
static void absent(struct ask *a)
{
	struct fuse_entry_param none = {.entry_timeout = guest_absent_timeout(a)};

	if (none.entry_timeout > 0) {
		fuse_reply_entry(a->req, &none);
		ask_free(a);
	} else {
		ask_fail(a, -ENOENT);
	}
}

static void on_looked_up(void *user, int code, const struct agent_attr *attr)
{
	if (code == -ENOENT) {
		guest_found(user, 0, NULL);
		absent(user);
	} else {
		ask_on_entry(user, code, attr);
	}
}

/* A name of which is known what there is. False: it is not, or the file is being written to from here. */
static bool known_already(struct ask *a)
{
	struct fuse_entry_param entry = {0};
	struct agent_attr attr;
	uint64_t node, usec;

	if (!guest_named(a, &node, &attr, &usec) || (node && behind_has(a->s, node)))
		return false;
	if (node == 0) {
		absent(a);
		return true;
	}
	entry.ino = node;
	entry.generation = attr.generation;
	entry.attr_timeout = (double)usec / 1000000;
	entry.entry_timeout = guest_entry_timeout(a, &attr);
	ask_stat(a, &attr, &entry.attr);
	fuse_reply_entry(a->req, &entry);
	ask_free(a);
	return true;
}

void guest_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct agent *agent;
	struct ask *a = ask_new(req, parent, &agent);

	if (!a)
		return;
	a->names[0] = agent_name_hash(name);
	/* A name that is too long is told from one that isn't there. */
	if (strlen(name) <= NAME_MAX && known_absent(guest_known(a->cache), parent, name))
		absent(a);
	else if (!known_already(a))
		ask_sent(a, files_lookup(agent, a->file, name, on_looked_up, a, &a->request));
}

void guest_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);
	struct agent_attr attr;
	struct stat st;

	(void)fi;
	if (!a)
		return;
	if (known_get(guest_known(a->cache), ino, &attr)) {
		ask_on_attr(a, 0, &attr);
	} else if (behind_attr(a->s, ino, &attr)) {
		ask_stat(a, &attr, &st);
		fuse_reply_attr(req, &st, 0);
		ask_free(a);
	} else {
		ask_sent(a, files_getattr(agent, a->file, ask_on_attr, a, &a->request));
	}
}

static void on_attr_set(void *user, int code, const struct agent_attr *attr)
{
	guest_itself_changed_in_root(user);
	ask_on_attr(user, code, attr);
}

void guest_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int what, struct fuse_file_info *fi)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);
	struct files_change change = {.atime = {.tv_nsec = UTIME_OMIT}, .mtime = {.tv_nsec = UTIME_OMIT}};

	(void)fi;
	if (!a)
		return;
	if (what & FUSE_SET_ATTR_MODE) {
		change.valid |= AGENT_SET_MODE;
		change.mode = st->st_mode & 07777;
	}
	if (what & FUSE_SET_ATTR_UID) {
		change.valid |= AGENT_SET_UID;
		change.uid = ask_uid_there(a->s, st->st_uid);
	}
	if (what & FUSE_SET_ATTR_GID) {
		change.valid |= AGENT_SET_GID;
		change.gid = ask_gid_there(a->s, st->st_gid);
	}
	if (what & FUSE_SET_ATTR_SIZE) {
		change.valid |= AGENT_SET_SIZE;
		change.size = (uint64_t)st->st_size;
	}
	if (what & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)) {
		change.valid |= AGENT_SET_ATIME;
		change.atime = st->st_atim;
		if (what & FUSE_SET_ATTR_ATIME_NOW)
			change.atime.tv_nsec = UTIME_NOW;
	}
	if (what & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) {
		change.valid |= AGENT_SET_MTIME;
		change.mtime = st->st_mtim;
		if (what & FUSE_SET_ATTR_MTIME_NOW)
			change.mtime.tv_nsec = UTIME_NOW;
	}
	known_changing(guest_known(a->cache), ino);
	if (behind_setattr(a, agent, &change))
		return;
	behind_changed(a->s, ino);
	/* Cut off again, what the guest has written since would be lost. */
	if (change.valid & AGENT_SET_SIZE)
		agent_once(agent, a->s->unique);
	ask_sent(a, files_setattr(agent, a->file, &change, on_attr_set, a, &a->request));
}

static void on_link(void *user, int code, const void *data, size_t n)
{
	_cleanup_free_ char *text = NULL;
	struct ask *a = user;

	if (code == 0 && (n == 0 || n >= LINK_MAX_BYTES || memchr(data, '\0', n)))
		code = -EPROTO;
	if (code == 0 && !(text = strndup(data, n)))
		code = -ENOMEM;
	if (code < 0) {
		ask_fail(a, code);
		return;
	}
	fuse_reply_readlink(a->req, text);
	ask_free(a);
}

void guest_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	if (a)
		ask_sent(a, files_readlink(agent, a->file, on_link, a, &a->request));
}

/* What is asked for makes (MADE) or removes a name in the folder NODE. */
struct ask *change_new(fuse_req_t req, uint64_t node, const char *name, bool makes, struct agent **ret_agent)
{
	struct ask *a = ask_new(req, node, ret_agent);

	if (!a)
		return NULL;
	agent_once(*ret_agent, a->s->unique);
	known_changing(guest_known(a->cache), node);
	guest_name_changing(a, a->file, agent_name_hash(name));
	a->changes = known_changes(guest_known(a->cache));
	if (makes)
		known_name(guest_known(a->cache), node, name);
	else
		behind_names(a->s);
	a->names[a->dir_count] = agent_name_hash(name);
	a->dir_nodes[a->dir_count] = node;
	a->dirs[a->dir_count++] = a->file;
	return a;
}

void guest_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct agent *agent;
	struct ask *a = change_new(req, parent, name, true, &agent);

	if (a)
		ask_sent(a, files_mknod(agent, a->file, name, mode, (uint32_t)rdev, ask_owner(a),
				    ask_on_entry, a, &a->request));
}

void guest_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct agent *agent;
	struct ask *a = change_new(req, parent, name, true, &agent);

	if (!a)
		return;
	a->fresh = true;
	ask_sent(a, files_mkdir(agent, a->file, name, mode, ask_owner(a), ask_on_entry, a, &a->request));
}

void guest_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	struct agent *agent;
	struct ask *a = change_new(req, parent, name, true, &agent);

	if (a)
		ask_sent(a, files_symlink(
				    agent, a->file, name, link, ask_owner(a), ask_on_entry, a, &a->request));
}

void guest_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct agent *agent;
	struct ask *a = change_new(req, parent, name, false, &agent);

	if (a)
		ask_sent(a, files_unlink(agent, a->file, name, ask_on_code, a, &a->request));
}

void guest_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct agent *agent;
	struct ask *a = change_new(req, parent, name, false, &agent);

	if (!a)
		return;
	/* Nobody knows yet which folder it is, and what it will be like without its name. */
	known_moved(guest_known(a->cache));
	ask_sent(a, files_rmdir(agent, a->file, name, ask_on_code, a, &a->request));
}

/* The second directory or file of a request: of the same guest, or -EXDEV. */
static int second(struct ask *a, uint64_t node, const char *made, struct file_ref *ret)
{
	struct place at;
	int r = place_find(a->s, node, &at);

	if (r == 0 && at.vm != a->vm)
		r = -EXDEV;
	if (r < 0)
		return r;
	known_changing(guest_known(a->cache), node);
	guest_name_changing(a, at.file, agent_name_hash(made));
	known_name(guest_known(a->cache), node, made);
	a->names[a->dir_count] = agent_name_hash(made);
	a->dir_nodes[a->dir_count] = node;
	*ret = a->dirs[a->dir_count++] = at.file;
	return 0;
}

void guest_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	const char *newname, unsigned flags)
{
	struct agent *agent;
	struct ask *a = change_new(req, parent, name, false, &agent);
	struct file_ref dir;
	int r;

	if (!a)
		return;
	known_moved(guest_known(a->cache));
	r = second(a, newparent, newname, &dir);
	guest_moves_names(a);
	if (r == 0)
		r = files_rename(agent, a->file, name, dir, newname, flags, ask_on_code, a, &a->request);
	ask_sent(a, r);
}

void guest_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);
	struct file_ref dir;
	int r;

	if (!a)
		return;
	agent_once(agent, a->s->unique);
	behind_names(a->s);
	known_changing(guest_known(a->cache), ino);
	r = second(a, newparent, newname, &dir);
	if (r == 0)
		r = files_link(agent, a->file, dir, newname, ask_on_entry, a, &a->request);
	ask_sent(a, r);
}
