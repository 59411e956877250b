#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <openssl/evp.h>
#include <zlib.h>

#include "banger/io.h"
#include "image/layer_out.h"

#define LEVEL  6 /* gzip's own */
#define BUFFER (256u * 1024)
#define ZEROS  (4u << 20) /* what a hole is skipped by; hardly read, so hardly there */

struct layer_out {
	int fd;
	struct archive *archive;
	struct archive_entry *entry;
	z_stream z;
	bool z_ready, over; /* nobody wants any more of it */
	EVP_MD_CTX *packed, *plain;
	uint64_t size;
	uint8_t *buffer, *zeros;
	locale_t utf8;
	struct err err; /* of writing, under libarchive */
};

/* What the stream has made goes to the file. */
static int drain(struct layer_out *o, int flush)
{
	int k;

	do {
		size_t n;
		int r;

		o->z.next_out = o->buffer;
		o->z.avail_out = BUFFER;
		k = deflate(&o->z, flush);
		if (k == Z_STREAM_ERROR)
			return err_set(&o->err, -EIO, "zlib failed");
		n = BUFFER - o->z.avail_out;
		EVP_DigestUpdate(o->packed, o->buffer, n);
		o->size += n;
		r = io_write_full(o->fd, o->buffer, n);
		if (r < 0)
			return err_sys(&o->err, r, "writing the layer");
	} while (o->z.avail_out == 0 || (flush == Z_FINISH && k != Z_STREAM_END));
	return 0;
}

static ssize_t write_tar(struct archive *a, void *user, const void *data, size_t n)
{
	struct layer_out *o = user;

	if (o->over)
		return -1;
	n = n > UINT32_MAX / 2 ? UINT32_MAX / 2 : n;
	EVP_DigestUpdate(o->plain, data, n);
	o->z.next_in = (Bytef *)data;
	o->z.avail_in = (uInt)n;
	if (drain(o, Z_NO_FLUSH) < 0) {
		archive_set_error(a, EIO, "%s", err_text(&o->err));
		return -1;
	}
	return (ssize_t)n;
}

static int failure(struct layer_out *o, struct err *e)
{
	const char *text = archive_error_string(o->archive);

	if (o->err.code)
		return err_copy(e, &o->err);
	return err_set(e, archive_errno(o->archive) == ENOMEM ? -ENOMEM : -EIO, "%s",
		text ? text : "the layer could not be written");
}

