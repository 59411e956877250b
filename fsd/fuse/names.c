/* The tree's folders: names in them are looked up, listed, made, removed and moved. */
#include <errno.h>

#include "banger/cleanup.h"
#include "fuse/state.h"

#define DOTS 2 /* "." and ".." stand before the tree's cookies */

int entry_fill(struct server *s, const struct target *at, struct fuse_entry_param *ret)
{
	struct fuse_entry_param entry = {
		.ino = at->node,
		.attr_timeout = tree_attr_timeout(at),
		.entry_timeout = tree_entry_timeout(at),
	};
	int r = tree_stat(s->tree, at, &entry.attr);

	if (at->attr && (at->attr->flags & ATTR_APART))
		entry.ino = node_alias(at->node, s->aliases++);
	if (r == 0)
		*ret = entry;
	return r;
}

void entry_reply(struct server *s, fuse_req_t req, const struct fuse_entry_param *entry)
{
	inodes_given(s->inodes, entry->ino);
	/* Nobody waits for it any more: it won't be forgotten either. */
	if (fuse_reply_entry(req, entry) == -ENOENT)
		inodes_forgotten(s->inodes, entry->ino, 1);
}

void names_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct server *s = fuse_req_userdata(req);
	struct fuse_entry_param entry;
	struct target dir, at;
	int r = tree_target(s->tree, parent, &dir);

	if (r == 0)
		r = tree_lookup(s->tree, &dir, name, &at);
	if (r == 0)
		r = entry_fill(s, &at, &entry);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		entry_reply(s, req, &entry);
}

/*
 * What is asked of this daemon again may have been done by the one before: then it is done. Whoever asks holds the folder's lock, so nobody else has
 * made or taken the name meanwhile.
 */
static bool has(struct server *s, const struct target *dir, const char *name)
{
	struct target at;

	return tree_lookup(s->tree, dir, name, &at) == 0;
}

static bool was_made(struct server *s, fuse_req_t req, const struct target *dir, const char *name)
{
	struct fuse_entry_param entry;
	struct target at;

	if (!s->again || tree_lookup(s->tree, dir, name, &at) < 0 || entry_fill(s, &at, &entry) < 0)
		return false;
	entry_reply(s, req, &entry);
	return true;
}

void names_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct server *s = fuse_req_userdata(req);
	struct target dir;
	struct request *r;
	int code = tree_target(s->tree, parent, &dir);

	if (code < 0) {
		fuse_reply_err(req, -code);
		return;
	}
	if (was_made(s, req, &dir, name))
		return;
	r = request_begin(s, req, REPLY_ENTRY);
	if (!r)
		return;
	tree_mkdir(s->tree, &dir, name, &r->call);
	request_end(s, r);
}

void names_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct server *s = fuse_req_userdata(req);
	struct request *answer = request_begin(s, req, REPLY_CODE);
	struct target dir;
	int r = tree_target(s->tree, parent, &dir);

	if (!answer)
		return;
	if (r == 0)
		r = tree_unlink(s->tree, &dir, name);
	if (r == 0 || r == -EBUSY)
		guest_note_remover(s, req, parent);
	/* Held back until the kernel has heard that it is to ask for what the workspace has. */
	call_done(&answer->call, r);
	request_end(s, answer);
}

void names_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct server *s = fuse_req_userdata(req);
	struct target dir;
	struct request *r;
	int code = tree_target(s->tree, parent, &dir);

	if (code < 0 || (s->again && !has(s, &dir, name))) {
		fuse_reply_err(req, -code);
		return;
	}
	r = request_begin(s, req, REPLY_CODE);
	if (!r)
		return;
	tree_rmdir(s->tree, &dir, name, &r->call);
	request_end(s, r);
}

void names_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	const char *newname, unsigned flags)
{
	struct server *s = fuse_req_userdata(req);
	struct target dir, new_dir;
	struct request *r;
	int code = tree_target(s->tree, parent, &dir);

	if (code == 0)
		code = tree_target(s->tree, newparent, &new_dir);
	/* RENAME_NOREPLACE is how it is anyway. */
	if (code == 0 && (flags & ~(unsigned)RENAME_NOREPLACE))
		code = -EINVAL;
	if (code < 0 || (s->again && !has(s, &dir, name) && has(s, &new_dir, newname))) {
		fuse_reply_err(req, -code);
		return;
	}
	r = request_begin(s, req, REPLY_CODE);
	if (!r)
		return;
	tree_rename(s->tree, &dir, name, &new_dir, newname, &r->call);
	request_end(s, r);
}

/* One entry into the buffer; false: it is full. */
static bool add_entry(fuse_req_t req, char *buf, size_t size, size_t *used, bool plus, const char *name,
	struct fuse_entry_param *entry, off_t next)
{
	size_t n = plus ? fuse_add_direntry_plus(req, buf + *used, size - *used, name, entry, next)
			: fuse_add_direntry(req, buf + *used, size - *used, name, &entry->attr, next);

	if (n > size - *used)
		return false;
	*used += n;
	return true;
}

void names_list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct server *s = fuse_req_userdata(req);
	_cleanup_free_ char *buf = malloc(size);
	struct fuse_entry_param entry;
	struct target dir, at;
	uint64_t cookie;
	const char *name;
	size_t used = 0;
	int r = buf ? tree_target(s->tree, ino, &dir) : -ENOMEM;

	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	for (; off < DOTS; off++) {
		/* No node number: the kernel takes such an entry's name only. */
		entry = (struct fuse_entry_param){.attr.st_mode = S_IFDIR};
		entry.attr.st_ino = off == 0 ? dir.node : tree_parent(s->tree, &dir);
		if (!add_entry(req, buf, size, &used, plus, off == 0 ? "." : "..", &entry, off + 1))
			break;
	}
	cookie = off >= DOTS ? (uint64_t)off - DOTS : 0;
	while (off >= DOTS && tree_list(s->tree, &dir, cookie, &at, &name, &cookie)) {
		if (entry_fill(s, &at, &entry) < 0)
			continue;
		/* The name only: it keeps the number that it was looked up by. */
		if (at.attr && (at.attr->flags & ATTR_APART))
			entry.ino = 0;
		if (!add_entry(req, buf, size, &used, plus, name, &entry, (off_t)cookie + DOTS))
			break;
		if (plus && entry.ino)
			inodes_given(s->inodes, entry.ino);
	}
	if (used == 0)
		request_listed(s, req, ino);
	else
		fuse_reply_buf(req, buf, used);
}
