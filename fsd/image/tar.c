#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <sys/stat.h>

#include "image/tar.h"

#define LINK_TARGET_MAX 4095 /* a block less its NUL (ext4) */
#define XATTR_MAX       4000 /* what an inode and one block hold (facts on images 2.5) */

/* The tar, as it comes out of its packing. */
struct input {
	struct stream *stream;
	struct err err; /* of the stream */
};

static ssize_t read_input(struct archive *a, void *user, const void **ret)
{
	struct input *in = user;
	ssize_t n = stream_next(in->stream, ret, &in->err);

	if (n < 0)
		archive_set_error(a, EIO, "%s", err_text(&in->err));
	return n < 0 ? -1 : n;
}

static int archive_failure(struct archive *a, struct input *in, struct err *e)
{
	const char *text = archive_error_string(a);

	if (in->err.code)
		return err_copy(e, &in->err);
	/* A truncated archive often comes without a text. */
	return err_set(e, archive_errno(a) == ENOMEM ? -ENOMEM : -EBADMSG, "%s",
		text ? text : "the archive is cut off or damaged");
}

/* Names in an error go to terminals and logs. */
static void printable(const char *path, char *ret, size_t size)
{
	size_t n = 0;

	for (; *path && n + 1 < size; path++)
		ret[n++] = (unsigned char)*path < ' ' || *path == 127 ? '?' : *path;
	ret[n] = '\0';
}

/* What they take on the disk; of those that stay, for libarchive's own archives have each twice. */
static size_t xattrs_size(const struct inode *inode)
{
	size_t total = 0;

	for (const struct xattr *x = inode->xattrs; x; x = x->next)
		total += x->size + strlen(x->name) + 16;
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
		r = inode_add_xattr(inode, name, value, n, e);
	}
	if (r == 0 && xattrs_size(inode) > XATTR_MAX)
		return err_set(e, -EBADMSG, "extended attributes of more than %d bytes", XATTR_MAX);
	return r;
}

static int take_attributes(struct archive_entry *entry, struct inode *inode, struct err *e)
{
	int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);

	if (uid < 0 || uid > UINT32_MAX || gid < 0 || gid > UINT32_MAX)
		return err_set(e, -EBADMSG, "an owner that is no number of 32 bits");
	inode->uid = (uint32_t)uid;
	inode->gid = (uint32_t)gid;
	inode->mtime.tv_sec = archive_entry_mtime(entry);
	inode->mtime.tv_nsec = archive_entry_mtime_nsec(entry);
	inode->atime = inode->ctime = inode->mtime;
	if (archive_entry_atime_is_set(entry)) {
		inode->atime.tv_sec = archive_entry_atime(entry);
		inode->atime.tv_nsec = archive_entry_atime_nsec(entry);
	}
	if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode)) {
		inode->major = (uint32_t)archive_entry_rdevmajor(entry) & 0xfff;
		inode->minor = (uint32_t)archive_entry_rdevminor(entry) & 0xfffff;
	}
	return take_xattrs(entry, inode, e);
}

static int take_contents(struct source *s, struct archive *a, struct input *in, struct archive_entry *entry,
	struct inode *inode, struct err *e)
{
	int64_t size = archive_entry_size(entry), offset;
	const void *data;
	size_t n;
	int k, r = 0;

