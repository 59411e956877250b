#include "fuse/guest.h"

#include "tree/node.h"

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

void guest_note_remover(struct server *s, fuse_req_t req, uint64_t node)
{
	pid_t pid = fuse_req_ctx(req)->pid;
	struct node n;

	if (!node_parse(node, &n) || n.kind != KIND_VM || guest_has_remover(s, req, (uint32_t)n.row))
		return;
	s->removers[s->remover].vm = (uint32_t)n.row;
	s->removers[s->remover].pid = pid;
	s->remover = (s->remover + 1) % REMOVERS;
}

bool guest_has_remover(struct server *s, fuse_req_t req, uint32_t vm)
{
	pid_t pid = fuse_req_ctx(req)->pid;

	for (size_t i = 0; i < REMOVERS; i++)
		if (s->removers[i].vm == vm && s->removers[i].pid == pid)
			return true;
	return false;
}

bool guest_is_removed(struct server *s, fuse_req_t req, uint64_t node)
{
	struct vm *vm;
	struct node n;

	if (!node_parse(node, &n) || n.guest || !guest_has_remover(s, req, (uint32_t)n.row))
		return false;
	vm = tree_vm(s->tree, (uint32_t)n.row);
	return vm && !vm_agent(vm);
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
