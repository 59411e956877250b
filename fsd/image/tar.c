#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>

#include "image/acl.h"
#include "image/source.h"
#include "image/tar.h"

#define LINK_TARGET_MAX 4095 /* a block less its NUL (ext4) */
#define XATTR_MAX       4000 /* what an inode and one block hold (facts on images 2.5) */

static ssize_t read_input(struct archive *a, void *user, const void **ret)
{
	struct tar_input *in = user;
	ssize_t n = stream_next(in->stream, ret, &in->err);

	if (n < 0)
		archive_set_error(a, EIO, "%s", err_text(&in->err));
	return n < 0 ? -1 : n;
}

int tar_failure(struct archive *a, const struct tar_input *in, struct err *e)
{
	const char *text = archive_error_string(a);

	if (in->err.code)
		return err_copy(e, &in->err);
	if (text && strcmp(text, "Unrecognized archive format") == 0)
		text = "it is no tar, packed or not";
	/* A truncated archive often comes without a text. */
	return err_set(e, archive_errno(a) == ENOMEM ? -ENOMEM : -EBADMSG, "%s",
		text ? text : "the archive is cut off or damaged");
}

/* What they take on the disk; of those that stay, for libarchive's own archives have each twice. */
static size_t xattrs_size(const struct inode *inode)
{
	size_t total = 0;

	for (const struct xattr *x = inode->xattrs; x; x = x->next)
		total += 16 + ((x->size + 3) & ~(size_t)3) + ((strlen(x->name) + 3) & ~(size_t)3);
	return total;
}

static int take_xattrs(struct archive_entry *entry, struct inode *inode, struct err *e)
{
	const char *name;
	const void *value;
	size_t n;
	int r = 0;

	archive_entry_xattr_reset(entry);
	while (r == 0 && archive_entry_xattr_next(entry, &name, &value, &n) == ARCHIVE_OK) {
		if (!name || !source_xattr_wanted(name) || strlen(name) > 255)
			continue;
		if (n > XATTR_MAX || xattrs_size(inode) > XATTR_MAX)
			return err_set(e, -EBADMSG, "extended attributes of more than %d bytes", XATTR_MAX);
		if (acl_is_name(name) && !acl_is_valid(name, value, n, S_ISDIR(inode->mode)))
			return err_set(
				e, -EBADMSG, "the extended attribute %s is no access control list", name);
		r = inode_add_xattr(inode, name, value, n, e);
	}
	if (r == 0 && xattrs_size(inode) > XATTR_MAX)
		return err_set(e, -EBADMSG, "extended attributes of more than %d bytes", XATTR_MAX);
	return r;
}

/* libarchive reads "-1.5" as -1 and a half upwards; -0.5, whose sign it loses, stays as it is. */
static struct timespec time_of(int64_t sec, long nsec)
{
	if (sec < 0 && nsec > 0)
		return (struct timespec){.tv_sec = sec - (sec > INT64_MIN), .tv_nsec = 1000000000 - nsec};
	return (struct timespec){.tv_sec = sec, .tv_nsec = nsec};
}

static int take_attributes(struct archive_entry *entry, struct inode *inode, struct err *e)
{
	int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);

	if (uid < 0 || uid > UINT32_MAX || gid < 0 || gid > UINT32_MAX)
		return err_set(e, -EBADMSG, "an owner that is no number of 32 bits");
	inode->uid = (uint32_t)uid;
	inode->gid = (uint32_t)gid;
	inode->mtime = time_of(archive_entry_mtime(entry), archive_entry_mtime_nsec(entry));
	inode->atime = inode->ctime = inode->mtime;
	if (archive_entry_atime_is_set(entry))
		inode->atime = time_of(archive_entry_atime(entry), archive_entry_atime_nsec(entry));
	if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode)) {
		inode->major = (uint32_t)archive_entry_rdevmajor(entry) & 0xfff;
		inode->minor = (uint32_t)archive_entry_rdevminor(entry) & 0xfffff;
	}
	return take_xattrs(entry, inode, e);
}

static int take_contents(const struct tar_place *p, struct archive *a, struct tar_input *in,
	struct archive_entry *entry, struct inode *inode, struct err *e)
{
	int64_t size = archive_entry_size(entry), offset;
	const void *data;
	size_t n;
	int k, r = 0;

	if (size < 0 || (uint64_t)size > p->bytes_max)
		return err_set(e, -EFBIG, "larger than the image may be");
	while (r == 0 && (k = archive_read_data_block(a, &data, &n, &offset)) == ARCHIVE_OK) {
		if (offset < 0 || offset > size || n > (uint64_t)(size - offset))
			return err_set(e, -EBADMSG, "contents beyond its size");
		if (n > 0)
			r = lane_data(p->lane, inode, (uint64_t)offset, data, n, e);
	}
	if (r == 0 && k != ARCHIVE_EOF)
		return tar_failure(a, in, e);
	return r == 0 ? lane_end(p->lane, inode, (uint64_t)size, e) : r;
}

