/* A request to a guest, from its question to its answer. */
#include <errno.h>
#include <fcntl.h>

#include "banger/cleanup.h"
#include "fuse/guest.h"
#include "tree/node.h"

#define INTERRUPT_USEC                                                                                       \
	1000000 /* what a guest has to answer after a Ctrl-C before its answer is no longer waited for */

static const struct file_ref tree_root = {0, AGENT_TAG_TREE};

static int find(struct server *s, uint64_t number, bool begin, struct place *ret)
{
	struct place p = {0};
	struct target at;
	struct vm *vm;
	struct node n;
	int r;

	if (!node_parse(number, &n))
		return -ESTALE;
	if (!n.guest) {
		r = tree_target(s->tree, number, &at);
		if (r < 0)
			return r;
		p.in_root = at.attr->flags & ATTR_ROOT;
		p.file = p.in_root ? tree_root : (struct file_ref){0};
		p.vm = (uint32_t)n.row;
	} else {
		p.in_root = n.space != NODE_WORK;
		p.file = (struct file_ref){
			n.ino, n.space == NODE_TREE ? AGENT_TAG_TREE | n.generation : 1u + n.generation};
		p.vm = n.vm;
	}
	vm = tree_vm(s->tree, p.vm);
	if (!vm)
		return -ESTALE;
	p.agent = vm_files(vm);
	r = p.agent ? 0 : begin ? vm_files_begin(vm, &p.agent) : -EBUSY;
	if (r == 0)
		*ret = p;
	return r;
}

int place_find(struct server *s, uint64_t number, struct place *ret)
{
	return find(s, number, true, ret);
}

int place_look(struct server *s, uint64_t number, struct place *ret)
{
	return find(s, number, false, ret);
}

uint32_t place_vm(uint64_t number)
{
	struct node n;

	return !node_parse(number, &n) ? 0 : n.guest ? n.vm : (uint32_t)n.row;
}

struct agent *ask_agent(const struct ask *a)
{
	struct vm *vm = tree_vm(a->s->tree, a->vm);

	return vm ? vm_files(vm) : NULL;
}

void ask_free(struct ask *a)
{
	sd_event_source_disable_unref(a->timer);
	free(a->data);
	free(a);
}

int ask_code(const struct ask *a, int code)
{
	switch (code) {
	case -ECANCELED:
		return a && a->forgotten ? EINTR : EIO;
	case -ENOTCONN:
	case -EPROTO:
		return EIO;
	default:
		return -code;
	}
}

void ask_fail(struct ask *a, int code)
{
	fuse_reply_err(a->req, ask_code(a, code));
	ask_free(a);
}

static int on_late(sd_event_source *source, uint64_t usec, void *user)
{
	struct ask *a = user;
	struct agent *agent = ask_agent(a);
	uint32_t requests[ASK_PIECES];

	(void)source;
	(void)usec;
	a->forgotten = true;
	if (a->parked) {
		behind_unpark(a);
		return 0;
	}
	requests[0] = a->request;
	memcpy(requests + 1, a->more, sizeof(a->more));
	/* With the last of them A goes. */
	for (size_t i = 0; agent && i < ELEMENTSOF(requests); i++)
		if (requests[i])
			agent_forget(agent, requests[i]);
	return 0;
}

/* Most signals mean nothing to a file's reader, so a guest that answers as usual is let answer. */
static void on_interrupt(fuse_req_t req, void *data)
{
	struct ask *a = data;

	(void)req;
	if (!a->timer)
		sd_event_add_time_relative(
			a->s->config.event, &a->timer, CLOCK_MONOTONIC, INTERRUPT_USEC, 1000, on_late, a);
}

/* NULL: answered. */
struct ask *ask_new(fuse_req_t req, uint64_t node, struct agent **ret_agent)
{
	struct server *s = fuse_req_userdata(req);
	struct ask *a = calloc(1, sizeof(*a));
	struct place at;
	int r = a ? place_find(s, node, &at) : -ENOMEM;

	if (r < 0) {
		free(a);
		if (r != -EBUSY || !early_wait(s, req, place_vm(node)))
			fuse_reply_err(req, -r);
		return NULL;
	}
	a->s = s;
	a->req = req;
	tree_touch(s->tree, at.vm);
	a->vm = at.vm;
	a->file = at.file;
	a->in_root = at.in_root;
	a->node = node;
	a->cache = guest_cache(s, at.vm, at.agent);
	a->changes = known_changes(guest_known(a->cache));
	*ret_agent = at.agent;
	return a;
}

/* After the request was sent, or was not. */
void ask_sent(struct ask *a, int r)
{
	if (r < 0) {
		struct agent *agent = ask_agent(a);

		/* What its number was meant for was not sent. */
		if (agent)
			agent_once(agent, 0);
		ask_fail(a, r);
		return;
	}
	a->s->asked_guests++;
	if (fuse_req_interrupted(a->req))
		on_interrupt(a->req, a);
	else
		fuse_req_interrupt_func(a->req, on_interrupt, a);
}