	if (size < 0 || (uint64_t)size > s->bytes_max)
		return err_set(e, -EFBIG, "larger than the image may be");
	while (r == 0 && (k = archive_read_data_block(a, &data, &n, &offset)) == ARCHIVE_OK) {
		if (offset < 0 || offset > size || n > (uint64_t)(size - offset))
			return err_set(e, -EBADMSG, "contents beyond its size");
		if (n > 0)
			r = writer_data(s->writer, inode, (uint64_t)offset, data, n, e);
	}
	if (r == 0 && k != ARCHIVE_EOF)
		return archive_failure(a, in, e);
	return r == 0 ? writer_end(s->writer, inode, (uint64_t)size, e) : r;
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

static int take_entry(struct source *s, struct archive *a, struct input *in, struct archive_entry *entry,
	const char *path, struct err *e)
{
	const char *hard = archive_entry_hardlink(entry);
	struct inode *inode = NULL;
	uint32_t mode = archive_entry_mode(entry);
	int r;

	if (hard)
		return itree_link(s->tree, path, hard, e);
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
		r = take_contents(s, a, in, entry, inode, e);
	if (r == 0 && S_ISLNK(mode))
		r = take_link(entry, inode, e);
	if (r < 0) {
		inode_free(inode);
		return r;
	}
	return itree_put(s->tree, path, inode, e);
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

/* 1: PATH was a deletion, and is done; 0: it is an entry like others. */
static int take_whiteout(struct source *s, const char *path, struct err *e)
{
	_cleanup_free_ char *target = NULL;
	size_t n;
	const char *name = last_name(path, &n);
	int r, folder = name ? (int)(name - path) : 0;

	if (!name || n < WHITEOUT_SIZE || strncmp(name, WHITEOUT, WHITEOUT_SIZE) != 0)
		return 0;
	if (n == strlen(OPAQUE) && strncmp(name, OPAQUE, n) == 0) {
		if (asprintf(&target, "%.*s", folder, path) < 0)
			target = NULL;
		r = target ? itree_opaque(s->tree, target, e) : err_sys(e, -ENOMEM, "image");
		return r < 0 ? r : 1;
	}
	/* What else aufs keeps beside its files is none of the image's. */
	if (n >= 2 * WHITEOUT_SIZE && strncmp(name + WHITEOUT_SIZE, WHITEOUT, WHITEOUT_SIZE) == 0)
		return 1;
	name += WHITEOUT_SIZE;
	n -= WHITEOUT_SIZE;
	if (n == 0 || (n == 1 && name[0] == '.') || (n == 2 && name[0] == '.' && name[1] == '.'))
		return err_set(e, -EBADMSG, "a whiteout of nothing that has a name");
	if (asprintf(&target, "%.*s%.*s", folder, path, (int)n, name) < 0) {
		target = NULL;
		return err_sys(e, -ENOMEM, "image");
	}
	r = itree_whiteout(s->tree, target, e);
	return r < 0 ? r : 1;
}

static int take_all(struct source *s, struct archive *a, struct input *in, enum tar_kind kind, struct err *e)
{
	struct archive_entry *entry;
	uint64_t count = 0;
	int k, r = 0;

	while (r >= 0 && ((k = archive_read_next_header(a, &entry)) == ARCHIVE_OK || k == ARCHIVE_WARN)) {
		/* The bytes as they stand, whatever the locale makes of them. */
		const char *path = archive_entry_pathname(entry);
		char shown[256];

		if (!path || !*path)
			return err_set(e, -EBADMSG, "an entry without a name");
		count++;
		r = kind == TAR_LAYER ? take_whiteout(s, path, e) : 0;
		if (r == 0)
			r = take_entry(s, a, in, entry, path, e);
		if (r < 0 && r != -EINTR) {
			printable(path, shown, sizeof(shown));
			return err_wrap(e, "%s", shown);
		}
	}
	if (r < 0)
		return r;
	if (k != ARCHIVE_EOF)
		return archive_failure(a, in, e);
	/* A layer that changes nothing is an empty archive. */
	if (count == 0 && kind == TAR_ROOTFS)
		return err_set(e, -EBADMSG, "not a tar archive, or an empty one");
	return 0;
}

/* The end of the tar is not the stream's: what follows is of the digest too, and may be what is damaged. */
static int read_rest(struct input *in, struct err *e)
{
	const void *data;
	ssize_t n;

	do
		n = stream_next(in->stream, &data, e);
	while (n > 0);
	return (int)n;
}

static int read_archive(struct source *s, struct input *in, enum tar_kind kind, struct err *e)
{
	struct archive *a = archive_read_new();
	int r;

	if (!a)
		return err_sys(e, -ENOMEM, "image");
	archive_read_support_format_tar(a);
	if (kind == TAR_LAYER)
		archive_read_support_format_empty(a);
	if (archive_read_open(a, in, NULL, read_input, NULL) != ARCHIVE_OK)
		r = archive_failure(a, in, e);
	else
		r = take_all(s, a, in, kind, e);
	archive_read_free(a);
	return r == 0 ? read_rest(in, e) : r;
}

int tar_read(struct source *s, struct stream *stream, enum tar_kind kind, struct err *e)
{
	struct input in = {.stream = stream};
	locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL), before = (locale_t)0;
	int r;

	/* Without it libarchive warns about each name that isn't ASCII. */
	if (utf8)
		before = uselocale(utf8);
	r = read_archive(s, &in, kind, e);
	err_clear(&in.err);
	if (utf8) {
		uselocale(before);
		freelocale(utf8);
	}
	return r;
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
	if (r == 0)
		r = tar_read(&s, stream, TAR_ROOTFS, e);
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
