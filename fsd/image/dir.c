#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <search.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "image/source.h"

#define DIR_READ (256u * 1024)

/* A file with several names: where the first stands. */
struct seen {
	dev_t dev;
	ino_t ino;
	char *path;
};

struct walk {
	struct source s;
	EVP_MD_CTX *hash;
	dev_t dev;
	void *seen; /* tsearch(3) */
	uint64_t done;
	struct err *e;
	uint8_t buf[DIR_READ];
};

static int by_inode(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x->dev < y->dev ? -1 : x->dev > y->dev;
}

static void seen_free(void *p)
{
	free(((struct seen *)p)->path);
	free(p);
}

/* The manifest that the digest is of: what each entry is. */
static void hash_entry(struct walk *w, const char *path, const struct stat *st)
{
	char line[160];
	int n = snprintf(line, sizeof(line), "%o %u %u %lld %lld.%09ld %llu ", st->st_mode, st->st_uid,
		st->st_gid, S_ISREG(st->st_mode) ? (long long)st->st_size : 0, (long long)st->st_mtim.tv_sec,
		st->st_mtim.tv_nsec, (unsigned long long)st->st_rdev);

	EVP_DigestUpdate(w->hash, line, (size_t)n);
	EVP_DigestUpdate(w->hash, path, strlen(path) + 1);
}

static int read_file(struct walk *w, int fd, struct inode *inode, uint64_t size, struct err *e)
{
	off_t at = 0;
	int r;

	/* From data to data: a hole of the source stays one, and isn't read. */
	while ((uint64_t)at < size) {
		off_t data = lseek(fd, at, SEEK_DATA), end;

		if (data < 0)
			break;
		end = lseek(fd, data, SEEK_HOLE);
		if (end < 0)
			end = (off_t)size;
		for (at = data; at < end && (uint64_t)at < size;) {
			ssize_t n = pread(fd, w->buf, sizeof(w->buf), at);

			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return err_sys(e, -errno, "reading");
			if (n == 0)
				return lane_end(w->s.lane, inode, (uint64_t)at, e);
			if ((uint64_t)(at + n) > size)
				n = (ssize_t)(size - (uint64_t)at);
			EVP_DigestUpdate(w->hash, w->buf, (size_t)n);
			r = lane_data(w->s.lane, inode, (uint64_t)at, w->buf, (size_t)n, e);
			if (r == 0)
				r = op_check(w->s.op, e);
			if (r < 0)
				return r;
			at += n;
			w->done += (uint64_t)n;
			op_progress(w->s.op, w->done, 0);
		}
	}
	return lane_end(w->s.lane, inode, size, e);
}

