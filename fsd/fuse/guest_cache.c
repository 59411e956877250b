/*
 * What the kernel may keep of a guest's files: all that it has read of the work disk, for as long as the guest tells of each change
 * (AGENT_FS_WATCH). What has changed is told to the kernel before anything else is that the guest has said later. Of file systems beside the
 * work disk nothing is kept.
 */
#include "banger/cleanup.h"
#include "fuse/guest.h"
#include "fuse/journal.h"
#include "tree/node.h"

/* A file that is written through a shared mapping in the guest tells so when it is closed; this is how long that may stay unseen. */
#define ATTR_SECONDS  60
#define ENTRY_SECONDS 3600
#define KEPT_SLOTS    65536 /* as many files as are used over and over: a checkout's */
#define KEPT_WAYS     4     /* slots that a node may be in; the one that was put in last goes last */

struct guest_cache {
	struct server *s;
	uint32_t vm;
	struct agent *agent; /* who was asked to tell; NULL: nobody is */
	bool live;           /* it does */
	bool asked;          /* somebody was, before */
	bool absent;         /* the kernel was told of a name that is not there */
	uint32_t boot;
	struct known *known;
	/* Nodes whose pages are as they were when it was opened last; one that another takes the place of has to be read again. */
	uint64_t kept[KEPT_SLOTS];
	uint64_t plain[KEPT_SLOTS]; /* likewise, those without extended attributes */
	LIST_ENTRY(guest_cache) link;
};

static struct guest_cache *find(struct server *s, uint32_t vm)
{
	struct guest_cache *c;

	LIST_FOREACH (c, &s->caches[vm % CACHE_BUCKETS], link)
		if (c->vm == vm)
			return c;
	return NULL;
}

/* Where NODE is or would be. */
static uint64_t *set_of(uint64_t *slots, uint64_t node)
{
	return &slots[node_hash(node) % (KEPT_SLOTS / KEPT_WAYS) * KEPT_WAYS];
}

static bool holds(uint64_t *slots, uint64_t node)
{
	uint64_t *set = set_of(slots, node);

	for (size_t i = 0; i < KEPT_WAYS; i++)
		if (set[i] == node)
			return true;
	return false;
}

static void forget(uint64_t *slots, uint64_t node)
{
	uint64_t *set = set_of(slots, node);

	for (size_t i = 0; i < KEPT_WAYS; i++)
		if (set[i] == node)
			set[i] = 0;
}

static void put(uint64_t *slots, uint64_t node)
{
	uint64_t *set = set_of(slots, node);

	if (holds(slots, node))
		return;
	memmove(set + 1, set, (KEPT_WAYS - 1) * sizeof(*set));
	set[0] = node;
}

/* Nothing that the kernel has is right for sure. */
static void drop_all(struct guest_cache *c)
{
	memset(c->kept, 0, sizeof(c->kept));
	memset(c->plain, 0, sizeof(c->plain));
	known_drop(c->known);
	notify_names(c->s);
	c->absent = false;
}

static void on_changed(void *user, const void *data, size_t n)
{
	struct guest_cache *c = user;
	struct file_ref file;
	uint32_t flags = 0;

	if (!c->live)
		return;
	if (files_changed_flags(&data, &n, &flags) <= 0 || (flags & AGENT_CHANGED_ALL)) {
		drop_all(c);
		return;
	}
	while (files_changed_next(&data, &n, &file) > 0) {
		uint64_t node = node_guest_number(c->vm, NODE_WORK, file.ino, file.tag - 1);

		forget(c->kept, node);
		forget(c->plain, node);
		behind_changed(c->s, node);
		known_changed(c->known, node);
		if (!notify_attributes(c->s, node)) {
			drop_all(c);
			return;
		}
	}
	/* A name that was not there is asked for again: all that the kernel was told of are. */
	if ((flags & AGENT_CHANGED_NAMES) || ((flags & AGENT_CHANGED_NEW) && c->absent)) {
		notify_names(c->s);
		c->absent = false;
	}
}

static void on_watched(void *user, int code)
{
	struct guest_cache *c = user;

	/* What was read before is not known to be right. */
	if (code == 0 && c->agent) {
		drop_all(c);
		c->live = true;
	}
}

