/* What is in a guest's files. */
#include <errno.h>
#include <fcntl.h>

#include "banger/cleanup.h"
#include "fuse/guest.h"
#include "tree/node.h"

/* Answers A, which opened a file, and ends it; ENTRY: and made it. */
static void opened(struct ask *a, const struct fuse_entry_param *entry)
{
	int r;

	/* A file is named by its node, and the guest counts who has it open: what is kept of it is which daemon has counted it as a use. */
	a->fi.fh = a->s->first_fh;
	tree_use(a->s->tree, a->vm, true);
	r = entry ? fuse_reply_create(a->req, entry, &a->fi) : fuse_reply_open(a->req, &a->fi);
	/* Who opened it has gone, and nothing will be released. */
	if (r == -ENOENT)
		tree_use(a->s->tree, a->vm, false);
	ask_free(a);
}

static void on_stripped(void *user, int code, const struct agent_attr *attr)
{
	(void)user;
	(void)code;
	(void)attr;
}

/*
 * Whoever cuts a file off takes its set-ID bits away, unless he is root (fs/open.c: do_truncate()). With O_TRUNC the kernel leaves that to the file system,
 * and the guest's is asked by the agent, which is root. What is asked of the guest next comes after it.
 */
static uint32_t strip(const struct ask *a, const struct agent_attr *attr)
{
	struct files_change change = {.valid = AGENT_SET_MODE};
	uint32_t bits = attr->mode & (S_ISUID | (attr->mode & S_IXGRP ? S_ISGID : 0));
	struct agent *agent = ask_agent(a);

	if (!(a->fi.flags & O_TRUNC) || a->plus || bits == 0 || fuse_req_ctx(a->req)->uid == 0 || !agent)
		return attr->mode;
	change.mode = attr->mode & 07777 & ~bits;
	known_changing(guest_known(a->cache), a->node);
	files_setattr(agent, a->file, &change, on_stripped, NULL, NULL);
	return attr->mode & ~bits;
}

static void on_opened(void *user, int code, const struct agent_attr *attr)
{
	struct ask *a = user;
	struct fuse_entry_param entry;
	struct agent_attr now;

	if (code < 0) {
		ask_fail(a, code);
		return;
	}
	now = *attr;
	now.mode = strip(a, attr);
	if (a->plus) {
		ask_made(a, attr);
		ask_entry(a, attr, &entry);
		guest_keeps(a->cache, entry.ino);
	}
	if ((a->fi.flags & O_ACCMODE) != O_RDONLY)
		behind_opened(a, a->plus ? entry.ino : a->node, &now);
	opened(a, a->plus ? &entry : NULL);
}

static uint32_t flags_of(int flags)
{
	return (uint32_t)(flags & (O_ACCMODE | O_TRUNC | O_EXCL | O_APPEND));
}

/* Nobody waits for it: what is asked of the file next says what there is to say. */
static void on_opened_later(void *user, int code, const struct agent_attr *attr)
{
	(void)user;
	(void)code;
	(void)attr;
}

void guest_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	bool reading = (fi->flags & (O_ACCMODE | O_TRUNC)) == O_RDONLY;
	uint32_t flags = flags_of(fi->flags);
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	if (!a)
		return;
	a->fi = *fi;
	a->fi.keep_cache = guest_keeps(a->cache, ino);
	/* Nothing is written, so that there is nothing to be told at the end. */
	a->fi.noflush = reading;
	agent_once(agent, a->s->unique);
	/* What is known of the file is right: it is there. */
	if (reading && guest_is_live(a->cache) &&
		files_open(agent, a->file, flags, on_opened_later, NULL, NULL) == 0) {
		opened(a, NULL);
		return;
	}
	if (!reading)
		known_changing(guest_known(a->cache), ino);
	ask_sent(a, files_open(agent, a->file, flags, on_opened, a, &a->request));
}

void guest_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct agent *agent;
	struct ask *a = change_new(req, parent, name, true, &agent);

	if (!a)
		return;
	a->fi = *fi;
	a->plus = true;
	ask_sent(a, files_create(agent, a->file, name, flags_of(fi->flags), mode, ask_owner(a), on_opened, a,
			    &a->request));
}

static void on_released(void *user, int code)
{
	(void)user;
	(void)code;
}

