#include "fuse/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/mapping.h"

#define RING_SIZE (16u << 20)
#define MAGIC     0x31656a62u
#define ALIGN     8u

enum state {
	LEFT = 1, /* by an earlier daemon, or under way in this one */
	TAKEN,    /* of those left: it is under way again */
	DONE,
	SKIP, /* no operation: what was left of the end */
};

/* Positions only grow; the room of one is its rest by RING_SIZE. */
struct ring {
	uint32_t magic, op_size;
	uint64_t head, tail;
	char room[RING_SIZE];
};

struct journal {
	struct mapping *mapping;
	struct ring *ring;   /* in it */
	uint64_t left_until; /* what lies before was an earlier daemon's */
};

static struct journal_op *at(struct journal *j, uint64_t position)
{
	return (struct journal_op *)(j->ring->room + position % RING_SIZE);
}

static uint64_t length(const struct journal_op *op)
{
	return (sizeof(*op) + op->size + ALIGN - 1) / ALIGN * ALIGN;
}

/* What an earlier daemon left is whole: each operation lies within the ring. */
static bool valid(struct journal *j)
{
	const struct ring *r = j->ring;
	uint64_t p = r->head;

	if (r->magic != MAGIC || r->op_size != sizeof(struct journal_op) || r->tail < r->head ||
		r->tail - r->head > RING_SIZE || r->head % ALIGN || r->tail % ALIGN)
		return false;
	while (p < r->tail) {
		uint64_t end = RING_SIZE - p % RING_SIZE;

		if (end < sizeof(struct journal_op)) {
			p += end;
			continue;
		}
		if (at(j, p)->size > RING_SIZE || length(at(j, p)) > end)
			return false;
		p += at(j, p)->state == SKIP ? end : length(at(j, p));
	}
	return p == r->tail;
}

int journal_open(int run_fd, struct journal **ret, struct err *e)
{
	struct journal *j = calloc(1, sizeof(*j));
	int r;

	if (!j)
		return err_sys(e, -ENOMEM, "behind");
	r = mapping_open(
		run_fd, "behind", sizeof(struct ring), offsetof(struct ring, room), false, &j->mapping, e);
	if (r < 0) {
		free(j);
		return r;
	}
	j->ring = mapping_data(j->mapping);
	if (!valid(j)) {
		j->ring->head = j->ring->tail = 0;
		j->ring->op_size = sizeof(struct journal_op);
		j->ring->magic = MAGIC;
	}
	j->left_until = j->ring->tail;
	/* Under way again in a daemon that ended too. */
	journal_replay(j, 0, NULL, NULL);
	*ret = j;
	return 0;
}

struct journal *journal_close(struct journal *j)
{
	if (!j)
		return NULL;
	mapping_close(j->mapping);
	free(j);
	return NULL;
}

/* Where the next one after P begins; an end of the ring too small for one is passed over. */
static uint64_t next(struct journal *j, uint64_t p)
{
	uint64_t end = RING_SIZE - p % RING_SIZE;

	if (end < sizeof(struct journal_op) || at(j, p)->state == SKIP)
		return p + end;
	return p + length(at(j, p));
}

static bool is_op(struct journal *j, uint64_t p)
{
	return RING_SIZE - p % RING_SIZE >= sizeof(struct journal_op) && at(j, p)->state != SKIP;
}

/* N bytes of the ring from position P on, which lie side by side. */
static bool reserve(struct journal *j, uint64_t p, uint64_t n)
{
	return mapping_reserve(j->mapping, offsetof(struct ring, room) + p % RING_SIZE, n) == 0;
}

struct journal_op *journal_add(struct journal *j, const struct journal_op *op, const void *data)
{
	struct ring *r = j->ring;
	uint64_t need = length(op), end = RING_SIZE - r->tail % RING_SIZE;
	struct journal_op *to;

	if (need > end) {
		if (r->tail + end + need - r->head > RING_SIZE)
			return NULL;
		if (end >= sizeof(*op)) {
			if (!reserve(j, r->tail, sizeof(*op)))
				return NULL;
			*at(j, r->tail) = (struct journal_op){.state = SKIP};
		}
		r->tail += end;
	}
	if (r->tail + need - r->head > RING_SIZE || !reserve(j, r->tail, need))
		return NULL;
	to = at(j, r->tail);
	*to = *op;
	to->state = LEFT;
	if (op->size > 0)
		memcpy(to->data, data, op->size);
	/* Killed before this line, it was never there. */
	__atomic_store_n(&r->tail, r->tail + need, __ATOMIC_RELEASE);
	return to;
}

void journal_done(struct journal *j, struct journal_op *op)
{
	struct ring *r = j->ring;

	op->state = DONE;
	while (r->head < r->tail && (!is_op(j, r->head) || at(j, r->head)->state == DONE))
		r->head = next(j, r->head);
}

void journal_replay(struct journal *j, uint32_t vm, void (*fn)(void *user, struct journal_op *op), void *user)
{
	uint64_t p = j->ring->head;

	while (p < j->left_until) {
		struct journal_op *op = is_op(j, p) ? at(j, p) : NULL;

		/* FN may be done with it, and others before it. */
		p = next(j, p);
		if (op && !fn && op->state == TAKEN) {
			op->state = LEFT;
		} else if (op && fn && op->state == LEFT && op->vm == vm) {
			op->state = TAKEN;
			fn(user, op);
		}
	}
}

bool journal_left(struct journal *j, uint32_t vm, uint64_t node)
{
	for (uint64_t p = j->ring->head; p < j->left_until; p = next(j, p))
		if (is_op(j, p) && at(j, p)->state == LEFT && at(j, p)->vm == vm &&
			(node == 0 || at(j, p)->node == node))
			return true;
	return false;
}

uint32_t journal_boot(const char *boot_id)
{
	uint32_t h = 2166136261; /* FNV-1a */

	for (; boot_id && *boot_id; boot_id++)
		h = (h ^ (uint8_t)*boot_id) * 16777619;
	return h;
}