static uid_t uid_here(const struct server *s, uint32_t uid)
{
	return uid == 0 ? s->owner : uid;
}

static gid_t gid_here(const struct server *s, uint32_t gid)
{
	return gid == 0 ? s->group : gid;
}

uint32_t ask_uid_there(const struct server *s, uid_t uid)
{
	return uid == s->owner ? 0 : uid;
}

uint32_t ask_gid_there(const struct server *s, gid_t gid)
{
	return gid == s->group ? 0 : gid;
}

struct files_owner ask_owner(const struct ask *a)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(a->req);

	return (struct files_owner){ask_uid_there(a->s, ctx->uid), ask_gid_there(a->s, ctx->gid)};
}

/* What ATTR says, as a node: a folder of the work disk is another one in root/ than in workspace/, a file is the same. */
static uint64_t number_of(const struct ask *a, const struct agent_attr *attr)
{
	enum node_space space = NODE_WORK;

	if (attr->space == AGENT_SPACE_TREE)
		space = NODE_TREE;
	else if (a->in_root && S_ISDIR(attr->mode))
		space = NODE_WORK_IN_ROOT;
	return node_guest_number(a->vm, space, attr->ino, attr->generation);
}

void ask_stat(const struct ask *a, const struct agent_attr *attr, struct stat *ret)
{
	*ret = (struct stat){
		.st_ino = number_of(a, attr),
		.st_mode = attr->mode,
		.st_nlink = attr->nlink,
		.st_uid = uid_here(a->s, attr->uid),
		.st_gid = gid_here(a->s, attr->gid),
		.st_rdev = attr->rdev,
		.st_blksize = 4096,
		.st_size = (off_t)attr->size,
		.st_blocks = (blkcnt_t)attr->blocks,
		.st_atim = {attr->atime, attr->atime_nsec},
		.st_mtim = {attr->mtime, attr->mtime_nsec},
		.st_ctim = {attr->ctime, attr->ctime_nsec},
	};
	behind_seen(a->s, ret->st_ino, attr);
}

/* A's answer says what NODE is like. */
static void seen(const struct ask *a, uint64_t node, const struct agent_attr *attr)
{
	guest_plain(a->cache, node, attr);
	if (S_ISDIR(attr->mode) && !a->in_root && attr->space == AGENT_SPACE_WORK)
		known_attr(guest_known(a->cache), node, attr, a->changes);
}

void ask_entry(const struct ask *a, const struct agent_attr *attr, struct fuse_entry_param *ret)
{
	*ret = (struct fuse_entry_param){
		.generation = attr->generation,
		.attr_timeout = guest_attr_timeout(a, attr),
		.entry_timeout = guest_entry_timeout(a, attr),
	};
	ask_stat(a, attr, &ret->attr);
	seen(a, ret->attr.st_ino, attr);
	guest_found(a, ret->attr.st_ino, attr);
	ret->ino = ret->attr.st_ino;
}

/* What was made in a folder comes with what the folder is like now. */
void ask_made(const struct ask *a, const struct agent_attr *attr)
{
	struct node n;

	guest_changed_in_root(a);
	if ((attr->flags & AGENT_ATTR_FOLDER) && a->dir_count == 1 && node_parse(a->dir_nodes[0], &n) &&
		n.guest && n.space == NODE_WORK && attr[1].space == AGENT_SPACE_WORK)
		known_attr(guest_known(a->cache), a->dir_nodes[0], &attr[1], a->changes);
}

void ask_on_entry(void *user, int code, const struct agent_attr *attr)
{
	struct ask *a = user;
	struct fuse_entry_param entry;

	if (code < 0) {
		ask_fail(a, code);
		return;
	}
	ask_made(a, attr);
	if (a->dir_count > 0)
		behind_names(a->s);
	ask_entry(a, attr, &entry);
	if (a->fresh && !a->in_root && attr->space == AGENT_SPACE_WORK)
		known_fresh(guest_known(a->cache), entry.ino);
	fuse_reply_entry(a->req, &entry);
	ask_free(a);
}

void ask_on_attr(void *user, int code, const struct agent_attr *attr)
{
	struct ask *a = user;
	struct stat st;

	if (code < 0) {
		ask_fail(a, code);
		return;
	}
	ask_stat(a, attr, &st);
	seen(a, st.st_ino, attr);
	fuse_reply_attr(a->req, &st, guest_attr_timeout(a, attr));
	ask_free(a);
}

void ask_on_code(void *user, int code)
{
	struct ask *a = user;

	if (code == 0)
		guest_changed_in_root(a);
	if (a->dir_count > 0)
		behind_names(a->s);
	if (a->dir_count > 1)
		known_moved(guest_known(a->cache));
	fuse_reply_err(a->req, ask_code(a, code));
	ask_free(a);
}