static int take_link(struct archive_entry *entry, struct inode *inode, struct err *e)
{
	const char *target = archive_entry_symlink(entry);

	if (!target || !*target || strlen(target) > LINK_TARGET_MAX)
		return err_set(e, -EBADMSG, "a symbolic link to nothing, or to a path too long");
	inode->target = strdup(target);
	inode->size = strlen(target);
	return inode->target ? 0 : err_sys(e, -ENOMEM, "image");
}

/* An inode of an entry that is no other's second name. */
static int read_inode(const struct tar_place *p, struct archive *a, struct tar_input *in,
	struct archive_entry *entry, struct inode **ret, struct err *e)
{
	struct inode *inode = NULL;
	uint32_t mode = archive_entry_mode(entry);
	int r;

	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
		break;
	default:
		return err_set(e, -EBADMSG, "an entry of a kind that no file system has");
	}
	r = inode_new(mode, &inode, e);
	if (r == 0)
		r = take_attributes(entry, inode, e);
	if (r == 0 && S_ISREG(mode))
		r = take_contents(p, a, in, entry, inode, e);
	if (r == 0 && S_ISLNK(mode))
		r = take_link(entry, inode, e);
	if (r < 0) {
		inode_free(inode);
		return r;
	}
	*ret = inode;
	return 0;
}

#define WHITEOUT      ".wh."
#define WHITEOUT_SIZE (sizeof(WHITEOUT) - 1)
#define OPAQUE        ".wh..wh..opq"

/* The last component of PATH, as itree_put() would see it; NULL: none. */
static const char *last_name(const char *path, size_t *ret_n)
{
	size_t end = strlen(path), at;

	while (end > 0 && path[end - 1] == '/')
		end--;
	for (at = end; at > 0 && path[at - 1] != '/'; at--)
		continue;
	*ret_n = end - at;
	return end > at ? path + at : NULL;
}

/* Whether a folder on the way to PATH has a name that deletes; those that aufs keeps for itself are folders like others. */
static bool below_whiteout(const char *path)
{
	for (const char *next; (next = strchr(path, '/')); path = next + 1)
		if (strncmp(path, WHITEOUT, WHITEOUT_SIZE) == 0 && next[1] &&
			strncmp(path + WHITEOUT_SIZE, WHITEOUT, WHITEOUT_SIZE) != 0)
			return true;
	return false;
}

/* 1: PATH is a deletion, and *C says which; 2: it is none of the image's; 0: it is an entry like others. */
static int read_whiteout(const char *path, struct change *c, struct err *e)
{
	size_t n;
	const char *name = last_name(path, &n);
	int folder = name ? (int)(name - path) : 0;

	if (below_whiteout(path))
		return err_set(e, -EBADMSG, "below a name that only deletes");
	if (!name || n < WHITEOUT_SIZE || strncmp(name, WHITEOUT, WHITEOUT_SIZE) != 0)
		return 0;
	if (n == strlen(OPAQUE) && strncmp(name, OPAQUE, n) == 0) {
		c->kind = CHANGE_OPAQUE;
		c->target = strndup(path, (size_t)folder);
		return c->target ? 1 : err_sys(e, -ENOMEM, "image");
	}
	/* What else aufs keeps beside its files is none of the image's. */
	if (n >= 2 * WHITEOUT_SIZE && strncmp(name + WHITEOUT_SIZE, WHITEOUT, WHITEOUT_SIZE) == 0)
		return 2;
	name += WHITEOUT_SIZE;
	n -= WHITEOUT_SIZE;
	if (n == 0 || (n == 1 && name[0] == '.') || (n == 2 && name[0] == '.' && name[1] == '.'))
		return err_set(e, -EBADMSG, "a whiteout of nothing that has a name");
	c->kind = CHANGE_WHITEOUT;
	if (asprintf(&c->target, "%.*s%.*s", folder, path, (int)n, name) < 0) {
		c->target = NULL;
		return err_sys(e, -ENOMEM, "image");
	}
	return 1;
}

/* What an entry changes; its contents are written. 1: something; 0: nothing. */
static int read_change(const struct tar_place *p, struct archive *a, struct tar_input *in,
	struct archive_entry *entry, const char *path, struct change *c, struct err *e)
{
	const char *hard = archive_entry_hardlink(entry);
	int r = p->kind == TAR_LAYER ? read_whiteout(path, c, e) : 0;

	if (r == 0 && hard) {
		c->kind = CHANGE_LINK;
		c->target = strdup(hard);
		r = c->target ? 1 : err_sys(e, -ENOMEM, "image");
	} else if (r == 0) {
		c->kind = CHANGE_PUT;
		r = read_inode(p, a, in, entry, &c->inode, e);
		if (r == 0)
			r = 1;
	}
	if (r == 1 && !(c->path = strdup(path)))
		r = err_sys(e, -ENOMEM, "image");
	return r == 2 ? 0 : r;
}

