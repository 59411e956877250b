#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image.h"
#include "image/writer.h"

#define DISK_MIN    (16ull << 20)
#define DISK_MAX    (16ull << 40)
#define JOURNAL_MAX (16ull << 20)

struct dir {
	const char *path;
	uint32_t mode;
};

static int make(int fd, uint64_t size, uint32_t root_mode, const struct dir *dirs, size_t n, struct err *e)
{
	_cleanup_(itree_freep) struct itree *tree = NULL;
	_cleanup_(writer_freep) struct writer *w = NULL;
	struct writer_shape shape = {.size = size - size % WRITER_BLOCK};
	struct timespec now;
	uint64_t content;
	int r;

	if (size < DISK_MIN || size > DISK_MAX)
		return err_set(e, -ERANGE, "a disk has %llu MiB to %llu TiB", DISK_MIN >> 20, DISK_MAX >> 40);
	shape.journal = size / 16 < JOURNAL_MAX ? 4ull << 20 : JOURNAL_MAX;
	clock_gettime(CLOCK_REALTIME, &now);
	r = itree_new(&tree, e);
	if (r == 0)
		r = writer_new(fd, &shape, &w, e);
	if (r < 0)
		return r;
	tree->root->inode->mode = S_IFDIR | root_mode;
	tree->root->inode->atime = tree->root->inode->mtime = tree->root->inode->ctime = now;
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct inode *inode = NULL;

		r = inode_new(S_IFDIR | dirs[i].mode, &inode, e);
		if (r == 0) {
			inode->atime = inode->mtime = inode->ctime = now;
			r = itree_put(tree, dirs[i].path, inode, e);
		}
	}
	return r == 0 ? writer_finish(w, tree, &content, e) : r;
}

int disk_make_work(int fd, uint64_t size, struct err *e)
{
	static const struct dir dirs[] = {{"workspace", 0755}};

	return make(fd, size, 0700, dirs, ELEMENTSOF(dirs), e);
}

int disk_make_overlay(int fd, uint64_t size, struct err *e)
{
	static const struct dir dirs[] = {{"upper", 0755}, {"work", 0700}};

	return make(fd, size, 0755, dirs, ELEMENTSOF(dirs), e);
}

int disk_grow(int fd, uint64_t size, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, -errno, "disk");
	if (size < (uint64_t)st.st_size)
		return err_set(e, -EINVAL, "a disk never shrinks: it has %lld bytes", (long long)st.st_size);
	if (size > DISK_MAX)
		return err_set(e, -ERANGE, "a disk has at most %llu TiB", DISK_MAX >> 40);
	return ftruncate(fd, (off_t)size) < 0 ? err_sys(e, -errno, "growing the disk") : 0;
}
