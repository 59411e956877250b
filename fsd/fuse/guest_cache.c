/*
 * What the kernel may keep of a guest's files: all that it has read of the work disk, for as long as the guest tells of each change
 * (AGENT_FS_WATCH). What has changed is told to the kernel before anything else is that the guest has said later. Of file systems beside the
 * work disk nothing is kept.
 */
#include "banger/cleanup.h"
#include "fuse/guest.h"
#include "fuse/journal.h"
#include "tree/node.h"

#define ATTR_SECONDS  (KNOWN_USEC / 1000000)
#define ENTRY_SECONDS 3600
#define KEPT_SLOTS    65536 /* as many files as are used over and over: a checkout's */
#define KEPT_WAYS     4     /* slots that a node may be in; the one that was put in last goes last */

struct guest_cache {
	struct server *s;
	uint32_t vm;
	struct agent *agent; /* who was asked to tell; NULL: nobody is */
	bool live;           /* it does */
	bool asked;          /* somebody was, before */
	uint32_t boot;
	struct known *known;
	struct told *told;
	bool asks_root;     /* which folder the workspace is */
	uint64_t roots;     /* told_roots() when that was asked */
	uint64_t workspace; /* the tree's node of it; 0: there is none */
	/* Nodes whose pages are as they were when it was opened last; one that another takes the place of has to be read again. */
	uint64_t kept[KEPT_SLOTS];
	uint64_t plain[KEPT_SLOTS]; /* likewise, those without extended attributes */
	/* Folders that the kernel may list out of its own pages: it is told when they change, and of one that another takes the place of. */
	uint64_t listed[KEPT_SLOTS];
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
	return &slots[node_place(node, KEPT_SLOTS / KEPT_WAYS) * KEPT_WAYS];
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

/* What gives way to it; 0: nothing. */
static uint64_t put(uint64_t *slots, uint64_t node)
{
	uint64_t *set = set_of(slots, node), last = set[KEPT_WAYS - 1];

	if (holds(slots, node))
		return 0;
	memmove(set + 1, set, (KEPT_WAYS - 1) * sizeof(*set));
	set[0] = node;
	return last;
}

static void forget_names(struct guest_cache *c)
{
	notify_names(c->s);
	told_nothing(c->told);
}

/* What is in the workspace is no longer what the kernel may list. */
static void tell_workspace(struct guest_cache *c)
{
	if (!c->workspace)
		return;
	known_changed(c->known, c->workspace);
	forget(c->listed, c->workspace);
	notify_pages(c->s, c->workspace);
}

/* Nothing that the kernel has is right for sure. */
static void drop_all(struct guest_cache *c)
{
	for (size_t i = 0; i < KEPT_SLOTS; i++)
		if (c->listed[i]) {
			notify_pages(c->s, c->listed[i]);
			c->listed[i] = 0;
		}
	tell_workspace(c);
	memset(c->kept, 0, sizeof(c->kept));
	memset(c->plain, 0, sizeof(c->plain));
	known_drop(c->known);
	forget_names(c);
}

/* Others have changed FILE, of the work disk, which is NODE. False: too much to be told to the kernel. */
static bool tell_changed(struct guest_cache *c, struct file_ref file, uint64_t node)
{
	if (told_is_root(c->told, file))
		tell_workspace(c);
	known_changed(c->known, node);
	if (!holds(c->listed, node))
		return notify_attributes(c->s, node);
	/* By its time alone the kernel would not know of a second change within the clock's grain. */
	forget(c->listed, node);
	notify_pages(c->s, node);
	return true;
}

static void ask_root(struct guest_cache *c);

static void on_root(void *user, int code, const struct agent_attr *attr)
{
	struct guest_cache *c = user;

	c->asks_root = false;
	if (code < 0 || !c->agent || attr->space != AGENT_SPACE_WORK)
		return;
	told_root(c->told, (struct file_ref){attr->ino, 1u + (uint8_t)attr->generation}, c->roots);
	if (!told_knows_root(c->told))
		ask_root(c);
}

static void ask_root(struct guest_cache *c)
{
	c->roots = told_roots(c->told);
	c->asks_root = files_getattr(c->agent, (struct file_ref){0}, on_root, c, NULL) == 0;
}

/* After names have changed: another folder is the workspace, perhaps. */
static void look_for_root(struct guest_cache *c)
{
	if (told_knows_root(c->told))
		return;
	tell_workspace(c);
	if (!c->asks_root)
		ask_root(c);
}

static void on_changed(void *user, const void *data, size_t n)
{
	struct guest_cache *c = user;
	struct file_ref file;
	uint32_t flags = 0;
	uint64_t hash;
	struct files_names names;
	bool stale, names_told = false;

	if (!c->live)
		return;
	if (files_changed_flags(&data, &n, &flags, &names) <= 0 || (flags & AGENT_CHANGED_ALL)) {
		drop_all(c);
		return;
	}
	while (files_changed_next(&data, &n, &file) > 0) {
		uint64_t node = node_guest_number(c->vm, NODE_WORK, file.ino, file.tag - 1);

		forget(c->kept, node);
		forget(c->plain, node);
		behind_changed(c->s, node);
		if (!tell_changed(c, file, node)) {
			drop_all(c);
			return;
		}
	}
	/* An agent, or a kernel, that tells of no names. */
	stale = (flags & (AGENT_CHANGED_NAMES | AGENT_CHANGED_NEW)) && !(flags & AGENT_CHANGED_NAMED);
	if (stale)
		known_drop(c->known);
	while (files_changed_name(&names, &file, &hash) > 0) {
		names_told = true;
		known_name_changing(c->known, told_number(c->told, file, hash));
		stale = told_changed(c->told, file, hash) || stale;
	}
	/* Any of these folders is the workspace, perhaps. */
	if (names_told && !told_knows_root(c->told))
		known_drop(c->known);
	if (stale)
		forget_names(c);
	look_for_root(c);
}

static void on_watched(void *user, int code)
{
	struct guest_cache *c = user;

	/* What was read before is not known to be right. */
	if (code == 0 && c->agent) {
		drop_all(c);
		c->live = true;
		ask_root(c);
	}
}

static uint64_t workspace_node(struct server *s, uint32_t vm)
{
	struct target dir, at;

	return tree_target(s->tree, node_number(KIND_VM, vm, 0), &dir) == 0 &&
			       tree_lookup(s->tree, &dir, "workspace", &at) == 0
		       ? at.node
		       : 0;
}

void guest_caches_adopt(struct server *s, struct vms *vms)
{
	struct vm *vm = NULL;
	struct vm_view v = {0};

	while ((vm = vms_next(vms, v.id))) {
		vm_view(vm, &v);
		notify_pages(s, workspace_node(s, v.id));
	}
}

struct guest_cache *guest_cache(struct server *s, uint32_t vm, struct agent *agent)
{
	struct guest_cache *c = find(s, vm);

	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c || !(c->told = told_new())) {
			free(c);
			return NULL;
		}
		c->s = s;
		c->vm = vm;
		c->workspace = workspace_node(s, vm);
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
	told_free(c->told);
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

double guest_attr_timeout(const struct ask *a, const struct agent_attr *attr)
{
	return guest_is_live(a->cache) && attr->space == AGENT_SPACE_WORK &&
			       !(a->in_root && S_ISDIR(attr->mode))
		       ? ATTR_SECONDS
		       : 0;
}

/* The kernel may keep the name of A's: it can be told when it is no longer so. */
static bool keeps_name(const struct ask *a)
{
	struct file_ref folder = a->dir_count > 0 ? a->dirs[0] : a->file;

	return guest_is_live(a->cache) && a->s->epochs && !a->in_root && !(folder.tag & AGENT_TAG_TREE) &&
	       told_may(a->cache->told, folder, a->names[0]);
}

double guest_entry_timeout(const struct ask *a, const struct agent_attr *attr)
{
	return attr->space == AGENT_SPACE_WORK && keeps_name(a) ? ENTRY_SECONDS : 0;
}

double guest_absent_timeout(const struct ask *a)
{
	return keeps_name(a) ? ENTRY_SECONDS : 0;
}

/* Names of the work disk's folders, and only while it is known which of them the workspace is. */
static struct known *names_known(const struct ask *a, struct file_ref folder)
{
	return guest_is_live(a->cache) && told_knows_root(a->cache->told) && !(folder.tag & AGENT_TAG_TREE)
		       ? a->cache->known
		       : NULL;
}

void guest_found(const struct ask *a, uint64_t node, const struct agent_attr *attr)
{
	struct file_ref folder = a->dir_count > 0 ? a->dirs[0] : a->file;
	struct known *k =
		a->in_root || (node && attr->space != AGENT_SPACE_WORK) ? NULL : names_known(a, folder);

	if (k)
		known_found(k, told_number(a->cache->told, folder, a->names[0]), node, attr, a->changes);
}

bool guest_named(const struct ask *a, uint64_t *ret_node, struct agent_attr *ret, uint64_t *ret_usec)
{
	struct known *k = a->in_root ? NULL : names_known(a, a->file);

	return k &&
	       known_named(k, told_number(a->cache->told, a->file, a->names[0]), ret_node, ret, ret_usec);
}

void guest_name_changing(const struct ask *a, struct file_ref folder, uint64_t hash)
{
	if (a->cache)
		known_name_changing(a->cache->known, told_number(a->cache->told, folder, hash));
}

void guest_moves_names(const struct ask *a)
{
	for (unsigned i = 0; a->cache && i < a->dir_count; i++)
		told_name(a->cache->told, a->dirs[i], a->names[i]);
}

/* The guest tells when NODE changes. */
static bool tells_of(const struct guest_cache *c, uint64_t node)
{
	struct node n;

	return guest_is_live(c) && node_parse(node, &n) && n.guest && n.space == NODE_WORK;
}

bool guest_keeps(struct guest_cache *c, uint64_t node)
{
	bool kept;

	if (!tells_of(c, node))
		return false;
	kept = holds(c->kept, node);
	put(c->kept, node);
	return kept;
}

/* Likewise of A's folder; of the workspace, whose number is the tree's, as long as it is known which folder it is and nobody is about to remove the VM. */
static bool tells_of_folder(const struct ask *a)
{
	const struct guest_cache *c = a->cache;

	if (guest_is_live(c) && a->node == c->workspace)
		return told_knows_root(c->told) && !guest_has_removers(a->s, a->vm);
	return tells_of(c, a->node);
}

void guest_listing(const struct ask *a)
{
	uint64_t gone = tells_of_folder(a) ? put(a->cache->listed, a->node) : 0;

	if (gone)
		notify_pages(a->s, gone);
}

bool guest_listed(const struct ask *a)
{
	if (!tells_of_folder(a) || !holds(a->cache->listed, a->node))
		return false;
	/* Who began to list it meanwhile would take what A brings for his own. */
	if (!known_same(a->cache->known, a->node, a->changes)) {
		forget(a->cache->listed, a->node);
		return false;
	}
	return true;
}

void guest_unlist_workspace(struct server *s, uint32_t vm)
{
	struct guest_cache *c = find(s, vm);

	if (c && holds(c->listed, c->workspace))
		tell_workspace(c);
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

static void changed_in_root(const struct ask *a, struct file_ref file)
{
	uint64_t node;

	if (!a->in_root || !guest_is_live(a->cache) || (file.tag & AGENT_TAG_TREE))
		return;
	node = node_guest_number(a->vm, NODE_WORK, file.ino, file.tag - 1);
	tell_changed(a->cache, file, node);
}

void guest_changed_in_root(const struct ask *a)
{
	struct guest_cache *c = a->cache;

	for (unsigned i = 0; i < a->dir_count; i++)
		changed_in_root(a, a->dirs[i]);
	if (!a->in_root || a->dir_count == 0)
		return;
	notify_names(a->s);
	if (!guest_is_live(c))
		return;
	/* The workspace's own name is in there, too. */
	for (unsigned i = 0; i < a->dir_count; i++)
		told_changed(c->told, a->dirs[i], a->names[i]);
	look_for_root(c);
}

void guest_itself_changed_in_root(const struct ask *a)
{
	changed_in_root(a, a->file);
}
