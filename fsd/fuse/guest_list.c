/* What is in a guest's folders. */
#include <errno.h>
#include <fcntl.h>

#include "banger/cleanup.h"
#include "fuse/guest.h"
#include "tree/node.h"

/*
 * Offsets: 1 behind ".", 2 behind "..", then the guest's cookies, moved out of the way of these two: a guest's may be any, from small numbers (tmpfs,
 * overlayfs) to ext4's end of a folder, INT64_MAX, which stays what it is.
 */
#define DOTS 2

static off_t offset_of(uint64_t cookie)
{
	return cookie > INT64_MAX - DOTS ? INT64_MAX : (off_t)cookie + DOTS;
}

static uint64_t cookie_of(off_t offset)
{
	return offset == INT64_MAX ? INT64_MAX : offset < DOTS ? 0 : (uint64_t)offset - DOTS;
}

static size_t put(struct ask *a, char *buf, size_t size, const char *name,
	const struct fuse_entry_param *entry, off_t next)
{
	if (a->plus)
		return fuse_add_direntry_plus(a->req, buf, size, name, entry, next);
	return fuse_add_direntry(a->req, buf, size, name, &entry->attr, next);
}

/* Of a folder that is to be asked for again. */
static void end_listing(struct ask *a)
{
	/* The request may wait longer than A lives. */
	fuse_req_interrupt_func(a->req, NULL, NULL);
	request_listed(a->s, a->req, a->node);
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
	for (int i = a->dots; i < DOTS; i++) {
		struct fuse_entry_param dot = {.attr = {.st_mode = S_IFDIR, .st_ino = UINT32_MAX}};

		used += put(a, buf + used, a->size - used, i ? ".." : ".", &dot, i + 1);
	}
	while ((r = files_dirent_next(&data, &n, true, &d)) > 0) {
		struct fuse_entry_param entry;
		char name[256];

		memcpy(name, d.name, d.name_size);
		name[d.name_size] = '\0';
		a->names[0] = agent_name_hash(name);
		ask_entry(a, &d.attr, &entry);
		one = put(a, buf + used, a->size - used, name, &entry, offset_of(d.next));
		if (one > a->size - used)
			break;
		used += one;
	}
	if (r < 0)
		fuse_reply_err(a->req, EIO);
	else if (!guest_listed(a) && used == 0)
		end_listing(a);
	else
		fuse_reply_buf(a->req, buf, used);
	ask_free(a);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct agent *agent;
	struct ask *a;

	if (guest_is_removed(fuse_req_userdata(req), req, ino)) {
		fuse_reply_err(req, EBUSY);
		return;
	}
	a = ask_new(req, ino, &agent);
	if (!a)
		return;
	a->plus = plus;
	a->size = size;
	a->dots = off >= 0 && off < DOTS ? (int)off : DOTS;
	if (off == 0)
		guest_listing(a);
	/* Attributes are asked for in any case: the node number of an entry needs the generation. */
	ask_sent(a, files_readdir(agent, a->file, cookie_of(off),
			    (uint32_t)(size < FILES_IO_MAX ? size : FILES_IO_MAX), true, on_entries, a,
			    &a->request));
}

void guest_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, off, false);
}

void guest_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
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

void guest_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct agent *agent;
	struct ask *a = ask_new(req, ino, &agent);

	if (a)
		ask_sent(a, files_statfs(agent, a->file, on_statfs, a, &a->request));
}
