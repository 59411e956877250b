#include <errno.h>

#include "banger/cleanup.h"
#include "files.h"
#include "files_wire.h"
#include "handle.h"
#include "watch.h"

static int fs_watch(struct input *in, uint16_t flags, size_t *ret_n)
{
	(void)in;
	(void)flags;
	(void)ret_n;
	return watch_begin(handle_root());
}

static int (*const calls[])(struct input *in, uint16_t flags, size_t *ret_n) = {
	[AGENT_FS_LOOKUP] = fs_lookup,
	[AGENT_FS_GETATTR] = fs_getattr,
	[AGENT_FS_SETATTR] = fs_setattr,
	[AGENT_FS_READLINK] = fs_readlink,
	[AGENT_FS_MKNOD] = fs_mknod,
	[AGENT_FS_MKDIR] = fs_mkdir,
	[AGENT_FS_SYMLINK] = fs_symlink,
	[AGENT_FS_LINK] = fs_link,
	[AGENT_FS_UNLINK] = fs_unlink,
	[AGENT_FS_RMDIR] = fs_rmdir,
	[AGENT_FS_RENAME] = fs_rename,
	[AGENT_FS_OPEN] = fs_open,
	[AGENT_FS_CREATE] = fs_create,
	[AGENT_FS_RELEASE] = fs_release,
	[AGENT_FS_READ] = fs_read,
	[AGENT_FS_WRITE] = fs_write,
	[AGENT_FS_FSYNC] = fs_fsync,
	[AGENT_FS_READDIR] = fs_readdir,
	[AGENT_FS_STATFS] = fs_statfs,
	[AGENT_FS_GETXATTR] = fs_getxattr,
	[AGENT_FS_SETXATTR] = fs_setxattr,
	[AGENT_FS_LISTXATTR] = fs_listxattr,
	[AGENT_FS_REMOVEXATTR] = fs_removexattr,
	[AGENT_FS_FALLOCATE] = fs_fallocate,
	[AGENT_FS_LSEEK] = fs_lseek,
	[AGENT_FS_COPY] = fs_copy,
	[AGENT_FS_WATCH] = fs_watch,
};

void files_request(struct channel *c, const struct agent_header *h, const uint8_t *payload)
{
	struct input in = {.at = payload, .left = h->length};
	size_t n = 0;
	int r = -EOPNOTSUPP;

	if (h->type < ELEMENTSOF(calls) && calls[h->type])
		r = calls[h->type](&in, h->code, &n);
	channel_send(c, AGENT_REPLY, (uint16_t)-r, h->id, files_answer, r == 0 ? n : 0, NULL, 0);
}

int files_init(const char *root, const char *tree)
{
	return handle_init(root, tree);
}

void files_new_host(void)
{
	handle_unpin_all();
	watch_end();
}

int files_root_fd(void)
{
	return handle_root();
}
