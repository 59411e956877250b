#include "fuse/asked.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "banger/cleanup.h"
#include "fuse/mapping.h"

#define ASKED_FILE  "asked"
#define MAGIC       0x31717361u
#define SMALL_SIZE  512u /* but for names at their longest and what is written, all are */
#define SMALL_COUNT 16384u
#define LARGE_SIZE  ((1u << 20) + 4096u) /* the most that is written at once, and what goes before it */
#define LARGE_COUNT 16u
#define SLOT_COUNT  (SMALL_COUNT + LARGE_COUNT)
#define BUCKETS     4096u
#define NO_SLOT     UINT32_MAX

struct slot {
	_Atomic uint32_t size; /* of the request; 0: free. Set last */
	uint32_t interrupted;
};

struct file {
	uint32_t magic, small, large, reserved;
	struct slot slots[SLOT_COUNT];
	char small_room[SMALL_COUNT][SMALL_SIZE];
	char large_room[LARGE_COUNT][LARGE_SIZE];
};

struct asked {
	struct mapping *mapping;
	struct file *file;                           /* in it */
	uint32_t buckets[BUCKETS], next[SLOT_COUNT]; /* those in use, by number; else the next that is free */
	uint32_t free_small, free_large;
};

static char *room(const struct asked *a, uint32_t slot)
{
	return slot < SMALL_COUNT ? a->file->small_room[slot] : a->file->large_room[slot - SMALL_COUNT];
}

static size_t room_size(uint32_t slot)
{
	return slot < SMALL_COUNT ? SMALL_SIZE : LARGE_SIZE;
}

static uint64_t unique_of(const struct asked *a, uint32_t slot)
{
	struct fuse_in_header in;

	memcpy(&in, room(a, slot), sizeof(in));
	return in.unique;
}

/* The kernel counts by two. */
static uint32_t *bucket(struct asked *a, uint64_t unique)
{
	return &a->buckets[(unique >> 1) % BUCKETS];
}

static void push(struct asked *a, uint32_t *list, uint32_t slot)
{
	a->next[slot] = *list;
	*list = slot;
}

static uint32_t *free_list(struct asked *a, uint32_t slot)
{
	return slot < SMALL_COUNT ? &a->free_small : &a->free_large;
}

/* Each slot on its list; the first to be used is the first, so that no more of the file is ever there than was needed at once. */
static void index_slots(struct asked *a)
{
	struct slot *slots = a->file->slots;

	memset(a->buckets, 0xff, sizeof(a->buckets));
	a->free_small = a->free_large = NO_SLOT;
	for (uint32_t i = SLOT_COUNT; i-- > 0;) {
		if (slots[i].size < sizeof(struct fuse_in_header) || slots[i].size > room_size(i))
			slots[i].size = 0;
		push(a, slots[i].size ? bucket(a, unique_of(a, i)) : free_list(a, i), i);
	}
}

int asked_open(int run_fd, bool fresh, struct asked **ret, struct err *e)
{
	struct asked *a = calloc(1, sizeof(*a));
	struct file *f;
	int r;

	if (!a)
		return err_sys(e, -ENOMEM, ASKED_FILE);
	r = mapping_open(
		run_fd, ASKED_FILE, sizeof(*f), offsetof(struct file, small_room), fresh, &a->mapping, e);
	if (r < 0) {
		free(a);
		return r;
	}
	f = mapping_data(a->mapping);
	if (f->magic != MAGIC || f->small != SMALL_SIZE || f->large != LARGE_SIZE) {
		for (uint32_t i = 0; i < SLOT_COUNT; i++)
			f->slots[i].size = 0;
		f->small = SMALL_SIZE;
		f->large = LARGE_SIZE;
		f->magic = MAGIC;
	}
	a->file = f;
	index_slots(a);
	*ret = a;
	return 0;
}

struct asked *asked_close(struct asked *a)
{
	if (a) {
		mapping_close(a->mapping);
		free(a);
	}
	return NULL;
}

/* Where what points at the slot of UNIQUE is; at the end of its list: there is none. */
static uint32_t *find(struct asked *a, uint64_t unique)
{
	uint32_t *at = bucket(a, unique);

	while (*at != NO_SLOT && unique_of(a, *at) != unique)
		at = &a->next[*at];
	return at;
}

static bool wants_answer(uint32_t opcode)
{
	return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INIT &&
	       opcode != FUSE_DESTROY && opcode != FUSE_NOTIFY_REPLY;
}

static void note_interrupt(struct asked *a, const void *data, size_t n)
{
	struct fuse_interrupt_in in;
	uint32_t slot;

	if (n < sizeof(struct fuse_in_header) + sizeof(in))
		return;
	memcpy(&in, (const char *)data + sizeof(struct fuse_in_header), sizeof(in));
	slot = *find(a, in.unique);
	if (slot != NO_SLOT)
		a->file->slots[slot].interrupted = 1;
}

void asked_keep(struct asked *a, const void *data, size_t n)
{
	struct fuse_in_header in;
	uint32_t slot, *list = n <= SMALL_SIZE ? &a->free_small : &a->free_large;

	if (n < sizeof(in) || n > LARGE_SIZE)
		return;
	memcpy(&in, data, sizeof(in));
	if (in.opcode == FUSE_INTERRUPT) {
		note_interrupt(a, data, n);
		return;
	}
	slot = *list;
	if (!wants_answer(in.opcode) || slot == NO_SLOT ||
		mapping_reserve(a->mapping, (size_t)(room(a, slot) - (char *)a->file), n) < 0)
		return;
	*list = a->next[slot];
	memcpy(room(a, slot), data, n);
	a->file->slots[slot].interrupted = 0;
	atomic_store_explicit(&a->file->slots[slot].size, (uint32_t)n, memory_order_release);
	push(a, bucket(a, in.unique), slot);
}

void asked_done(struct asked *a, uint64_t unique)
{
	uint32_t *at = a ? find(a, unique) : NULL, slot;

	if (!at || *at == NO_SLOT)
		return;
	slot = *at;
	*at = a->next[slot];
	atomic_store_explicit(&a->file->slots[slot].size, 0, memory_order_release);
	push(a, free_list(a, slot), slot);
}

struct left {
	uint64_t unique;
	uint32_t slot;
};

static int by_number(const void *x, const void *y)
{
	const struct left *a = x, *b = y;

	return a->unique < b->unique ? -1 : a->unique > b->unique;
}

void asked_replay(struct asked *a, void (*fn)(void *user, void *data, size_t n), void *user)
{
	_cleanup_free_ struct left *left = calloc(SLOT_COUNT, sizeof(*left));
	size_t count = 0;

	for (uint32_t i = 0; left && i < SLOT_COUNT; i++)
		if (a->file->slots[i].size)
			left[count++] = (struct left){.unique = unique_of(a, i), .slot = i};
	if (count)
		qsort(left, count, sizeof(*left), by_number);
	for (size_t i = 0; i < count; i++) {
		const struct slot *s = &a->file->slots[left[i].slot];
		struct {
			struct fuse_in_header in;
			struct fuse_interrupt_in what;
		} interrupt = {
			.in = {.len = sizeof(interrupt),
				.opcode = FUSE_INTERRUPT,
				.unique = left[i].unique | 1},
			.what.unique = left[i].unique,
		};
		uint32_t interrupted = s->interrupted;

		fn(user, room(a, left[i].slot), s->size);
		if (interrupted)
			fn(user, &interrupt, sizeof(interrupt));
	}
}