struct guest_cache *guest_cache(struct server *s, uint32_t vm, struct agent *agent)
{
	struct guest_cache *c = find(s, vm);

	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c)
			return NULL;
		c->s = s;
		c->vm = vm;
		c->known = known_new();
		LIST_INSERT_HEAD(&s->caches[vm % CACHE_BUCKETS], c, link);
	}
	if (c->agent != agent) {
		struct vm_view v;

		vm_view(tree_vm(s->tree, vm), &v);
		c->live = false;
		c->agent = agent;
		c->boot = journal_boot(v.boot_id);
		behinds_replay(s, vm, c->boot, agent);
		if (files_watch(agent, !s->adopted && !c->asked, on_changed, on_watched, c, NULL) < 0)
			c->agent = NULL;
		else
			c->asked = true;
	}
	return c;
}

void guest_cache_check(struct server *s, struct vm *vm)
{
	struct agent *agent = vm_files(vm);
	struct vm_view v;
	struct guest_cache *c;

	vm_view(vm, &v);
	/* Whether or not somebody asks for its files now: a program in the guest may, or a stop may come. */
	if (agent && behind_left(s, v.id, 0))
		guest_cache(s, v.id, agent);
	c = find(s, v.id);
	if (!c || !c->agent || c->agent == agent)
		return;
	c->agent = NULL;
	c->live = false;
	drop_all(c);
}

static void destroy(struct guest_cache *c)
{
	LIST_REMOVE(c, link);
	known_free(c->known);
	free(c);
}

void guest_cache_forget(struct server *s, uint32_t vm)
{
	struct guest_cache *c = find(s, vm);

	behinds_forget(s, vm);
	if (c)
		destroy(c);
}

void guest_caches_free(struct server *s)
{
	for (size_t i = 0; i < CACHE_BUCKETS; i++)
		while (LIST_FIRST(&s->caches[i]))
			destroy(LIST_FIRST(&s->caches[i]));
}

bool guest_is_live(const struct guest_cache *c)
{
	return c && c->live;
}

struct known *guest_known(const struct guest_cache *c)
{
	return guest_is_live(c) ? c->known : NULL;
}

uint32_t guest_boot(const struct guest_cache *c)
{
	return c ? c->boot : 0;
}

double guest_attr_timeout(const struct guest_cache *c, const struct agent_attr *attr)
{
	return guest_is_live(c) && attr->space == AGENT_SPACE_WORK ? ATTR_SECONDS : 0;
}

double guest_entry_timeout(const struct guest_cache *c, const struct agent_attr *attr, bool in_root)
{
	return c && c->s->epochs && !in_root && guest_attr_timeout(c, attr) > 0 ? ENTRY_SECONDS : 0;
}

double guest_absent_timeout(const struct ask *a)
{
	struct guest_cache *c = a->cache;

	if (!guest_is_live(c) || !c->s->epochs || a->in_root || (a->file.tag & AGENT_TAG_TREE))
		return 0;
	c->absent = true;
	return ENTRY_SECONDS;
}

bool guest_keeps(struct guest_cache *c, uint64_t node)
{
	struct node n;
	bool kept;

	if (!guest_is_live(c) || !node_parse(node, &n) || !n.guest || n.space != NODE_WORK)
		return false;
	kept = holds(c->kept, node);
	put(c->kept, node);
	return kept;
}

bool guest_is_plain(struct guest_cache *c, uint64_t node)
{
	return guest_is_live(c) && holds(c->plain, node);
}

void guest_plain(struct guest_cache *c, uint64_t node, const struct agent_attr *attr)
{
	if (!guest_is_live(c) || attr->space != AGENT_SPACE_WORK)
		return;
	if (attr->flags & AGENT_ATTR_PLAIN)
		put(c->plain, node);
	else
		forget(c->plain, node);
}

void guest_not_plain(struct guest_cache *c, uint64_t node)
{
	if (c)
		forget(c->plain, node);
}

void guest_changed_in_root(const struct ask *a)
{
	uint64_t node;

	if (!a->in_root || !guest_is_live(a->cache))
		return;
	for (unsigned i = 0; i < a->dir_count; i++) {
		if (a->dirs[i].tag & AGENT_TAG_TREE)
			continue;
		node = node_guest_number(a->vm, NODE_WORK, a->dirs[i].ino, a->dirs[i].tag - 1);
		known_changed(a->cache->known, node);
		notify_attributes(a->s, node);
		notify_names(a->s);
	}
}
