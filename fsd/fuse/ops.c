/* The requests of the kernel, answered from the tree, or handed to the guest whose files they are about. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#include "banger/cleanup.h"
#include "fuse/state.h"

#define NAME_BYTES_MAX 255

static struct server *server_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* A build with 0 goes by what older kernels can do, also on one that is not. */
#ifndef EPOCHS
#define EPOCHS 1
#endif

/* What is asked about a guest's file goes there. */
#define IF_GUEST(req, node, op, ...)                                                                         \
	do {                                                                                                 \
		if (guest_is(server_of(req), node)) {                                                        \
			guest_ops.op(req, __VA_ARGS__);                                                      \
			return;                                                                              \
		}                                                                                            \
	} while (0)

static void on_init(void *user, struct fuse_conn_info *conn)
{
	struct server *s = user;

	s->epochs = EPOCHS && conn->proto_major == 7 && conn->proto_minor >= 44;
	conn->want |=
		conn->capable & (FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_READDIRPLUS | FUSE_CAP_PARALLEL_DIROPS |
					FUSE_CAP_ASYNC_READ | FUSE_CAP_AUTO_INVAL_DATA);
	/* What is listed comes with what it is like, all of it: a guest would be asked for each file that is looked at later. */
	conn->want &= ~(unsigned)FUSE_CAP_READDIRPLUS_AUTO;
	/* Pages are dropped when they are told to be stale, or when a guest's file has another time or size; writes are never put off. */
	conn->want &= ~(unsigned)(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
				  FUSE_CAP_SPLICE_MOVE | FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_IOCTL_DIR |
				  FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_EXPORT_SUPPORT);
	conn->max_write = 1u << 20;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	conn->time_gran = 1;
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	IF_GUEST(req, parent, lookup, parent, name);
	names_lookup(req, parent, name);
}

static void on_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	inodes_forgotten(server_of(req)->inodes, ino, nlookup);
	fuse_reply_none(req);
}

static void on_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		inodes_forgotten(server_of(req)->inodes, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void reply_attr(fuse_req_t req, const struct target *at)
{
	struct stat st;
	int r = tree_stat(server_of(req)->tree, at, &st);

	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_attr(req, &st, tree_attr_timeout(at));
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *s = server_of(req);
	struct target at;
	int r = tree_target(s->tree, ino, &at);

	/* The workspace itself is a node of the tree's. */
	if (r < 0) {
		IF_GUEST(req, ino, getattr, ino, fi);
		fuse_reply_err(req, -r);
		return;
	}
	reply_attr(req, &at);
}

static void on_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int what, struct fuse_file_info *fi)
{
	struct server *s = server_of(req);
	struct target at;
	unsigned mask;
	int r = tree_target(s->tree, ino, &at);

	if (r < 0) {
		IF_GUEST(req, ino, setattr, ino, st, what, fi);
		fuse_reply_err(req, -r);
		return;
	}
	/* Truncating what can be written is what shells and editors do before they write: it means nothing. */
	if ((what & FUSE_SET_ATTR_SIZE) &&
		(!at.attr || (!at.attr->store && !(at.attr->ops && at.attr->ops->write)))) {
		fuse_reply_err(req, EPERM);
		return;
	}
	mask = (what & FUSE_SET_ATTR_MODE ? 1u : 0) | (what & FUSE_SET_ATTR_UID ? 2u : 0) |
	       (what & FUSE_SET_ATTR_GID ? 4u : 0);
	r = mask ? tree_chmod(s->tree, &at, mask, st->st_mode, st->st_uid, st->st_gid) : 0;
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		reply_attr(req, &at);
}

static void on_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct server *s = server_of(req);
	_cleanup_free_ char *link = NULL;
	struct target at;
	int r;

	IF_GUEST(req, ino, readlink, ino);
	r = tree_target(s->tree, ino, &at);
	if (r == 0)
		r = tree_readlink(s->tree, &at, &link);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_readlink(req, link);
}

static void on_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	IF_GUEST(req, parent, mknod, parent, name, mode, rdev);
	fuse_reply_err(req, EPERM);
}

static void on_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	IF_GUEST(req, parent, mkdir, parent, name, mode);
	names_mkdir(req, parent, name);
}

static void on_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	IF_GUEST(req, parent, unlink, parent, name);
	names_unlink(req, parent, name);
}

static void on_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	IF_GUEST(req, parent, rmdir, parent, name);
	names_rmdir(req, parent, name);
}