/* What is wrong with the entry PATH; where no name can be read, LAST is the one before. */
static void wrap_entry(struct err *e, const char *path, const char *last)
{
	if (path && *path)
		change_wrap(e, path);
	else if (*last)
		err_wrap(e, "behind %s", last);
}

static int take_all(const struct tar_place *p, struct archive *a, struct tar_input *in, struct err *e)
{
	struct archive_entry *entry;
	uint64_t count = 0;
	char last[CHANGE_SHOWN] = "";
	int k, r = 0;

	while (r >= 0 && ((k = archive_read_next_header(a, &entry)) == ARCHIVE_OK || k == ARCHIVE_WARN)) {
		/* The bytes as they stand, whatever the locale makes of them. */
		const char *path = archive_entry_pathname(entry);
		struct change c = {0};

		if (!path || !*path)
			r = err_set(e, -EBADMSG, "an entry without a name");
		/* Those that replace each other too: they cost time. */
		else if (++count > TREE_ENTRIES_MAX)
			r = err_set(e, -EFBIG, "more than %u entries", TREE_ENTRIES_MAX);
		else
			r = read_change(p, a, in, entry, path, &c, e);
		if (r < 0 && r != -EINTR)
			wrap_entry(e, path, last);
		if (path && *path)
			change_show(path, last, sizeof(last));
		if (r > 0)
			r = p->sink.take(p->sink.user, &c, e);
		change_clear(&c);
	}
	if (r < 0)
		return r;
	if (k != ARCHIVE_EOF) {
		const char *path = archive_entry_pathname(entry);

		r = tar_failure(a, in, e);
		if (r == -EINTR)
			return r;
		wrap_entry(e, path, last);
		return r;
	}
	/* A layer that changes nothing is an empty archive. */
	if (count == 0 && p->kind == TAR_ROOTFS)
		return err_set(e, -EBADMSG, "not a tar archive, or an empty one");
	return 0;
}

/* Without it libarchive warns about each name that isn't ASCII. One for all threads, for good. */
static locale_t utf8;
static void load_utf8(void)
{
	utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
}

int tar_open(struct tar_input *in, bool empty, struct archive **ret, struct err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct archive *a = archive_read_new();
	int r = 0;

	if (!a)
		return err_sys(e, -ENOMEM, "image");
	pthread_once(&once, load_utf8);
	if (utf8)
		in->before = uselocale(utf8);
	archive_read_support_format_tar(a);
	if (empty)
		archive_read_support_format_empty(a);
	if (archive_read_open(a, in, NULL, read_input, NULL) != ARCHIVE_OK)
		r = tar_failure(a, in, e);
	if (r < 0)
		tar_close(in, a);
	else
		*ret = a;
	return r;
}

void tar_close(struct tar_input *in, struct archive *a)
{
	archive_read_free(a);
	err_clear(&in->err);
	if (in->before)
		uselocale(in->before);
	in->before = (locale_t)0;
}

/* The end of the tar is not the stream's: what follows is of the digest too, and may be what is damaged. */
int tar_rest(struct tar_input *in, struct err *e)
{
	const void *data;
	ssize_t n;

	do
		n = stream_next(in->stream, &data, e);
	while (n > 0);
	return (int)n;
}

int tar_read(struct stream *stream, const struct tar_place *place, struct err *e)
{
	struct tar_input in = {.stream = stream};
	struct archive *a = NULL;
	int r = tar_open(&in, place->kind == TAR_LAYER, &a, e);

	if (r < 0)
		return r;
	r = take_all(place, a, &in, e);
	if (r == 0)
		r = tar_rest(&in, e);
	tar_close(&in, a);
	return r;
}

static int apply(void *tree, struct change *c, struct err *e)
{
	return change_apply(tree, c, e);
}

int image_from_tar(int source_fd, int out_fd, const char *uuid_seed, struct op *op, struct image_result *ret,
	struct err *e)
{
	_cleanup_(stream_freep) struct stream *stream = NULL;
	struct image_result result = {0};
	struct source s = {0};
	unsigned char sum[32];
	int r;

	op_stage(op, IMAGE_STAGE_TAR);
	r = source_begin(out_fd, 0, uuid_seed, op, &s, e);
	if (r == 0)
		r = stream_open(STREAM_WHOLE(source_fd), op, STREAM_HASH_PACKED, &stream, e);
	if (r == 0) {
		const struct tar_place place = {.kind = TAR_ROOTFS,
			.lane = s.lane,
			.bytes_max = s.bytes_max,
			.sink = {.take = apply, .user = s.tree}};

		r = tar_read(stream, &place, e);
	}
	if (r == 0)
		r = source_finish(&s, out_fd, &result, e);
	if (r == 0) {
		stream_digest(stream, sum);
		source_digest(sum, result.digest);
		*ret = result;
	}
	source_clear(&s);
	return r;
}
