/* What is in a guest's files. */
#include <errno.h>
#include <fcntl.h>

#include "banger/cleanup.h"
#include "fuse/guest.h"
#include "tree/node.h"

static void on_opened(void *user, int code, const struct agent_attr *attr)
{
	struct ask *a = user;
	struct fuse_entry_param entry;

	if (code < 0) {
		ask_fail(a, code);
		return;
	}
	/* A file is named by its node, and the guest counts who has it open: what is kept of it is which daemon has counted it as a use. */
	a->fi.fh = a->s->first_fh;
	tree_use(a->s->tree, a->vm, true);
	if (a->plus) {
		ask_entry(a, attr, &entry);
		code = fuse_reply_create(a->req, &entry, &a->fi);
	} else {
		code = fuse_reply_open(a->req, &a->fi);
	}
	/* Who opened it has gone, and nothing will be released. */
	if (code == -ENOENT)
		tree_use(a->s->tree, a->vm, false);
	ask_free(a);
}

static uint32_t flags_of(int flags)
{
	return (uint32_t)(flags & (O_ACCMODE | O_TRUNC | O_EXCL | O_APPEND));
}

void guest_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	if (!a)
		return;
	a->fi = *fi;
	ask_sent(a, files_open(agent, a->file, flags_of(fi->flags), on_opened, a, &a->request));
}

void guest_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct agent *agent;
	struct ask *a = ask_new(req, parent, &agent);

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
	/* Nobody waits for it; a guest that is not there has nothing open. */
	if (place_find(s, ino, &at) == 0)
		files_release(at.agent, at.file, on_released, NULL, NULL);
	fuse_reply_err(req, 0);
}

static void on_read_piece(void *user, int code, const void *data, size_t n);

static int read_piece(struct ask *a, struct agent *agent)
{
	size_t left = a->size - a->at;

	return files_read(agent, a->file, a->offset + a->at,
		(uint32_t)(left < FILES_IO_MAX ? left : FILES_IO_MAX), on_read_piece, a, &a->request);
}

static void on_read_piece(void *user, int code, const void *data, size_t n)
{
	struct ask *a = user;
	struct agent *agent = ask_agent(a);
	size_t left = a->size - a->at, asked = left < FILES_IO_MAX ? left : FILES_IO_MAX;

	if (code == 0 && n > asked)
		code = -EPROTO;
	if (code < 0) {
		ask_fail(a, code);
		return;
	}
	if (a->at == 0 && (n == left || n < asked)) {
		fuse_reply_buf(a->req, data, n);
		ask_free(a);
		return;
	}
	if (!a->data && !(a->data = malloc(a->size))) {
		ask_fail(a, -ENOMEM);
		return;
	}
	memcpy(a->data + a->at, data, n);
	a->at += n;
	if (n < asked || a->at == a->size) {
		fuse_reply_buf(a->req, a->data, a->at);
		ask_free(a);
		return;
	}
	code = agent ? read_piece(a, agent) : -ENOTCONN;
	if (code < 0)
		ask_fail(a, code);
}

void guest_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	(void)fi;
	if (!a)
		return;
	a->size = size;
	a->offset = (uint64_t)off;
	ask_sent(a, read_piece(a, agent));
}

static void on_written_piece(void *user, int code, uint32_t n);

static int write_piece(struct ask *a, struct agent *agent, const char *data)
{
	size_t left = a->size - a->at;

	return files_write(agent, a->file, a->offset + a->at, data + a->at,
		(uint32_t)(left < FILES_IO_MAX ? left : FILES_IO_MAX), a->append, on_written_piece, a,
		&a->request);
}

static void on_written_piece(void *user, int code, uint32_t n)
{
	struct ask *a = user;
	struct agent *agent = ask_agent(a);
	size_t left = a->size - a->at, asked = left < FILES_IO_MAX ? left : FILES_IO_MAX;

	if (code == 0 && n > asked)
		code = -EPROTO;
	if (code == 0) {
		a->at += n;
		if (n == asked && a->at < a->size) {
			code = agent ? write_piece(a, agent, a->data) : -ENOTCONN;
			if (code == 0)
				return;
		}
	}
	/* What was written is told; the rest's error comes with the next write. */
	if (a->at > 0)
		fuse_reply_write(a->req, a->at);
	else
		fuse_reply_err(a->req, ask_code(a, code));
	ask_free(a);
}

void guest_write(
	fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	if (!a)
		return;
	a->size = size;
	a->offset = (uint64_t)off;
	a->append = fi->flags & O_APPEND;
	if (size > FILES_IO_MAX) {
		a->data = malloc(size);
		if (!a->data) {
			ask_fail(a, -ENOMEM);
			return;
		}
		memcpy(a->data, buf, size);
	}
	ask_sent(a, write_piece(a, agent, buf));
}

void guest_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	(void)fi;
	if (a)
		ask_sent(a, files_fsync(agent, a->file, datasync, ask_on_code, a, &a->request));
}