static int begin(struct layer_out *o, struct err *e)
{
	o->archive = archive_write_new();
	o->entry = archive_entry_new();
	o->packed = EVP_MD_CTX_new();
	o->plain = EVP_MD_CTX_new();
	o->buffer = malloc(BUFFER);
	o->zeros = calloc(1, ZEROS);
	/* Without it libarchive finds names that aren't ASCII odd. */
	o->utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
	if (!o->archive || !o->entry || !o->packed || !o->plain || !o->buffer || !o->zeros ||
		EVP_DigestInit_ex(o->packed, EVP_sha256(), NULL) != 1 ||
		EVP_DigestInit_ex(o->plain, EVP_sha256(), NULL) != 1)
		return err_sys(e, -ENOMEM, "layer");
	/* 15 bits of window, and gzip's header (16), whose time zlib leaves 0. */
	if (deflateInit2(&o->z, LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return err_sys(e, -ENOMEM, "layer");
	o->z_ready = true;
	if (archive_write_set_format_pax(o->archive) != ARCHIVE_OK ||
		archive_write_set_format_option(o->archive, "pax", "xattrheader", "SCHILY") != ARCHIVE_OK ||
		archive_write_set_bytes_per_block(o->archive, 64 * 1024) != ARCHIVE_OK ||
		archive_write_set_bytes_in_last_block(o->archive, 1) != ARCHIVE_OK ||
		archive_write_open(o->archive, o, NULL, write_tar, NULL) != ARCHIVE_OK)
		return failure(o, e);
	return 0;
}

int layer_out_new(int fd, struct layer_out **ret, struct err *e)
{
	_cleanup_(layer_out_freep) struct layer_out *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return err_sys(e, -ENOMEM, "layer");
	o->fd = fd;
	r = begin(o, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(o);
	return 0;
}

struct layer_out *layer_out_free(struct layer_out *o)
{
	if (!o)
		return NULL;
	/* It would write the rest of an entry, and the end of an archive that is none. */
	o->over = true;
	archive_write_free(o->archive);
	archive_entry_free(o->entry);
	if (o->z_ready)
		deflateEnd(&o->z);
	EVP_MD_CTX_free(o->packed);
	EVP_MD_CTX_free(o->plain);
	free(o->buffer);
	free(o->zeros);
	if (o->utf8)
		freelocale(o->utf8);
	err_clear(&o->err);
	free(o);
	return NULL;
}

static int write_header(struct layer_out *o, struct err *e)
{
	locale_t before = o->utf8 ? uselocale(o->utf8) : (locale_t)0;
	int k = archive_write_header(o->archive, o->entry);

	if (o->utf8)
		uselocale(before);
	/* A warning is about a name that isn't UTF-8: it is written as it stands. */
	return k == ARCHIVE_OK || k == ARCHIVE_WARN ? 0 : failure(o, e);
}

static void set_sparse(struct archive_entry *entry, const struct inode *inode, uint32_t block)
{
	for (size_t i = 0; i < inode->extent_count; i++) {
		const struct extent *x = &inode->extents[i];
		uint64_t from = (uint64_t)x->logical * block, n = (uint64_t)x->blocks * block;

		if (from >= inode->size)
			break;
		n = n < inode->size - from ? n : inode->size - from;
		archive_entry_sparse_add_entry(entry, (int64_t)from, (int64_t)n);
	}
	/* The end, where it is a hole, or all of it is. */
	if (inode->extent_count == 0)
		archive_entry_sparse_add_entry(entry, (int64_t)inode->size, 0);
}

int layer_out_entry(struct layer_out *o, const char *path, const struct inode *inode, bool sparse,
	uint32_t block, struct err *e)
{
	struct archive_entry *entry = archive_entry_clear(o->entry);

	archive_entry_copy_pathname(entry, path);
	archive_entry_set_mode(entry, (mode_t)inode->mode);
	archive_entry_set_uid(entry, inode->uid);
	archive_entry_set_gid(entry, inode->gid);
	archive_entry_set_mtime(entry, inode->mtime.tv_sec, inode->mtime.tv_nsec);
	archive_entry_set_size(entry, S_ISREG(inode->mode) ? (int64_t)inode->size : 0);
	if (S_ISLNK(inode->mode))
		archive_entry_copy_symlink(entry, inode->target);
	if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode)) {
		archive_entry_set_rdevmajor(entry, (dev_t)inode->major);
		archive_entry_set_rdevminor(entry, (dev_t)inode->minor);
	}
	for (const struct xattr *x = inode->xattrs; x; x = x->next)
		archive_entry_xattr_add_entry(entry, x->name, x->value, x->size);
	if (sparse)
		set_sparse(entry, inode, block);
	return write_header(o, e);
}

int layer_out_data(struct layer_out *o, const void *data, uint64_t n, struct err *e)
{
	const uint8_t *at = data;

	while (n > 0) {
		size_t piece = n < ZEROS ? (size_t)n : ZEROS;
		la_ssize_t k = archive_write_data(o->archive, at ? at : o->zeros, piece);

		if (k <= 0)
			return failure(o, e);
		at = at ? at + k : NULL;
		n -= (uint64_t)k;
	}
	return 0;
}

int layer_out_link(struct layer_out *o, const char *path, const char *target, struct err *e)
{
	struct archive_entry *entry = archive_entry_clear(o->entry);

	archive_entry_copy_pathname(entry, path);
	archive_entry_copy_hardlink(entry, target);
	archive_entry_set_mode(entry, S_IFREG);
	archive_entry_set_size(entry, 0);
	return write_header(o, e);
}

int layer_out_mark(struct layer_out *o, const char *path, struct err *e)
{
	struct archive_entry *entry = archive_entry_clear(o->entry);

	archive_entry_copy_pathname(entry, path);
	archive_entry_set_mode(entry, S_IFREG);
	archive_entry_set_mtime(entry, 0, 0);
	archive_entry_set_size(entry, 0);
	return write_header(o, e);
}

int layer_out_finish(struct layer_out *o, struct layer_sums *ret, struct err *e)
{
	unsigned n = 32;

	if (archive_write_close(o->archive) != ARCHIVE_OK)
		return failure(o, e);
	if (drain(o, Z_FINISH) < 0)
		return err_copy(e, &o->err);
	if (EVP_DigestFinal_ex(o->packed, ret->packed, &n) != 1 ||
		EVP_DigestFinal_ex(o->plain, ret->plain, &n) != 1)
		return err_set(e, -EIO, "OpenSSL failed");
	ret->size = o->size;
	return 0;
}