void guest_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct place at;
	struct node n;

	node_parse(ino, &n);
	if (fi->fh == s->first_fh)
		tree_use(s->tree, n.guest ? n.vm : n.row, false);
	if ((fi->flags & O_ACCMODE) != O_RDONLY)
		behind_released(s, ino);
	/* Nobody waits for it; a guest that is not there has nothing open. */
	if (place_look(s, ino, &at) == 0) {
		agent_once(at.agent, s->unique);
		files_release(at.agent, at.file, on_released, NULL, NULL);
	}
	fuse_reply_err(req, 0);
}

/* A part of a read or write that is larger than a frame; all of them are under way at once. */
struct piece {
	struct ask *a;
	size_t at, size;
	unsigned index;
};

/* Sends what A asks for in pieces; SEND gives each the piece as its user. 0: at least one is under way, and the last of them ends A. */
static int in_pieces(struct ask *a, struct agent *agent, const char *data,
	int (*send)(struct ask *a, struct agent *agent, const char *data, struct piece *p, uint32_t *ret_id))
{
	int r = 0;

	for (size_t at = 0; r == 0 && (at < a->size || at == 0); at += FILES_IO_MAX) {
		size_t left = a->size - at;
		struct piece *p = malloc(sizeof(*p));

		if (a->pieces == ASK_PIECES || !p) {
			free(p);
			r = p ? -EINVAL : -ENOMEM;
			break;
		}
		*p = (struct piece){a, at, left < FILES_IO_MAX ? left : FILES_IO_MAX, a->pieces};
		r = send(a, agent, data, p, p->index == 0 ? &a->request : &a->more[p->index - 1]);
		if (r < 0)
			free(p);
		else
			a->pieces++;
	}
	if (r < 0 && a->pieces > 0) {
		a->code = r;
		r = 0;
	}
	return r;
}

/* P is answered with N bytes or CODE, and gone. True: it was the last one. */
static bool piece_done(struct piece *p, int code, size_t n)
{
	struct ask *a = p->a;

	if (p->index == 0)
		a->request = 0;
	else
		a->more[p->index - 1] = 0;
	if (code == 0 && n > p->size)
		code = -EPROTO;
	if (code < 0 && a->code == 0)
		a->code = code;
	/* What is behind a piece that is cut short is not there. */
	if (code < 0 && p->at < a->have)
		a->have = p->at;
	else if (code == 0 && n < p->size && p->at + n < a->have)
		a->have = p->at + n;
	free(p);
	return --a->pieces == 0;
}

static void on_read_piece(void *user, int code, const void *data, size_t n)
{
	struct piece *p = user;
	struct ask *a = p->a;

	if (code == 0 && n <= p->size && a->data)
		memcpy(a->data + p->at, data, n);
	if (!piece_done(p, code, n))
		return;
	if (a->code < 0) {
		ask_fail(a, a->code);
		return;
	}
	fuse_reply_buf(a->req, a->data ? a->data : data, a->have);
	ask_free(a);
}

static int send_read(struct ask *a, struct agent *agent, const char *data, struct piece *p, uint32_t *ret_id)
{
	(void)data;
	return files_read(agent, a->file, a->offset + p->at, (uint32_t)p->size, on_read_piece, p, ret_id);
}

void guest_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	(void)fi;
	if (!a)
		return;
	a->size = a->have = size;
	a->offset = (uint64_t)off;
	/* One piece is answered with as it comes. */
	if (size > FILES_IO_MAX && !(a->data = malloc(size)))
		ask_fail(a, -ENOMEM);
	else
		ask_sent(a, in_pieces(a, agent, NULL, send_read));
}

static void on_written_piece(void *user, int code, uint32_t n)
{
	struct piece *p = user;
	struct ask *a = p->a;

	if (!piece_done(p, code, n))
		return;
	behind_changed(a->s, a->node);
	/* What was written is told; the rest's error comes with the next write. */
	if (a->have > 0)
		fuse_reply_write(a->req, a->have);
	else
		fuse_reply_err(a->req, ask_code(a, a->code < 0 ? a->code : -EIO));
	ask_free(a);
}

static int send_write(struct ask *a, struct agent *agent, const char *data, struct piece *p, uint32_t *ret_id)
{
	/* At the end again would be twice. */
	if (a->fi.flags & O_APPEND)
		agent_once(agent, a->s->unique);
	return files_write(agent, a->file, a->offset + p->at, data + p->at, (uint32_t)p->size,
		a->fi.flags & O_APPEND, on_written_piece, p, ret_id);
}

