/*
 * workspace/: files that the guest serves. Nothing of them is kept here: a node number names VM, inode and generation, and
 * what the kernel may cache of a file it drops when the file is opened anew.
 *
 * The guest's root is the owner of the instance on this side (and whoever is root here), since the kernel checks modes
 * against the caller; other owners are shown as they are.
 */
#include <errno.h>
#include <fcntl.h>

#include "banger/cleanup.h"
#include "fuse/state.h"
#include "guest/files.h"
#include "tree/node.h"

#define INTERRUPT_USEC                                                                                       \
	1000000 /* what a guest has to answer after a Ctrl-C before its answer is no longer waited for */
#define AFTER_DOTS     1 /* cookie behind "." and ".."; a guest's own are hashes */
#define LINK_MAX_BYTES 4096

/* A request under way to a guest. */
struct ask {
	struct server *s;
	fuse_req_t req;
	uint32_t vm, request;
	struct file_ref file;
	struct fuse_file_info fi;
	sd_event_source *timer;
	bool plus, dots;
	/* Reads and writes of more than one piece: */
	char *data;
	size_t size, at;
	uint64_t offset;
	bool append;
};

bool guest_is(struct server *s, uint64_t number)
{
	struct target at;
	struct node n;

	if (!node_parse(number, &n))
		return false;
	/* A guest's file, or the one directory of the tree that a guest serves. */
	if (n.guest)
		return true;
	return n.kind == KIND_VM && n.attr != 0 && tree_target(s->tree, number, &at) == 0 && at.attr &&
	       (at.attr->flags & ATTR_WORKSPACE);
}

static int agent_of(
	struct server *s, uint64_t number, struct vm **ret_vm, struct file_ref *ret_file, uint32_t *ret_id)
{
	struct vm_view v;
	struct vm *vm;
	struct node n;

	node_parse(number, &n);
	*ret_id = n.guest ? n.vm : (uint32_t)n.row;
	vm = tree_vm(s->tree, *ret_id);
	if (!vm)
		return -ESTALE;
	vm_view(vm, &v);
	/* A paused guest answers nobody. */
	if (v.state != VM_RUNNING || !vm_agent(vm))
		return -EBUSY;
	*ret_vm = vm;
	*ret_file = n.guest ? (struct file_ref){n.ino, 1u + n.generation} : (struct file_ref){0, 0};
	return 0;
}

static void ask_free(struct ask *a)
{
	sd_event_source_disable_unref(a->timer);
	free(a->data);
	free(a);
}

static int code_of(int code)
{
	switch (code) {
	case -ECANCELED:
		return EINTR;
	case -ENOTCONN:
	case -EPROTO:
		return EIO;
	default:
		return -code;
	}
}

static void ask_fail(struct ask *a, int code)
{
	fuse_reply_err(a->req, code_of(code));
	ask_free(a);
}

static int on_late(sd_event_source *source, uint64_t usec, void *user)
{
	struct ask *a = user;
	struct vm *vm = tree_vm(a->s->tree, a->vm);

	(void)source;
	(void)usec;
	if (vm && vm_agent(vm))
		agent_forget(vm_agent(vm), a->request);
	return 0;
}

/* Most signals mean nothing to a file's reader, so a guest that answers as usual is let answer. */
static void on_interrupt(fuse_req_t req, void *data)
{
	struct ask *a = data;

	(void)req;
	if (!a->timer)
		sd_event_add_time_relative(
			a->s->config.event, &a->timer, CLOCK_MONOTONIC, INTERRUPT_USEC, 1000, on_late, a);
}

/* NULL: answered. */
static struct ask *ask_new(fuse_req_t req, uint64_t node, struct agent **ret_agent)
{
	struct server *s = fuse_req_userdata(req);
	struct ask *a = calloc(1, sizeof(*a));
	struct vm *vm;
	int r = a ? agent_of(s, node, &vm, &a->file, &a->vm) : -ENOMEM;

	if (r < 0) {
		free(a);
		fuse_reply_err(req, -r);
		return NULL;
	}
	a->s = s;
	a->req = req;
	*ret_agent = vm_agent(vm);
	return a;
}

