#include <string.h>

#include "banger/agent_once.h"
#include "files.h"
#include "files_wire.h"
#include "handle.h"
#include "watch.h"

static struct once once;

static int fs_watch(const struct file_request *q, size_t *ret_n)
{
	(void)ret_n;
	/* A mount that is new has numbers of its own, from the first on. */
	if (q->how) {
		handle_unpin_all();
		once = (struct once){0};
	}
	return watch_begin(handle_root());
}

static request_fn *const calls[] = {
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

static int do_once(const struct file_request *q, size_t *ret_n)
{
	const struct once_answer *before = once_find(&once, q);
	int r;

	if (before) {
		memcpy(files_answer, before->data, before->size);
		*ret_n = before->size;
		return -before->code;
	}
	r = calls[q->type](q, ret_n);
	once_keep(&once, q, (uint16_t)-r, files_answer, *ret_n);
	return r;
}

void files_request(struct channel *c, const struct agent_header *h, const uint8_t *payload)
{
	struct file_request q;
	size_t n = 0;
	int r = request_decode(h, payload, &q);

	if (r == 0)
		r = q.once ? do_once(&q, &n) : calls[q.type](&q, &n);
	channel_send(c, AGENT_REPLY, (uint16_t)-r, h->id, files_answer, r == 0 ? n : 0, NULL, 0);
}

int files_init(const char *root, const char *tree)
{
	return handle_init(root, tree);
}

void files_new_host(void)
{
	watch_end();
}

int files_root_fd(void)
{
	return handle_root();
}
