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

static void on_opened(void *user, int code, const struct agent_attr *attr)
{
	(void)user;
	(void)code;
	(void)attr;
}

/*
 * It is pinned, as a file is, so that it outlives its name; nobody waits for that: listing it says what there is to say. One that the kernel lists out of
 * its own pages is pinned when it may lose its name: that a thousand folders are looked through again is no work of the guest's.
 */
void guest_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *s = fuse_req_userdata(req);
	struct guest_cache *c;
	struct place at;
	bool removed = guest_is_removed(s, req, ino);
	int r = removed ? -EBUSY : place_find(s, ino, &at);

	if (r < 0) {
		if (r != -EBUSY || removed || !early_wait(s, req, place_vm(ino)))
			fuse_reply_err(req, -r);
		return;
	}
	/* First: with a new watch all pins go. */
	c = guest_cache(s, at.vm, at.agent);
	/* The kernel looks whether the folder's time has changed; a second change within the clock's grain is told. */
	fi->keep_cache = guest_keeps(c, ino);
	fi->cache_readdir = guest_keeps(c, ino);
	if (fi->keep_cache && folders_opened(s->folders, ino)) {
		fi->fh = GUEST_UNPINNED;
		/* Who opened it has gone, and nothing will be released. */
		if (fuse_reply_open(req, fi) == -ENOENT)
			folders_closed(s->folders, ino);
		return;
	}
	agent_once(at.agent, s->unique);
	r = files_open(at.agent, at.file, O_RDONLY, on_opened, NULL, NULL);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_open(req, fi);
}

/* Before what is asked for now. */
static bool pin(void *user, uint64_t node)
{
	const struct ask *a = user;
	struct place at;

	if (place_look(a->s, node, &at) < 0 || at.vm != a->vm)
		return false;
	agent_once(at.agent, a->s->unique);
	return files_open(at.agent, at.file, O_RDONLY, on_opened, NULL, NULL) == 0;
}

void guest_pin_folders(struct ask *a, struct agent *agent)
{
	folders_tell(a->s->folders, pin, a);
	agent_once(agent, a->s->unique);
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
	for (int i = a->dots; i < DOTS; i++) {
		struct fuse_entry_param dot = {.attr = {.st_mode = S_IFDIR, .st_ino = UINT32_MAX}};

		used += put(a, buf + used, a->size - used, i ? ".." : ".", &dot, i + 1);
	}
	while ((r = files_dirent_next(&data, &n, true, &d)) > 0) {
		struct fuse_entry_param entry;
		char name[256];

		memcpy(name, d.name, d.name_size);
		name[d.name_size] = '\0';
		ask_entry(a, &d.attr, &entry);
		one = put(a, buf + used, a->size - used, name, &entry, offset_of(d.next));
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
	a->dots = off >= 0 && off < DOTS ? (int)off : DOTS;
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