void guest_write(
	fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	if (!a)
		return;
	a->fi = *fi;
	a->size = a->have = size;
	a->offset = (uint64_t)off;
	known_changing(guest_known(a->cache), ino);
	if (!behind_write(a, agent, buf))
		ask_sent(a, in_pieces(a, agent, buf, send_write));
}

static bool is_left(struct server *s, uint64_t node)
{
	struct node n;

	return node_parse(node, &n) && n.guest && behind_left(s, n.vm, node);
}

void guest_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct agent *agent;
	struct ask *a;

	(void)fi;
	if (!behind_is_busy(s, ino)) {
		/* What an earlier daemon was told is not in a guest that does not answer. */
		fuse_reply_err(req, is_left(s, ino) ? EBUSY : -behind_error(s, ino));
		return;
	}
	a = ask_new(req, ino, &agent);
	if (a)
		behind_flush(a);
}

static void on_synced(void *user, int code);

static int send_fsync(struct ask *a, struct agent *agent)
{
	return files_fsync(agent, a->file, a->datasync, on_synced, a, &a->request);
}

static void on_synced(void *user, int code)
{
	struct ask *a = user;
	struct agent *agent = ask_agent(a);

	/* All that was written behind is answered by now, but for what was not taken whole: its rest was asked for behind this. */
	if (code == 0 && behind_waits(a->s, a->node, a->after)) {
		code = agent ? send_fsync(a, agent) : -ENOTCONN;
		if (code == 0)
			return;
	}
	if (code == 0)
		code = behind_error(a->s, a->node);
	ask_on_code(a, code);
}

void guest_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	(void)fi;
	if (!a)
		return;
	a->datasync = datasync;
	a->after = behind_sent(a->s, ino);
	ask_sent(a, send_fsync(a, agent));
}

/* The file's size may be another. */
static void on_allocated(void *user, int code)
{
	struct ask *a = user;

	behind_changed(a->s, a->node);
	ask_on_code(a, code);
}

void guest_fallocate(
	fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	(void)fi;
	if (!a)
		return;
	agent_once(agent, a->s->unique);
	known_changing(guest_known(a->cache), ino);
	ask_sent(a, files_fallocate(agent, a->file, (uint32_t)mode, (uint64_t)offset, (uint64_t)length,
			    on_allocated, a, &a->request));
}

static void on_offset(void *user, int code, uint64_t offset)
{
	struct ask *a = user;

	if (code < 0) {
		ask_fail(a, code);
		return;
	}
	fuse_reply_lseek(a->req, (off_t)offset);
	ask_free(a);
}

void guest_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	(void)fi;
	if (a)
		ask_sent(a, files_lseek(agent, a->file, (uint64_t)off, (uint32_t)whence, on_offset, a,
				    &a->request));
}

static void on_copied(void *user, int code, uint32_t n)
{
	struct ask *a = user;

	behind_changed(a->s, a->node);
	if (code < 0) {
		ask_fail(a, code);
		return;
	}
	fuse_reply_write(a->req, n);
	ask_free(a);
}

/* From file to file of one guest: nothing crosses the channel. Between two of them the kernel copies by reading and writing (EXDEV). */
void guest_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in, struct fuse_file_info *fi_in,
	fuse_ino_t ino_out, off_t off_out, struct fuse_file_info *fi_out, size_t len, int flags)
{
	struct server *s = fuse_req_userdata(req);
	struct agent *agent;
	struct ask *a = ask_new(req, ino_in, &agent);
	struct place out;
	int r;

	(void)fi_in;
	(void)fi_out;
	(void)flags;
	if (!a)
		return;
	a->node = ino_out;
	known_changing(guest_known(a->cache), ino_out);
	r = place_find(s, ino_out, &out);
	if (r == 0 && out.vm != a->vm)
		r = -EXDEV;
	/* Again, it would take what the guest has put there since. */
	agent_once(agent, s->unique);
	if (r == 0)
		r = files_copy(agent, a->file, (uint64_t)off_in, out.file, (uint64_t)off_out, len, on_copied,
			a, &a->request);
	ask_sent(a, r);
}
