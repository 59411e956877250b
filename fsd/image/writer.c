#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/mkfs.h"
#include "image/meta.h"

#define RUN_MAX 32768u /* blocks of one extent (ext4: EXT_INIT_MAX_LEN) */

int writer_new(int fd, const struct writer_shape *shape, struct writer **ret, struct err *e)
{
	struct writer *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return err_sys(e, -ENOMEM, "image");
	w->fd = fd;
	w->lanes = shape->lanes ? shape->lanes : 1;
	if (ftruncate(fd, (off_t)shape->size) < 0)
		r = err_sys(e, -errno, "image");
	else
		r = mkfs_make(fd, shape, &w->fs, e);
	if (r == 0)
		r = space_new(w->fs, fd, shape->weights, w->lanes, &w->space, e);
	if (r < 0) {
		writer_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

struct writer *writer_free(struct writer *w)
{
	if (w) {
		space_free(w->space);
		if (w->fs)
			ext2fs_free(w->fs);
		free(w);
	}
	return NULL;
}

int writer_alloc(struct writer *w, uint32_t n, uint64_t *ret_first, uint32_t *ret_n, struct err *e)
{
	return space_take(w->space, w->lanes, n, ret_first, ret_n, e);
}

int writer_extent(struct inode *inode, uint32_t logical, uint64_t physical, uint32_t blocks, struct err *e)
{
	struct extent *last = inode->extent_count ? &inode->extents[inode->extent_count - 1] : NULL;

	if (last && last->logical + last->blocks == logical && last->physical + last->blocks == physical &&
		last->blocks < RUN_MAX) {
		uint32_t more = RUN_MAX - last->blocks < blocks ? RUN_MAX - last->blocks : blocks;

		last->blocks += more;
		logical += more;
		physical += more;
		blocks -= more;
	}
	if (blocks == 0)
		return 0;
	if (inode->extent_count == inode->extent_room) {
		size_t room = inode->extent_room ? inode->extent_room * 2 : 1;
		struct extent *bigger = realloc(inode->extents, room * sizeof(*bigger));

		if (!bigger)
			return err_sys(e, -ENOMEM, "image");
		inode->extents = bigger;
		inode->extent_room = room;
	}
	inode->extents[inode->extent_count++] = (struct extent){physical, logical, blocks};
	return 0;
}

void writer_drop(void *writer, struct inode *inode)
{
	struct writer *w = writer;

	for (size_t i = 0; i < inode->extent_count; i++)
		if (space_give(w->space, inode->extents[i].physical, inode->extents[i].blocks) < 0)
			w->failed = true;
	inode->extent_count = 0;
}

void writer_turn(struct writer *w)
{
	space_turn(w->space);
}

void writer_stop(struct writer *w)
{
	space_stop(w->space);
}
