/*
 * What is known of files of a guest that tells of changes, so that it need not be asked: what a folder is like that was seen, or in which a name was
 * made; which names a folder that was made here can have; and what was found, or not, under a name, for the kernel keeps none (before Linux 6.16), or forgets all at once.
 * Changes by others make all of it unknown again. The kernel asks for what a folder is like each time that it has listed it, for its time of access.
 */
#include "banger/cleanup.h"
#include "banger/io.h"
#include "fuse/guest.h"
#include "tree/node.h"

#define ATTR_SETS   16384
#define ATTR_WAYS   3  /* of 1,108 folders (a checkout of 20,000 files) one way loses 73, two 3, three none */
#define FRESH_MAX   64 /* folders; the oldest gives way */
#define FRESH_NAMES 65536 /* in each; more make it unknown */
#define FRESH_BEGIN 64
#define NAME_SETS   32768 /* two names of a checkout of as many files as this in each */
#define NAME_WAYS   2

/* A folder that was made here, empty, and the names that were made in it since, by their hashes: one of them is there, perhaps. */
struct fresh {
	uint64_t node; /* 0: none */
	uint64_t *names;
	size_t count, size; /* SIZE a power of 2; 0 in NAMES: free */
};

/* What was found under a name. */
struct found {
	uint64_t name; /* 0: nothing */
	uint64_t changes;
	uint64_t usec;
	uint64_t node; /* 0: there is no such name */
	struct agent_attr attr;
};

struct known {
	struct attr_set {
		uint64_t changed; /* the last change of any of its nodes */
		struct slot {
			uint64_t node;  /* 0: none */
			uint64_t asked; /* when it was like that: so many changes before */
			struct agent_attr attr;
		} slots[ATTR_WAYS]; /* the last one that came first */
	} attrs[ATTR_SETS];
	uint64_t
		changes; /* by requests from here and by others, so many so far: what sets and MOVED are in */
	uint64_t moved;  /* the last one of any folder */
	uint64_t dropped; /* the last one that could be any */
	/* By the name's number; and when any of that set was changed last. 9 MiB, of which only what is looked up is ever there. */
	struct found found[NAME_SETS][NAME_WAYS];
	uint64_t names[NAME_SETS];
	struct fresh fresh[FRESH_MAX];
	size_t next;
};

static struct attr_set *attrs_of(struct known *k, uint64_t node)
{
	return &k->attrs[node_place(node, ATTR_SETS)];
}

/* NULL: NODE isn't among them; of node 0: none is free. */
static struct slot *slot_of(struct attr_set *set, uint64_t node)
{
	for (size_t i = 0; i < ATTR_WAYS; i++)
		if (set->slots[i].node == node)
			return &set->slots[i];
	return NULL;
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
	k->dropped = k->changes;
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
	struct attr_set *set = k ? attrs_of(k, node) : NULL;
	struct slot *slot = set ? slot_of(set, node) : NULL;

	if (set)
		set->changed = ++k->changes;
	if (slot)
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
	struct attr_set *set = k ? attrs_of(k, node) : NULL;
	struct slot *slot;

	if (!k || changes < k->moved || changes < set->changed)
		return;
	slot = slot_of(set, node);
	if (slot && changes < slot->asked)
		return;
	/* Its own, or a free one, or that of whoever came first. */
	if (!slot)
		slot = slot_of(set, 0);
	if (!slot)
		slot = &set->slots[ATTR_WAYS - 1];
	memmove(set->slots + 1, set->slots, (size_t)(slot - set->slots) * sizeof(*slot));
	set->slots[0] = (struct slot){.node = node, .asked = changes, .attr = *attr};
}

bool known_same(struct known *k, uint64_t node, uint64_t changes)
{
	return k && changes >= k->moved && changes >= attrs_of(k, node)->changed;
}

bool known_get(struct known *k, uint64_t node, struct agent_attr *ret)
{
	const struct slot *slot = k ? slot_of(attrs_of(k, node), node) : NULL;

	if (!slot || slot->asked < k->moved)
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
	at = place(f->names, f->size, agent_name_hash(name));
	if (!*at)
		f->count++;
	*at = agent_name_hash(name);
}

bool known_absent(struct known *k, uint64_t node, const char *name)
{
	const struct fresh *f = find(k, node);

	return f && !*place(f->names, f->size, agent_name_hash(name));
}

void known_name_changing(struct known *k, uint64_t name)
{
	if (k)
		k->names[node_place(name, NAME_SETS)] = ++k->changes;
}

/* Under its name there still is what was found. */
static bool is_there(const struct known *k, const struct found *f, uint64_t now)
{
	return f->name != 0 && now - f->usec < KNOWN_USEC && f->changes >= k->dropped &&
	       f->changes >= k->names[node_place(f->name, NAME_SETS)];
}

/* And it is as it was. */
static bool is_same(struct known *k, const struct found *f)
{
	return f->node == 0 || f->changes >= attrs_of(k, f->node)->changed;
}

void known_found(
	struct known *k, uint64_t name, uint64_t node, const struct agent_attr *attr, uint64_t changes)
{
	struct found *set = k ? k->found[node_place(name, NAME_SETS)] : NULL, *at;
	uint64_t now = io_now_usec();

	/* Under another of its names it may come and go. */
	if (!k || (node && !S_ISDIR(attr->mode) && attr->nlink != 1))
		return;
	/* Its own place, or one that holds nothing any more, or the older one's. */
	at = &set[0];
	for (size_t i = 0; i < NAME_WAYS; i++) {
		if (set[i].name == name) {
			at = &set[i];
			break;
		}
		if (is_there(k, at, now) && (!is_there(k, &set[i], now) || set[i].usec < at->usec))
			at = &set[i];
	}
	*at = (struct found){.name = name, .changes = changes, .usec = now, .node = node};
	if (node)
		at->attr = *attr;
}

bool known_named(
	struct known *k, uint64_t name, uint64_t *ret_node, struct agent_attr *ret, uint64_t *ret_usec)
{
	struct found *set = k ? k->found[node_place(name, NAME_SETS)] : NULL;
	uint64_t now = io_now_usec();

	for (size_t i = 0; k && i < NAME_WAYS; i++) {
		const struct found *f = &set[i];

		if (f->name != name || !is_there(k, f, now))
			continue;
		*ret_node = f->node;
		*ret_usec = KNOWN_USEC - (now - f->usec);
		*ret = f->attr;
		return is_same(k, f) || (S_ISDIR(f->attr.mode) && known_get(k, f->node, ret));
	}
	return false;
}