/* After the request was sent, or was not. */
static void ask_sent(struct ask *a, int r)
{
	if (r < 0) {
		ask_fail(a, r);
		return;
	}
	if (fuse_req_interrupted(a->req))
		on_interrupt(a->req, a);
	else
		fuse_req_interrupt_func(a->req, on_interrupt, a);
}

static uid_t uid_here(const struct server *s, uint32_t uid)
{
	return uid == 0 ? s->owner : uid;
}

static gid_t gid_here(const struct server *s, uint32_t gid)
{
	return gid == 0 ? s->group : gid;
}

static uint32_t uid_there(const struct server *s, uid_t uid)
{
	return uid == s->owner ? 0 : uid;
}

static uint32_t gid_there(const struct server *s, gid_t gid)
{
	return gid == s->group ? 0 : gid;
}

static struct files_owner owner_of(const struct ask *a)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(a->req);

	return (struct files_owner){uid_there(a->s, ctx->uid), gid_there(a->s, ctx->gid)};
}

static void stat_of(const struct ask *a, const struct agent_attr *attr, struct stat *ret)
{
	*ret = (struct stat){
		.st_ino = node_guest_number(a->vm, attr->ino, attr->generation),
		.st_mode = attr->mode,
		.st_nlink = attr->nlink,
		.st_uid = uid_here(a->s, attr->uid),
		.st_gid = gid_here(a->s, attr->gid),
		.st_rdev = attr->rdev,
		.st_blksize = 4096,
		.st_size = (off_t)attr->size,
		.st_blocks = (blkcnt_t)attr->blocks,
		.st_atim = {attr->atime, attr->atime_nsec},
		.st_mtim = {attr->mtime, attr->mtime_nsec},
		.st_ctim = {attr->ctime, attr->ctime_nsec},
	};
}

/* No timeouts: the guest changes its files without telling. */
static void entry_of(const struct ask *a, const struct agent_attr *attr, struct fuse_entry_param *ret)
{
	*ret = (struct fuse_entry_param){.generation = attr->generation};
	stat_of(a, attr, &ret->attr);
	ret->ino = ret->attr.st_ino;
}

static void on_entry(void *user, int code, const struct agent_attr *attr)
{
	struct ask *a = user;
	struct fuse_entry_param entry;

	if (code < 0) {
		ask_fail(a, code);
		return;
	}
	entry_of(a, attr, &entry);
	fuse_reply_entry(a->req, &entry);
	ask_free(a);
}

static void on_attr(void *user, int code, const struct agent_attr *attr)
{
	struct ask *a = user;
	struct stat st;

	if (code < 0) {
		ask_fail(a, code);
		return;
	}
	stat_of(a, attr, &st);
	fuse_reply_attr(a->req, &st, 0);
	ask_free(a);
}

static void on_code(void *user, int code)
{
	struct ask *a = user;

	fuse_reply_err(a->req, code_of(code));
	ask_free(a);
}

static void guest_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct agent *agent;
	struct ask *a = ask_new(req, parent, &agent);

	if (a)
		ask_sent(a, files_lookup(agent, a->file, name, on_entry, a, &a->request));
}

static void guest_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	(void)fi;
	if (a)
		ask_sent(a, files_getattr(agent, a->file, on_attr, a, &a->request));
}

static void guest_setattr(
	fuse_req_t req, fuse_ino_t ino, struct stat *st, int what, struct fuse_file_info *fi)
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
		change.uid = uid_there(a->s, st->st_uid);
	}
	if (what & FUSE_SET_ATTR_GID) {
		change.valid |= AGENT_SET_GID;
		change.gid = gid_there(a->s, st->st_gid);
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
	ask_sent(a, files_setattr(agent, a->file, &change, on_attr, a, &a->request));
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

static void guest_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	if (a)
		ask_sent(a, files_readlink(agent, a->file, on_link, a, &a->request));
}

static void guest_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct agent *agent;
	struct ask *a = ask_new(req, parent, &agent);

	if (a)
		ask_sent(a, files_mknod(agent, a->file, name, mode, (uint32_t)rdev, owner_of(a), on_entry, a,
				    &a->request));
}

