#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/source.h"

#define READ_SIZE  (512u * 1024)
#define XATTR_MAX  4000 /* what an inode and one block hold (facts on images 2.5) */
#define RATIO_MAX  1200 /* more than deflate can pack: a bomb of another kind */
#define RATIO_FREE (1ull << 30)

/* The archive's bytes, as they are read: hashed and counted. */
struct input {
	int fd;
	uint64_t read, size;
	EVP_MD_CTX *hash;
	struct op *op;
	char buf[READ_SIZE];
};

static ssize_t read_input(struct archive *a, void *user, const void **ret)
{
	struct input *in = user;
	ssize_t n;

	if (op_cancelled(in->op)) {
		archive_set_error(a, EINTR, "cancelled");
		return -1;
	}
	do
		n = read(in->fd, in->buf, sizeof(in->buf));
	while (n < 0 && errno == EINTR);
	if (n < 0) {
		archive_set_error(a, errno, "reading: %s", strerror(errno));
		return -1;
	}
	EVP_DigestUpdate(in->hash, in->buf, (size_t)n);
	in->read += (uint64_t)n;
	op_progress(in->op, in->read, in->size);
	*ret = in->buf;
	return n;
}

static int archive_failure(struct archive *a, struct input *in, const char *path, struct err *e)
{
	const char *text = archive_error_string(a);
	int code = archive_errno(a) == EINTR ? -EINTR : archive_errno(a) == ENOMEM ? -ENOMEM : -EBADMSG;

	if (op_cancelled(in->op))
		return err_set(e, -EINTR, "cancelled");
	/* A truncated archive often comes without a text. */
	if (!text)
		text = "the archive is cut off or damaged";
	return path ? err_set(e, code, "%s: %s", path, text) : err_set(e, code, "%s", text);
}

/* Names in an error go to terminals and logs. */
static void printable(const char *path, char *ret, size_t size)
{
	size_t n = 0;

	for (; *path && n + 1 < size; path++)
		ret[n++] = (unsigned char)*path < ' ' || *path == 127 ? '?' : *path;
	ret[n] = '\0';
}

static bool xattr_wanted(const char *name)
{
	/* Those of overlayfs would hide or redirect files when the guest mounts the image below an overlay. */
	if (strncmp(name, "trusted.overlay.", 16) == 0 || strncmp(name, "user.overlay.", 13) == 0)
		return false;
	return strncmp(name, "user.", 5) == 0 || strncmp(name, "security.", 9) == 0 ||
	       strncmp(name, "trusted.", 8) == 0 || strncmp(name, "system.posix_acl_", 17) == 0;
}

static int take_xattrs(struct archive_entry *entry, struct inode *inode, struct err *e)
{
	const char *name;
	const void *value;
	size_t n, total = 0;
	int r = 0;

	archive_entry_xattr_reset(entry);
	while (r == 0 && archive_entry_xattr_next(entry, &name, &value, &n) == ARCHIVE_OK) {
		if (!name || !xattr_wanted(name) || strlen(name) > 255)
			continue;
		total += n + strlen(name) + 16;
		if (total > XATTR_MAX)
			return err_set(e, -EBADMSG, "extended attributes of more than %d bytes", XATTR_MAX);
		r = inode_add_xattr(inode, name, value, n, e);
	}
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
		return archive_failure(a, in, NULL, e);
	return r == 0 ? writer_end(s->writer, inode, (uint64_t)size, e) : r;
}

static int take_link(struct archive_entry *entry, struct inode *inode, struct err *e)
{
	const char *target = archive_entry_symlink(entry);

	if (!target || !*target || strlen(target) > 4094)
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

static int take_all(struct source *s, struct archive *a, struct input *in, struct err *e)
{
	struct archive_entry *entry;
	uint64_t count = 0;
	int k, r = 0;

	while (r == 0 && ((k = archive_read_next_header(a, &entry)) == ARCHIVE_OK || k == ARCHIVE_WARN)) {
		/* The bytes as they stand, whatever the locale makes of them. */
		const char *path = archive_entry_pathname(entry);
		char shown[256];

		if (!path || !*path)
			return err_set(e, -EBADMSG, "an entry without a name");
		count++;
		r = take_entry(s, a, in, entry, path, e);
		if (r < 0 && r != -EINTR) {
			printable(path, shown, sizeof(shown));
			return err_wrap(e, "%s", shown);
		}
		if (archive_filter_bytes(a, 0) > (int64_t)RATIO_FREE &&
			(uint64_t)archive_filter_bytes(a, 0) / RATIO_MAX > in->read)
			return err_set(e, -EBADMSG, "unpacks to more than %d times its size", RATIO_MAX);
	}
	if (r == 0 && k != ARCHIVE_EOF)
		return archive_failure(a, in, NULL, e);
	if (r == 0 && count == 0)
		return err_set(e, -EBADMSG, "not a tar archive, or an empty one");
	return r;
}

/* Bytes behind the archive's end belong to the digest; garbage there is none of ours. */
static int read_rest(struct input *in, struct err *e)
{
	ssize_t n;

	while ((n = read(in->fd, in->buf, sizeof(in->buf))) > 0) {
		EVP_DigestUpdate(in->hash, in->buf, (size_t)n);
		if (op_cancelled(in->op))
			return err_set(e, -EINTR, "cancelled");
	}
	return n < 0 ? err_sys(e, -errno, "reading") : 0;
}

int image_from_tar(int source_fd, int out_fd, const char *uuid_seed, struct op *op, struct image_result *ret,
	struct err *e)
{
	struct archive *a = archive_read_new();
	struct input *in = calloc(1, sizeof(*in));
	struct image_result result = {0};
	struct source s = {0};
	unsigned char sum[EVP_MAX_MD_SIZE];
	locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL), before = (locale_t)0;
	struct stat st;
	int r = 0;

	if (!a || !in || !(in->hash = EVP_MD_CTX_new()) ||
		EVP_DigestInit_ex(in->hash, EVP_sha256(), NULL) != 1)
		r = err_sys(e, -ENOMEM, "image");
	/* Without it libarchive warns about each name that isn't ASCII. */
	if (utf8)
		before = uselocale(utf8);
	if (r == 0) {
		in->fd = source_fd;
		in->op = op;
		if (fstat(source_fd, &st) == 0 && S_ISREG(st.st_mode)) {
			in->size = (uint64_t)st.st_size;
			posix_fadvise(source_fd, 0, 0, POSIX_FADV_SEQUENTIAL);
		}
		archive_read_support_filter_all(a);
		archive_read_support_format_tar(a);
		op_stage(op, "unpack");
		r = source_begin(out_fd, 0, uuid_seed, op, &s, e);
	}
	if (r == 0 && archive_read_open(a, in, NULL, read_input, NULL) != ARCHIVE_OK)
		r = archive_failure(a, in, NULL, e);
	if (r == 0)
		r = take_all(&s, a, in, e);
	if (r == 0)
		r = read_rest(in, e);
	if (r == 0)
		r = source_finish(&s, out_fd, &result, e);
	if (r == 0) {
		EVP_DigestFinal_ex(in->hash, sum, NULL);
		source_digest(sum, result.digest);
		*ret = result;
	}
	source_clear(&s);
	archive_read_free(a);
	if (in)
		EVP_MD_CTX_free(in->hash);
	free(in);
	if (utf8) {
		uselocale(before);
		freelocale(utf8);
	}
	return r;
}
