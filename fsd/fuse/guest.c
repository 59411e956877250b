#include "fuse/guest.h"

#include "banger/io.h"
#include "tree/node.h"

#define REMOVING_USEC 10000000 /* behind its last try: a file manager goes on to other things */

bool guest_is(struct server *s, uint64_t number)
{
	struct target at;
	struct node n;

	if (!node_parse(number, &n))
		return false;
	/* A guest's file, or one of the directories of the tree that a guest serves. */
	if (n.guest)
		return true;
	return n.kind == KIND_VM && n.attr != 0 && tree_target(s->tree, number, &at) == 0 && at.attr &&
	       (at.attr->flags & (ATTR_WORKSPACE | ATTR_ROOT));
}

static struct remover *find_remover(struct server *s, pid_t pid, uint32_t vm)
{
	for (size_t i = 0; i < REMOVERS; i++)
		if (s->removers[i].vm == vm && s->removers[i].pid == pid)
			return &s->removers[i];
	return NULL;
}

static bool goes_on(const struct remover *r)
{
	return io_now_usec() - r->usec < REMOVING_USEC;
}

bool guest_has_removers(struct server *s, uint32_t vm)
{
	for (size_t i = 0; i < REMOVERS; i++)
		if (s->removers[i].vm == vm && goes_on(&s->removers[i]))
			return true;
	return false;
}

void guest_note_remover(struct server *s, fuse_req_t req, uint64_t node)
{
	pid_t pid = fuse_req_ctx(req)->pid;
	struct remover *r;
	struct node n;

	if (!node_parse(node, &n) || n.kind != KIND_VM)
		return;
	r = find_remover(s, pid, (uint32_t)n.row);
	if (!r) {
		r = &s->removers[s->remover];
		s->remover = (s->remover + 1) % REMOVERS;
	}
	*r = (struct remover){.vm = (uint32_t)n.row, .pid = pid, .usec = io_now_usec()};
	guest_unlist_workspace(s, r->vm);
}

bool guest_has_remover(struct server *s, fuse_req_t req, uint32_t vm)
{
	const struct remover *r = find_remover(s, fuse_req_ctx(req)->pid, vm);

	return r && goes_on(r);
}

bool guest_is_removed(struct server *s, fuse_req_t req, uint64_t node)
{
	struct node n;

	return node_parse(node, &n) && !n.guest && guest_has_remover(s, req, (uint32_t)n.row);
}

const struct fuse_lowlevel_ops guest_ops = {
	.lookup = guest_lookup,
	.getattr = guest_getattr,
	.setattr = guest_setattr,
	.readlink = guest_readlink,
	.mknod = guest_mknod,
	.mkdir = guest_mkdir,
	.unlink = guest_unlink,
	.rmdir = guest_rmdir,
	.symlink = guest_symlink,
	.rename = guest_rename,
	.link = guest_link,
	.open = guest_open,
	.read = guest_read,
	.write = guest_write,
	.release = guest_release,
	.flush = guest_flush,
	.fsync = guest_fsync,
	.releasedir = guest_release,
	.readdir = guest_readdir,
	.readdirplus = guest_readdirplus,
	.statfs = guest_statfs,
	.create = guest_create,
	.fallocate = guest_fallocate,
	.lseek = guest_lseek,
	.copy_file_range = guest_copy_file_range,
	.getxattr = guest_getxattr,
	.listxattr = guest_listxattr,
	.setxattr = guest_setxattr,
	.removexattr = guest_removexattr,
};
