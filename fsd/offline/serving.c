#include "offline/serving.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "banger/io.h"

static serving_fn *const calls[] = {
	[AGENT_FS_LOOKUP] = serve_lookup,
	[AGENT_FS_GETATTR] = serve_getattr,
	[AGENT_FS_SETATTR] = serve_setattr,
	[AGENT_FS_READLINK] = serve_readlink,
	[AGENT_FS_MKNOD] = serve_mknod,
	[AGENT_FS_MKDIR] = serve_mkdir,
	[AGENT_FS_SYMLINK] = serve_symlink,
	[AGENT_FS_LINK] = serve_link,
	[AGENT_FS_UNLINK] = serve_unlink,
	[AGENT_FS_RMDIR] = serve_rmdir,
	[AGENT_FS_RENAME] = serve_rename,
	[AGENT_FS_OPEN] = serve_open,
	[AGENT_FS_CREATE] = serve_create,
	[AGENT_FS_RELEASE] = serve_release,
	[AGENT_FS_READ] = serve_read,
	[AGENT_FS_WRITE] = serve_write,
	[AGENT_FS_FSYNC] = serve_fsync,
	[AGENT_FS_READDIR] = serve_readdir,
	[AGENT_FS_STATFS] = serve_statfs,
	[AGENT_FS_GETXATTR] = serve_getxattr,
	[AGENT_FS_SETXATTR] = serve_setxattr,
	[AGENT_FS_LISTXATTR] = serve_listxattr,
	[AGENT_FS_REMOVEXATTR] = serve_removexattr,
	[AGENT_FS_FALLOCATE] = serve_fallocate,
	[AGENT_FS_LSEEK] = serve_lseek,
	[AGENT_FS_COPY] = serve_copy,
	[AGENT_FS_WATCH] = serve_watch,
};

static void write_once(const struct serving *s, const void *from, size_t n, size_t at)
{
	/* Without it the next child does again what is asked again. */
	if (s->once_fd > 0)
		(void)io_pwrite_full(s->once_fd, from, n, (off_t)at);
}

static int do_once(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	const struct once_answer *a = once_find(&s->once, q);
	int r;

	if (a) {
		serving_answer(s, a->data, a->size, ret_n);
		return -a->code;
	}
	r = calls[q->type](s, q, ret_n);
	a = once_keep(&s->once, q, (uint16_t)-r, s->answer, *ret_n);
	if (a)
		write_once(s, a, sizeof(*a), (size_t)((const char *)a - (const char *)s->once.kept));
	return r;
}

void serving_adopt(struct serving *s, int fd)
{
	s->once_fd = fd;
	if (pread(fd, s->once.kept, sizeof(s->once.kept), 0) != sizeof(s->once.kept))
		s->once = (struct once){0};
	once_adopt(&s->once);
	write_once(s, s->once.kept, sizeof(s->once.kept), 0);
}

int serving_do(struct serving *s, const struct agent_header *h, const uint8_t *payload, size_t *ret_n)
{
	struct file_request q;
	int r = request_decode(h, payload, &q);

	*ret_n = 0;
	if (r < 0)
		return r;
	return q.once ? do_once(s, &q, ret_n) : calls[q.type](s, &q, ret_n);
}

static struct volume *volume_of_key(const struct serving *s, uint8_t key)
{
	return key == SERVING_IMAGE ? s->image : key == SERVING_OVER ? s->over : NULL;
}

static int workspace(struct serving *s, struct file *ret)
{
	struct file root;
	ext2_ino_t ino;
	int r = file_load(s->work, EXT2_ROOT_INO, &root);

	if (r == 0)
		r = dir_find(&root, "workspace", &ino);
	return r == 0 ? file_load(s->work, ino, ret) : r;
}

int serving_file(struct serving *s, struct file_id id, struct file *ret)
{
	struct volume *v;
	int r;

	if (id.tag & AGENT_TAG_TREE) {
		uint8_t key = id.tag & 0xff;

		if (!s->over)
			return -EOPNOTSUPP;
		if (id.ino == 0 && key == 0)
			return file_load(s->over, s->upper, ret);
		v = volume_of_key(s, key);
		return v ? file_load(v, id.ino, ret) : -ESTALE;
	}
	if (id.ino == 0)
		return workspace(s, ret);
	r = file_load(s->work, id.ino, ret);
	if (r < 0)
		return r;
	/* Another one by now, or none: agent_proto.h has as much of a generation as the host can tell. */
	if ((id.tag != 0 && id.tag != 1 + (ret->raw.i_generation & 0xff)) ||
		(ret->raw.i_links_count == 0 && !pin_has(s, id.ino)) || ret->raw.i_mode == 0)
		return -ESTALE;
	return 0;
}

void serving_answer(struct serving *s, const void *data, size_t n, size_t *ret_n)
{
	memcpy(s->answer, data, n);
	*ret_n = n;
}

void serving_answer_attr(struct serving *s, const struct file *f, size_t *ret_n)
{
	struct agent_attr attr;

	file_attr(f, &attr);
	serving_answer(s, &attr, sizeof(attr), ret_n);
}

void serving_answer_folder(struct serving *s, struct file *dir, size_t *ret_n)
{
	struct agent_attr attr[2];

	memcpy(&attr[0], s->answer, sizeof(attr[0]));
	attr[0].flags |= AGENT_ATTR_FOLDER;
	file_attr(dir, &attr[1]);
	serving_answer(s, attr, sizeof(attr), ret_n);
}

/* Nobody else changes the disk while it is served: every change is told, there being none. */
int serve_watch(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	(void)ret_n;
	/* A mount that is new has numbers of its own, from the first on. */
	if (q->how) {
		serving_unpin_all(s);
		s->once = (struct once){0};
		write_once(s, s->once.kept, sizeof(s->once.kept), 0);
	}
	return 0;
}