static int read_xattrs(int fd, struct inode *inode, struct err *e)
{
	char names[4096], value[4096], path[32];
	ssize_t n, k;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = listxattr(path, names, sizeof(names));
	for (char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
		if (strncmp(name, "user.", 5) != 0 && strcmp(name, "security.capability") != 0)
			continue;
		if (strncmp(name, "user.overlay.", 13) == 0)
			continue;
		k = getxattr(path, name, value, sizeof(value));
		if (k >= 0 && inode_add_xattr(inode, name, value, (size_t)k, e) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* 1: PATH was made a hard link to the name seen before. */
static int link_seen(struct walk *w, const char *path, const struct stat *st, struct err *e)
{
	struct seen *key = calloc(1, sizeof(*key)), **found;

	if (!key)
		return err_sys(e, -ENOMEM, "image");
	*key = (struct seen){st->st_dev, st->st_ino, strdup(path)};
	found = tsearch(key, &w->seen, by_inode);
	if (!found || !key->path) {
		seen_free(key);
		return err_sys(e, -ENOMEM, "image");
	}
	if (*found == key)
		return 0;
	seen_free(key);
	return itree_link(w->s.tree, path, (*found)->path, e) < 0 ? e ? e->code : -EIO : 1;
}

static int walk_dir(struct walk *w, int fd, const char *path, unsigned depth, struct err *e);

static int take(struct walk *w, int dir, const char *name, const char *path, unsigned depth, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	struct inode *inode = NULL;
	char target[4096];
	struct stat st;
	ssize_t n;
	int r;

	fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, -errno, "%s", path);
	/* Other file systems mounted in it (proc, dev) are not part of it; sockets are nobody's contents. */
	if (st.st_dev != w->dev || S_ISSOCK(st.st_mode))
		return 0;
	hash_entry(w, path, &st);
	if (!S_ISDIR(st.st_mode) && st.st_nlink > 1) {
		r = link_seen(w, path, &st, e);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	r = inode_new(st.st_mode, &inode, e);
	if (r < 0)
		return r;
	inode->uid = st.st_uid;
	inode->gid = st.st_gid;
	inode->mtime = st.st_mtim;
	inode->atime = st.st_mtim;
	inode->ctime = st.st_mtim;
	inode->major = major(st.st_rdev) & 0xfff;
	inode->minor = minor(st.st_rdev) & 0xfffff;
	r = read_xattrs(fd, inode, e);
	if (r == 0 && S_ISREG(st.st_mode)) {
		int file = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

		r = file < 0 ? err_sys(e, -errno, "%s", path)
			     : read_file(w, file, inode, (uint64_t)st.st_size, e);
		close_fd(file);
	} else if (r == 0 && S_ISLNK(st.st_mode)) {
		n = readlinkat(fd, "", target, sizeof(target) - 1);
		r = n <= 0 ? err_sys(e, -errno, "%s", path) : 0;
		if (r == 0 && !(inode->target = strndup(target, (size_t)n)))
			r = err_sys(e, -ENOMEM, "%s", path);
		inode->size = r == 0 ? (uint64_t)n : 0;
		if (r == 0)
			EVP_DigestUpdate(w->hash, target, (size_t)n);
	}
	if (r < 0) {
		inode_free(inode);
		return r;
	}
	r = itree_put(w->s.tree, path, inode, e);
	if (r == 0 && S_ISDIR(st.st_mode)) {
		int sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		r = sub < 0 ? err_sys(e, -errno, "%s", path) : walk_dir(w, sub, path, depth + 1, e);
	}
	return r;
}

/* FD is taken. Names in the order of their bytes: the same folder makes the same image. */
static int walk_dir(struct walk *w, int fd, const char *path, unsigned depth, struct err *e)
{
	struct dirent **names = NULL;
	_cleanup_close_ int dir = fd;
	int n, r = 0;

	if (depth > TREE_DEPTH_MAX)
		return err_set(e, -EBADMSG, "%s: more than %d folders deep", path, TREE_DEPTH_MAX);
	n = scandirat(dir, ".", &names, NULL, alphasort);
	if (n < 0)
		return err_sys(e, -errno, "%s", path);
	for (int i = 0; i < n; i++) {
		char *below = NULL;

		if (r == 0 && strcmp(names[i]->d_name, ".") != 0 && strcmp(names[i]->d_name, "..") != 0) {
			if (asprintf(&below, "%s/%s", path, names[i]->d_name) < 0)
				r = err_sys(e, -ENOMEM, "%s", path);
			else
				r = take(w, dir, names[i]->d_name, below, depth, e);
			free(below);
		}
		free(names[i]);
	}
	free(names);
	return r;
}

int image_from_dir(int source_fd, int out_fd, const char *uuid_seed, struct op *op, struct image_result *ret,
	struct err *e)
{
	struct walk *w = calloc(1, sizeof(*w));
	struct image_result result = {0};
	unsigned char sum[EVP_MAX_MD_SIZE];
	struct stat st;
	int fd, r = 0;

	if (!w || !(w->hash = EVP_MD_CTX_new()) || EVP_DigestInit_ex(w->hash, EVP_sha256(), NULL) != 1)
		r = err_sys(e, -ENOMEM, "image");
	op_stage(op, IMAGE_STAGE_DIR);
	fd = openat(source_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0 && (fd < 0 || fstat(fd, &st) < 0))
		r = err_sys(e, -errno, "folder");
	if (r == 0)
		r = source_begin(out_fd, 0, uuid_seed, op, &w->s, e);
	if (r == 0) {
		w->dev = st.st_dev;
		w->s.tree->root->inode->mode = st.st_mode;
		w->s.tree->root->inode->uid = st.st_uid;
		w->s.tree->root->inode->gid = st.st_gid;
		w->s.tree->root->inode->mtime = st.st_mtim;
		r = walk_dir(w, TAKE_FD(fd), "", 0, e);
	}
	close_fd(fd);
	if (r == 0)
		r = source_finish(&w->s, out_fd, &result, e);
	if (r == 0) {
		EVP_DigestFinal_ex(w->hash, sum, NULL);
		source_digest(sum, result.digest);
		*ret = result;
	}
	if (w) {
		source_clear(&w->s);
		tdestroy(w->seen, seen_free);
		EVP_MD_CTX_free(w->hash);
	}
	free(w);
	return r;
}
