/* A request to a guest, from its question to its answer. */
#include <errno.h>
#include <fcntl.h>

#include "banger/cleanup.h"
#include "fuse/guest.h"
#include "tree/node.h"

#define INTERRUPT_USEC                                                                                       \
	1000000 /* what a guest has to answer after a Ctrl-C before its answer is no longer waited for */

int ask_agent(
	struct server *s, uint64_t number, struct vm **ret_vm, struct file_ref *ret_file, uint32_t *ret_id)
{
	struct vm_view v;
	struct vm *vm;
	struct node n;

	node_parse(number, &n);
	*ret_id = n.guest ? n.vm : (uint32_t)n.row;
	vm = tree_vm(s->tree, *ret_id);
	if (!vm)
		return -ESTALE;
	vm_view(vm, &v);
	/* A paused guest answers nobody. */
	if (v.state != VM_RUNNING || !vm_agent(vm))
		return -EBUSY;
	*ret_vm = vm;
	*ret_file = n.guest ? (struct file_ref){n.ino, 1u + n.generation} : (struct file_ref){0, 0};
	return 0;
}

void ask_free(struct ask *a)
{
	sd_event_source_disable_unref(a->timer);
	free(a->data);
	free(a);
}

int ask_code(int code)
{
	switch (code) {
	case -ECANCELED:
		return EINTR;
	case -ENOTCONN:
	case -EPROTO:
		return EIO;
	default:
		return -code;
	}
}

void ask_fail(struct ask *a, int code)
{
	fuse_reply_err(a->req, ask_code(code));
	ask_free(a);
}

static int on_late(sd_event_source *source, uint64_t usec, void *user)
{
	struct ask *a = user;
	struct vm *vm = tree_vm(a->s->tree, a->vm);

	(void)source;
	(void)usec;
	if (vm && vm_agent(vm))
		agent_forget(vm_agent(vm), a->request);
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
	struct vm *vm;
	int r = a ? ask_agent(s, node, &vm, &a->file, &a->vm) : -ENOMEM;

	if (r < 0) {
		free(a);
		fuse_reply_err(req, -r);
		return NULL;
	}
	a->s = s;
	a->req = req;
	*ret_agent = vm_agent(vm);
	return a;
}

/* After the request was sent, or was not. */
void ask_sent(struct ask *a, int r)
{
	if (r < 0) {
		ask_fail(a, r);
		return;
	}
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

void ask_stat(const struct ask *a, const struct agent_attr *attr, struct stat *ret)
{
	*ret = (struct stat){
		.st_ino = node_guest_number(a->vm, attr->ino, attr->generation),
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
}

/* No timeouts: the guest changes its files without telling. */
void ask_entry(const struct ask *a, const struct agent_attr *attr, struct fuse_entry_param *ret)
{
	*ret = (struct fuse_entry_param){.generation = attr->generation};
	ask_stat(a, attr, &ret->attr);
	ret->ino = ret->attr.st_ino;
}

void ask_on_entry(void *user, int code, const struct agent_attr *attr)
{
	struct ask *a = user;
	struct fuse_entry_param entry;

	if (code < 0) {
		ask_fail(a, code);
		return;
	}
	ask_entry(a, attr, &entry);
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
	fuse_reply_attr(a->req, &st, 0);
	ask_free(a);
}

void ask_on_code(void *user, int code)
{
	struct ask *a = user;

	fuse_reply_err(a->req, ask_code(code));
	ask_free(a);
}
