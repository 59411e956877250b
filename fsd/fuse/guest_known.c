/*
 * What is known of folders of a guest that tells of changes, so that it need not be asked: what a folder is like that was seen, or in which a name was
 * made, and which names a folder that was made here can have. Changes by others make both unknown again. The kernel asks for what a folder is like each time
 * that it has listed it, for its time of access.
 */
#include "banger/cleanup.h"
#include "fuse/guest.h"
#include "tree/node.h"

#define ATTR_SLOTS  16384
#define FRESH_MAX   64    /* folders; the oldest gives way */
#define FRESH_NAMES 65536 /* in each; more make it unknown */
#define FRESH_BEGIN 64

/* A folder that was made here, empty, and the names that were made in it since, by their hashes: one of them is there, perhaps. */
struct fresh {
	uint64_t node; /* 0: none */
	uint64_t *names;
	size_t count, size; /* SIZE a power of 2; 0 in NAMES: free */
};

struct known {
	struct slot {
		uint64_t node; /* 0: none */
		uint64_t changed;
		struct agent_attr attr;
	} attrs[ATTR_SLOTS];
	uint64_t
		changes; /* by requests from here and by others, so many so far: what slots and MOVED are in */
	uint64_t moved;  /* the last one of any folder */
	struct fresh fresh[FRESH_MAX];
	size_t next;
};

static uint64_t hash(const char *name)
{
	uint64_t h = 0xcbf29ce484222325; /* FNV-1a */

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 0x100000001b3;
	return h ? h : 1;
}

static struct slot *slot_of(struct known *k, uint64_t node)
{
	return &k->attrs[node_hash(node) % ATTR_SLOTS];
}

struct known *known_new(void)
{
	return calloc(1, sizeof(struct known));
}

static void clear(struct fresh *f)
{
	free(f->names);
	*f = (struct fresh){0};
}

void known_drop(struct known *k)
{
	if (!k)
		return;
	known_moved(k);
	for (size_t i = 0; i < FRESH_MAX; i++)
		clear(&k->fresh[i]);
}

struct known *known_free(struct known *k)
{
	known_drop(k);
	free(k);
	return NULL;
}

static struct fresh *find(struct known *k, uint64_t node)
{
	for (size_t i = 0; k && i < FRESH_MAX; i++)
		if (k->fresh[i].node == node)
			return &k->fresh[i];
	return NULL;
}

void known_changing(struct known *k, uint64_t node)
{
	struct slot *slot = k ? slot_of(k, node) : NULL;

	if (!k)
		return;
	slot->changed = ++k->changes;
	if (slot->node == node)
		slot->node = 0;
}

void known_moved(struct known *k)
{
	if (k)
		k->moved = ++k->changes;
}

void known_changed(struct known *k, uint64_t node)
{
	struct fresh *f = find(k, node);

	if (f)
		clear(f);
	known_changing(k, node);
}

uint64_t known_changes(const struct known *k)
{
	return k ? k->changes : 0;
}

void known_attr(struct known *k, uint64_t node, const struct agent_attr *attr, uint64_t changes)
{
	struct slot *slot = k ? slot_of(k, node) : NULL;

	if (!k || changes < k->moved || changes < slot->changed)
		return;
	*slot = (struct slot){.node = node, .changed = changes, .attr = *attr};
}

bool known_get(struct known *k, uint64_t node, struct agent_attr *ret)
{
	const struct slot *slot = k ? slot_of(k, node) : NULL;

	if (!k || slot->node != node || slot->changed < k->moved)
		return false;
	*ret = slot->attr;
	return true;
}

void known_fresh(struct known *k, uint64_t node)
{
	struct fresh *f;

	if (!k)
		return;
	f = find(k, node);
	if (!f)
		f = &k->fresh[k->next++ % FRESH_MAX];
	clear(f);
	f->names = calloc(FRESH_BEGIN, sizeof(*f->names));
	if (!f->names)
		return;
	f->size = FRESH_BEGIN;
	f->node = node;
}

static uint64_t *place(uint64_t *names, size_t size, uint64_t h)
{
	size_t i = h & (size - 1);

	while (names[i] && names[i] != h)
		i = (i + 1) & (size - 1);
	return &names[i];
}

static bool grow(struct fresh *f)
{
	uint64_t *names = f->size < 2 * FRESH_NAMES ? calloc(2 * f->size, sizeof(*names)) : NULL;

	if (!names)
		return false;
	for (size_t i = 0; i < f->size; i++)
		if (f->names[i])
			*place(names, 2 * f->size, f->names[i]) = f->names[i];
	free(f->names);
	f->names = names;
	f->size *= 2;
	return true;
}

void known_name(struct known *k, uint64_t node, const char *name)
{
	struct fresh *f = find(k, node);
	uint64_t *at;

	if (!f)
		return;
	if (2 * f->count >= f->size && !grow(f)) {
		clear(f);
		return;
	}
	at = place(f->names, f->size, hash(name));
	if (!*at)
		f->count++;
	*at = hash(name);
}

bool known_absent(struct known *k, uint64_t node, const char *name)
{
	const struct fresh *f = find(k, node);

	return f && !*place(f->names, f->size, hash(name));
}