static void on_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	IF_GUEST(req, parent, symlink, link, parent, name);
	fuse_reply_err(req, EPERM);
}

static void on_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	const char *newname, unsigned flags)
{
	struct server *s = server_of(req);

	if (guest_is(s, parent) && guest_is(s, newparent))
		guest_ops.rename(req, parent, name, newparent, newname, flags);
	else if (guest_is(s, parent) || guest_is(s, newparent))
		fuse_reply_err(req, EPERM);
	else
		names_rename(req, parent, name, newparent, newname, flags);
}

static void on_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	if (guest_is(server_of(req), ino) && guest_is(server_of(req), newparent))
		guest_ops.link(req, ino, newparent, newname);
	else
		fuse_reply_err(req, EPERM);
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *s = server_of(req);
	struct open_file *f;
	struct target at;
	int r;

	IF_GUEST(req, ino, open, ino, fi);
	r = tree_target(s->tree, ino, &at);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	/* With direct I/O too: by a private mapping. */
	if ((fi->flags & O_ACCMODE) != O_WRONLY)
		inodes_paged(s->inodes, ino);
	/* What is stored can be read out of the kernel's own pages; no handle is needed for that. */
	if (at.attr && (at.attr->flags & ATTR_STORED) && (fi->flags & O_ACCMODE) == O_RDONLY) {
		fi->fh = 0;
		fi->keep_cache = 1;
		fi->noflush = 1;
		fuse_reply_open(req, fi);
		return;
	}
	f = file_new(s, &at, fi);
	if (!f) {
		fuse_reply_err(req, ENFILE);
		return;
	}
	r = tree_open(s->tree, &f->h);
	if (r < 0) {
		file_free(s, f->fh);
		fuse_reply_err(req, -r);
		return;
	}
	fi->fh = f->fh;
	fi->direct_io = 1;
	fi->noflush = 1;
	fi->nonseekable = (at.attr->flags & ATTR_STREAM) != 0;
	/* Its write may wait: who opens it next gets an inode of his own. */
	if ((at.attr->flags & ATTR_APART) && (fi->flags & O_ACCMODE) != O_RDONLY)
		notify_renumber(s, tree_parent(s->tree, &at), at.attr->name);
	held_note(s, f);
	if (fuse_reply_open(req, fi) == -ENOENT)
		file_free(s, f->fh);
}

static void on_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *s = server_of(req);

	IF_GUEST(req, ino, release, ino, fi);
	if (fi->fh)
		file_free(s, fi->fh);
	fuse_reply_err(req, 0);
}

static void read_stored(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off)
{
	struct server *s = server_of(req);
	struct target at;
	const char *text;
	size_t n, left;
	int r = tree_target(s->tree, ino, &at);

	if (r == 0)
		r = tree_render(s->tree, &at, &text, &n);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	left = (uint64_t)off < n ? n - (size_t)off : 0;
	fuse_reply_buf(req, text + (n - left), left < size ? left : size);
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct server *s = server_of(req);
	struct open_file *f;
	struct request *r;

	IF_GUEST(req, ino, read, ino, size, off, fi);
	if (fi->fh == 0) {
		read_stored(req, ino, size, off);
		return;
	}
	f = file_get(s, ino, fi);
	if (!f) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	r = request_begin(s, req, REPLY_DATA);
	if (!r)
		return;
	tree_read(s->tree, &f->h, size, (uint64_t)off, &r->call);
	request_end(s, r);
}

static void on_write(
	fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct server *s = server_of(req);
	struct open_file *f;
	struct request *r;

	IF_GUEST(req, ino, write, ino, buf, size, off, fi);
	f = file_get(s, ino, fi);
	if (!f) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	r = request_begin(s, req, REPLY_WRITTEN);
	if (!r)
		return;
	r->size = size;
	tree_write(s->tree, &f->h, buf, size, &r->call);
	request_end(s, r);
}

static void on_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	IF_GUEST(req, ino, flush, ino, fi);
	fuse_reply_err(req, 0);
}

static void on_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	IF_GUEST(req, ino, fsync, ino, datasync, fi);
	fuse_reply_err(req, 0);
}

/*
 * A folder's being open means nothing here. A kernel that hears so asks no more, on the whole mount, and keeps what was listed (FUSE_NO_OPENDIR_SUPPORT, protocol
 * 7.29): looking through a thousand folders again is a thousand requests less. What must not be kept is told at the end of each listing.
 */