static void guest_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct agent *agent;
	struct ask *a = ask_new(req, parent, &agent);

	if (a)
		ask_sent(a, files_mkdir(agent, a->file, name, mode, owner_of(a), on_entry, a, &a->request));
}

static void guest_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	struct agent *agent;
	struct ask *a = ask_new(req, parent, &agent);

	if (a)
		ask_sent(a, files_symlink(agent, a->file, name, link, owner_of(a), on_entry, a, &a->request));
}

static void guest_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct agent *agent;
	struct ask *a = ask_new(req, parent, &agent);

	if (a)
		ask_sent(a, files_unlink(agent, a->file, name, on_code, a, &a->request));
}

static void guest_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct agent *agent;
	struct ask *a = ask_new(req, parent, &agent);

	if (a)
		ask_sent(a, files_rmdir(agent, a->file, name, on_code, a, &a->request));
}

/* The second directory or file of a request: of the same guest, or -EXDEV. */
static int second(struct ask *a, uint64_t node, struct file_ref *ret)
{
	struct vm *vm;
	uint32_t id;
	int r = agent_of(a->s, node, &vm, ret, &id);

	return r < 0 ? r : id == a->vm ? 0 : -EXDEV;
}

static void guest_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	const char *newname, unsigned flags)
{
	struct agent *agent;
	struct ask *a = ask_new(req, parent, &agent);
	struct file_ref dir;
	int r;

	if (!a)
		return;
	r = second(a, newparent, &dir);
	if (r == 0)
		r = files_rename(agent, a->file, name, dir, newname, flags, on_code, a, &a->request);
	ask_sent(a, r);
}

static void guest_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);
	struct file_ref dir;
	int r;

	if (!a)
		return;
	r = second(a, newparent, &dir);
	if (r == 0)
		r = files_link(agent, a->file, dir, newname, on_entry, a, &a->request);
	ask_sent(a, r);
}

static void on_opened(void *user, int code, const struct agent_attr *attr)
{
	struct ask *a = user;
	struct fuse_entry_param entry;

	if (code < 0) {
		ask_fail(a, code);
		return;
	}
	/* No handle: a file is named by its node, and the guest counts who has it open. */
	a->fi.fh = 0;
	if (a->plus) {
		entry_of(a, attr, &entry);
		fuse_reply_create(a->req, &entry, &a->fi);
	} else {
		fuse_reply_open(a->req, &a->fi);
	}
	ask_free(a);
}

static uint32_t flags_of(int flags)
{
	return (uint32_t)(flags & (O_ACCMODE | O_TRUNC | O_EXCL | O_APPEND));
}

static void guest_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	if (!a)
		return;
	a->fi = *fi;
	ask_sent(a, files_open(agent, a->file, flags_of(fi->flags), on_opened, a, &a->request));
}

static void guest_create(
	fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct agent *agent;
	struct ask *a = ask_new(req, parent, &agent);

	if (!a)
		return;
	a->fi = *fi;
	a->plus = true;
	ask_sent(a, files_create(agent, a->file, name, flags_of(fi->flags), mode, owner_of(a), on_opened, a,
			    &a->request));
}

static void on_released(void *user, int code)
{
	(void)user;
	(void)code;
}

static void guest_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct file_ref file;
	struct vm *vm;
	uint32_t id;

	(void)fi;
	/* Nobody waits for it; a guest that is not there has nothing open. */
	if (agent_of(s, ino, &vm, &file, &id) == 0)
		files_release(vm_agent(vm), file, on_released, NULL, NULL);
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
	struct vm *vm = tree_vm(a->s->tree, a->vm);
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
	code = vm && vm_agent(vm) ? read_piece(a, vm_agent(vm)) : -ENOTCONN;
	if (code < 0)
		ask_fail(a, code);
}

static void guest_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
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
	struct vm *vm = tree_vm(a->s->tree, a->vm);
	size_t left = a->size - a->at, asked = left < FILES_IO_MAX ? left : FILES_IO_MAX;

	if (code == 0 && n > asked)
		code = -EPROTO;
	if (code == 0) {
		a->at += n;
		if (n == asked && a->at < a->size) {
			code = vm && vm_agent(vm) ? write_piece(a, vm_agent(vm), a->data) : -ENOTCONN;
			if (code == 0)
				return;
		}
	}
	/* What was written is told; the rest's error comes with the next write. */
	if (a->at > 0)
		fuse_reply_write(a->req, a->at);
	else
		fuse_reply_err(a->req, code_of(code));
	ask_free(a);
}

