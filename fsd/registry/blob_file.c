/* Blobs that are made here: what they are is known when they are whole. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "registry/blobs_state.h"

#define PIECE (1u << 20)

int blob_file_begin(struct blobs *b, struct blob_file *ret, struct err *e)
{
	_cleanup_close_ int dir = -EBADF;
	_cleanup_free_ char *name = NULL;
	uint64_t number;
	int fd, r = blobs_dir(b, true, &dir, e);

	if (r < 0)
		return r;
	if (getrandom(&number, sizeof(number), 0) != sizeof(number) ||
		asprintf(&name, MADE_PREFIX "%016llx" PART_SUFFIX, (unsigned long long)number) < 0) {
		name = NULL;
		return err_sys(e, -ENOMEM, "blob");
	}
	fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, -errno, "making a blob");
	*ret = (struct blob_file){.fd = fd, .name = TAKE_PTR(name)};
	return 0;
}

static int digest_file(int fd, char ret[DIGEST_TEXT_MAX], uint64_t *ret_size, struct err *e)
{
	_cleanup_(hash_freep) struct hash *h = NULL;
	_cleanup_free_ uint8_t *piece = malloc(PIECE);
	uint64_t at = 0;
	ssize_t n = 0;
	int r = piece ? hash_new("sha256:", &h, e) : err_sys(e, -ENOMEM, "blob");

	if (r < 0)
		return r;
	while ((n = pread(fd, piece, PIECE, (off_t)at)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, -errno, "reading a blob");
		hash_update(h, piece, (size_t)n);
		at += (uint64_t)n;
	}
	hash_text(h, ret);
	*ret_size = at;
	return *ret ? 0 : err_sys(e, -ENOMEM, "blob");
}

int blob_file_commit(struct blobs *b, struct blob_file *f, char ret_digest[DIGEST_TEXT_MAX],
	uint64_t *ret_size, struct err *e)
{
	_cleanup_close_ int dir = -EBADF;
	_cleanup_free_ char *name = NULL;
	char digest[DIGEST_TEXT_MAX];
	uint64_t size = 0;
	int r = digest_file(f->fd, digest, &size, e);

	if (r == 0)
		r = blobs_dir(b, true, &dir, e);
	if (r < 0)
		return r;
	name = blobs_name(digest, "");
	if (!name)
		return err_sys(e, -ENOMEM, "blob");
	if (fsync(f->fd) < 0 || renameat(dir, f->name, dir, name) < 0 || fsync(dir) < 0)
		return err_sys(e, -errno, "keeping blob %s", digest);
	free(f->name);
	f->name = NULL;
	memcpy(ret_digest, digest, sizeof(digest));
	*ret_size = size;
	return 0;
}

void blob_file_end(struct blobs *b, struct blob_file *f)
{
	_cleanup_close_ int dir = -EBADF;

	if (f->name && blobs_dir(b, false, &dir, NULL) == 0)
		unlinkat(dir, f->name, 0);
	free(f->name);
	close_fd(f->fd);
	*f = (struct blob_file){.fd = -EBADF};
}
