#include "image/space.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

#include "image/writer.h"

#define RUN_MAX    32768u /* blocks of one extent (ext4: EXT_INIT_MAX_LEN) */
#define REGION_MIN 1024u  /* blocks: a layer of a few bytes may unpack to more */

/* Blocks up to LAST; those before AT are taken, or are no longer asked about. */
struct window {
	uint64_t at, last;
};

/* A lane's own, what lanes before it left over, and the half that isn't divided; all but the first on its turn only. */
#define WINDOWS 3
struct region {
	struct window windows[WINDOWS];
	unsigned at;
};

struct run {
	uint64_t first, blocks;
};

struct space {
	ext2_filsys fs;
	int fd;
	pthread_mutex_t lock;
	pthread_cond_t moved;
	size_t lanes, turn;
	bool stopped;
	struct run *given;
	size_t given_count, given_room;
	struct region regions[]; /* one more than lanes */
};

static void divide(struct space *s, const uint64_t *weights)
{
	uint64_t first = s->fs->super->s_first_data_block, last = ext2fs_blocks_count(s->fs->super) - 1;
	uint64_t half = (last - first + 1) / 2, least = half / s->lanes / 2, at = first;
	unsigned __int128 sum = 0;

	if (least > REGION_MIN)
		least = REGION_MIN;
	for (size_t i = 0; i < s->lanes; i++)
		sum += weights[i];
	for (size_t i = 0; i < s->lanes; i++) {
		uint64_t share =
			sum ? (uint64_t)((half - s->lanes * least) * (unsigned __int128)weights[i] / sum) : 0;
		uint64_t end = at + least + share - 1;

		s->regions[i].windows[0] = (struct window){at, end};
		s->regions[i].windows[1] = (struct window){first, end};
		s->regions[i].windows[2] = (struct window){first + half, last};
		at = end + 1;
	}
}

int space_new(
	ext2_filsys fs, int fd, const uint64_t *weights, size_t lanes, struct space **ret, struct err *e)
{
	struct space *s = calloc(1, sizeof(*s) + (lanes + 1) * sizeof(*s->regions));
	struct window all = {fs->super->s_first_data_block, ext2fs_blocks_count(fs->super) - 1};

	if (!s)
		return err_sys(e, -ENOMEM, "image");
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->moved, NULL);
	s->fs = fs;
	s->fd = fd;
	s->lanes = lanes;
	for (size_t i = 0; i <= lanes; i++)
		s->regions[i] = (struct region){{all, {1, 0}, {1, 0}}, 0};
	if (lanes > 1)
		divide(s, weights);
	*ret = s;
	return 0;
}

struct space *space_free(struct space *s)
{
	if (s) {
		pthread_cond_destroy(&s->moved);
		pthread_mutex_destroy(&s->lock);
		free(s->given);
		free(s);
	}
	return NULL;
}

/* With the lock held. */
static int find(struct space *s, size_t lane, uint64_t *ret, struct err *e)
{
	struct region *region = &s->regions[lane];
	blk64_t found;

	for (; region->at < WINDOWS; region->at++) {
		struct window *w = &region->windows[region->at];

		if (w->at > w->last)
			continue;
		while (region->at > 0 && s->turn < lane && !s->stopped)
			pthread_cond_wait(&s->moved, &s->lock);
		if (s->stopped)
			return err_set(e, -ECANCELED, "cancelled");
		if (ext2fs_find_first_zero_block_bitmap2(s->fs->block_map, w->at, w->last, &found) == 0) {
			*ret = found;
			return 0;
		}
	}
	return err_set(e, -ENOSPC, "the image is full");
}

int space_take(struct space *s, size_t lane, uint32_t n, uint64_t *ret_first, uint32_t *ret_n, struct err *e)
{
	struct window *w;
	uint64_t first = 0;
	blk64_t end;
	int r;

	pthread_mutex_lock(&s->lock);
	r = find(s, lane, &first, e);
	if (r == 0) {
		w = &s->regions[lane].windows[s->regions[lane].at];
		if (n > RUN_MAX)
			n = RUN_MAX;
		if (first + n - 1 > w->last)
			n = (uint32_t)(w->last - first + 1);
		if (n > 1 && ext2fs_find_first_set_block_bitmap2(
				     s->fs->block_map, first, first + n - 1, &end) == 0)
			n = (uint32_t)(end - first);
		ext2fs_block_alloc_stats_range(s->fs, first, n, +1);
		w->at = first + n;
		*ret_first = first;
		*ret_n = n;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* With the lock held. */
static int remember(struct space *s, uint64_t first, uint32_t n)
{
	struct run *last = s->given_count ? &s->given[s->given_count - 1] : NULL;

	if (last && last->first + last->blocks == first) {
		last->blocks += n;
		return 0;
	}
	if (s->given_count == s->given_room) {
		size_t room = s->given_room ? s->given_room * 2 : 64;
		struct run *bigger = reallocarray(s->given, room, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		s->given = bigger;
		s->given_room = room;
	}
	s->given[s->given_count++] = (struct run){first, n};
	return 0;
}

int space_give(struct space *s, uint64_t first, uint32_t n)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = remember(s, first, n);
	pthread_mutex_unlock(&s->lock);
	return r;
}

void space_turn(struct space *s)
{
	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->given_count; i++) {
		const struct run *run = &s->given[i];

		for (uint64_t done = 0; done < run->blocks; done += RUN_MAX)
			ext2fs_block_alloc_stats_range(s->fs, run->first + done,
				(blk_t)(run->blocks - done < RUN_MAX ? run->blocks - done : RUN_MAX), -1);
		/* What is taken anew must read as zeros where nothing is written. */
		fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			(off_t)(run->first * WRITER_BLOCK), (off_t)(run->blocks * WRITER_BLOCK));
	}
	s->given_count = 0;
	s->turn++;
	pthread_cond_broadcast(&s->moved);
	pthread_mutex_unlock(&s->lock);
}

void space_stop(struct space *s)
{
	pthread_mutex_lock(&s->lock);
	s->stopped = true;
	pthread_cond_broadcast(&s->moved);
	pthread_mutex_unlock(&s->lock);
}