static void guest_write(
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

static void guest_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	(void)fi;
	if (a)
		ask_sent(a, files_fsync(agent, a->file, datasync, on_code, a, &a->request));
}

static void guest_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct file_ref file;
	struct vm *vm;
	uint32_t id;
	int r = agent_of(s, ino, &vm, &file, &id);

	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_open(req, fi);
}

static size_t put(struct ask *a, char *buf, size_t size, const char *name,
	const struct fuse_entry_param *entry, off_t next)
{
	if (a->plus)
		return fuse_add_direntry_plus(a->req, buf, size, name, entry, next);
	return fuse_add_direntry(a->req, buf, size, name, &entry->attr, next);
}

static void on_entries(void *user, int code, const void *data, size_t n)
{
	struct ask *a = user;
	_cleanup_free_ char *buf = NULL;
	struct files_dirent d;
	size_t used = 0, one;
	int r = 0;

	if (code == 0 && !(buf = malloc(a->size)))
		code = -ENOMEM;
	if (code < 0) {
		ask_fail(a, code);
		return;
	}
	for (int i = 0; a->dots && i < 2; i++) {
		struct fuse_entry_param dot = {.attr = {.st_mode = S_IFDIR, .st_ino = UINT32_MAX}};

		used += put(a, buf + used, a->size - used, i ? ".." : ".", &dot, AFTER_DOTS);
	}
	while ((r = files_dirent_next(&data, &n, true, &d)) > 0) {
		struct fuse_entry_param entry;
		char name[256];

		memcpy(name, d.name, d.name_size);
		name[d.name_size] = '\0';
		entry_of(a, &d.attr, &entry);
		one = put(a, buf + used, a->size - used, name, &entry, (off_t)d.next);
		if (one > a->size - used)
			break;
		used += one;
	}
	if (r < 0)
		fuse_reply_err(a->req, EIO);
	else
		fuse_reply_buf(a->req, buf, used);
	ask_free(a);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	if (!a)
		return;
	a->plus = plus;
	a->size = size;
	a->dots = off == 0;
	/* Attributes are asked for in any case: the node number of an entry needs the generation. */
	ask_sent(a, files_readdir(agent, a->file, off == AFTER_DOTS ? 0 : (uint64_t)off,
			    (uint32_t)(size < FILES_IO_MAX ? size : FILES_IO_MAX), true, on_entries, a,
			    &a->request));
}

static void guest_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, false);
}

static void guest_readdirplus(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, true);
}

static void on_statfs(void *user, int code, const struct files_statfs *st)
{
	struct ask *a = user;

	if (code < 0) {
		ask_fail(a, code);
		return;
	}
	fuse_reply_statfs(a->req, &(struct statvfs){
					  .f_bsize = st->bsize,
					  .f_frsize = st->bsize,
					  .f_blocks = st->blocks,
					  .f_bfree = st->bfree,
					  .f_bavail = st->bavail,
					  .f_files = st->files,
					  .f_ffree = st->ffree,
					  .f_namemax = st->namelen,
				  });
	ask_free(a);
}

static void guest_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	if (a)
		ask_sent(a, files_statfs(agent, a->file, on_statfs, a, &a->request));
}

const struct fuse_lowlevel_ops guest_ops = {
	.lookup = guest_lookup,
	.getattr = guest_getattr,
	.setattr = guest_setattr,
	.readlink = guest_readlink,
	.mknod = guest_mknod,
	.mkdir = guest_mkdir,
	.unlink = guest_unlink,
	.rmdir = guest_rmdir,
	.symlink = guest_symlink,
	.rename = guest_rename,
	.link = guest_link,
	.open = guest_open,
	.read = guest_read,
	.write = guest_write,
	.release = guest_release,
	.fsync = guest_fsync,
	.opendir = guest_opendir,
	.readdir = guest_readdir,
	.readdirplus = guest_readdirplus,
	.statfs = guest_statfs,
	.create = guest_create,
};