static void on_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

static void on_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	IF_GUEST(req, ino, readdir, ino, size, off, fi);
	names_list(req, ino, size, off, false);
}

static void on_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	IF_GUEST(req, ino, readdirplus, ino, size, off, fi);
	names_list(req, ino, size, off, true);
}

/* One that an earlier daemon opened. */
static void on_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	IF_GUEST(req, ino, releasedir, ino, fi);
	fuse_reply_err(req, 0);
}

static void on_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = NAME_BYTES_MAX};

	IF_GUEST(req, ino, statfs, ino);
	fuse_reply_statfs(req, &st);
}

static void on_create(
	fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	IF_GUEST(req, parent, create, parent, name, mode, fi);
	fuse_reply_err(req, EPERM);
}

static void on_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
	struct server *s = server_of(req);
	struct open_file *f = fi->fh && !guest_is(s, ino) ? file_get(s, ino, fi) : NULL;

	if (!f) {
		if (ph)
			fuse_pollhandle_destroy(ph);
		fuse_reply_poll(req, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
		return;
	}
	if (ph) {
		if (f->h.poll)
			fuse_pollhandle_destroy(f->h.poll);
		f->h.poll = ph;
	}
	fuse_reply_poll(req, tree_poll(s->tree, &f->h));
}

/* An attribute of banger's has none of these. Not ENOSYS: the kernel would never ask for a guest's again either. */
static void on_fallocate(
	fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi)
{
	IF_GUEST(req, ino, fallocate, ino, mode, offset, length, fi);
	fuse_reply_err(req, EOPNOTSUPP);
}

static void on_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct server *s = server_of(req);
	struct target at;
	struct stat st;
	int r;

	IF_GUEST(req, ino, lseek, ino, off, whence, fi);
	r = tree_target(s->tree, ino, &at);
	if (r == 0)
		r = tree_stat(s->tree, &at, &st);
	/* All of it is data. */
	if (r == 0 && off >= st.st_size)
		r = -ENXIO;
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_lseek(req, whence == SEEK_HOLE ? st.st_size : off);
}

static void on_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in, struct fuse_file_info *fi_in,
	fuse_ino_t ino_out, off_t off_out, struct fuse_file_info *fi_out, size_t len, int flags)
{
	/* EXDEV: the kernel copies by reading and writing. */
	if (guest_is(server_of(req), ino_in) && guest_is(server_of(req), ino_out))
		guest_ops.copy_file_range(req, ino_in, off_in, fi_in, ino_out, off_out, fi_out, len, flags);
	else
		fuse_reply_err(req, EXDEV);
}

static void on_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	IF_GUEST(req, ino, getxattr, ino, name, size);
	fuse_reply_err(req, EOPNOTSUPP);
}

static void on_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	IF_GUEST(req, ino, listxattr, ino, size);
	fuse_reply_err(req, EOPNOTSUPP);
}

static void on_setxattr(
	fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	IF_GUEST(req, ino, setxattr, ino, name, value, size, flags);
	fuse_reply_err(req, EOPNOTSUPP);
}

static void on_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	IF_GUEST(req, ino, removexattr, ino, name);
	fuse_reply_err(req, EOPNOTSUPP);
}

/* Left out on purpose, so that the kernel stops asking: access, and locks, which it keeps itself. */
const struct fuse_lowlevel_ops server_ops = {
	.init = on_init,
	.lookup = on_lookup,
	.forget = on_forget,
	.forget_multi = on_forget_multi,
	.getattr = on_getattr,
	.setattr = on_setattr,
	.readlink = on_readlink,
	.mknod = on_mknod,
	.mkdir = on_mkdir,
	.unlink = on_unlink,
	.rmdir = on_rmdir,
	.symlink = on_symlink,
	.rename = on_rename,
	.link = on_link,
	.open = on_open,
	.read = on_read,
	.write = on_write,
	.release = on_release,
	.flush = on_flush,
	.fsync = on_fsync,
	.opendir = on_opendir,
	.readdir = on_readdir,
	.readdirplus = on_readdirplus,
	.releasedir = on_releasedir,
	.statfs = on_statfs,
	.create = on_create,
	.poll = on_poll,
	.fallocate = on_fallocate,
	.lseek = on_lseek,
	.copy_file_range = on_copy_file_range,
	.getxattr = on_getxattr,
	.listxattr = on_listxattr,
	.setxattr = on_setxattr,
	.removexattr = on_removexattr,
};
