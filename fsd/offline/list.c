/* What is in a folder, and in the file system. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "offline/serving.h"

struct listing {
	struct serving *s;
	size_t at, max;
	bool plus;
};

/* 1: there is no room for it. */
static int put_entry(struct listing *l, struct file *f, const struct dir_entry *d)
{
	size_t size = 20 + d->name_size + (l->plus ? sizeof(struct agent_attr) : 0);
	uint8_t *to = l->s->answer + l->at, type[2] = {(uint8_t)(f->raw.i_mode >> 12), 0};
	uint16_t n = (uint16_t)d->name_size;
	struct agent_attr attr;
	uint32_t id[2];

	if (l->at + size > l->max)
		return l->at > 0 ? 1 : -EINVAL;
	file_attr(f, &attr);
	id[0] = attr.ino;
	id[1] = attr.space == AGENT_SPACE_TREE ? AGENT_TAG_TREE | attr.generation
					       : 1 + (attr.generation & 0xff);
	memcpy(to, &d->next, 8);
	memcpy(to + 8, id, 8);
	memcpy(to + 16, type, 2);
	memcpy(to + 18, &n, 2);
	memcpy(to + 20, d->name, n);
	if (l->plus)
		memcpy(to + 20 + n, &attr, sizeof(attr));
	l->at += size;
	return 0;
}

struct plain {
	struct listing *l;
	struct volume *v;
};

static int on_entry(void *user, const struct dir_entry *d)
{
	struct plain *p = user;
	struct file f;

	/* What can't be looked at isn't listed. */
	return file_load(p->v, d->ino, &f) < 0 ? 0 : put_entry(p->l, &f, d);
}

static int on_merged(void *user, struct file *f, const struct dir_entry *d)
{
	return put_entry(user, f, d);
}

int serve_readdir(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file dir;
	int r = serving_file(s, q->file, &dir);
	struct listing l = {.s = s,
		.max = q->size < sizeof(s->answer) ? q->size : sizeof(s->answer),
		.plus = q->flags & AGENT_READDIR_PLUS};
	struct plain p = {.l = &l};

	if (r < 0)
		return r;
	p.v = dir.v;
	r = dir.v->key ? merge_each(s, &dir, q->offset, on_merged, &l)
		       : dir_each(&dir, q->offset, on_entry, &p);
	if (r < 0)
		return r;
	*ret_n = l.at;
	return 0;
}

int serve_statfs(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	struct file f;
	int r = serving_file(s, q->file, &f);
	struct {
		uint64_t v[5];
		uint32_t w[2];
	} answer;
	struct ext2_super_block *super;
	uint64_t reserved;

	if (r < 0)
		return r;
	super = f.v->fs->super;
	reserved = ext2fs_r_blocks_count(super);
	answer.v[0] = ext2fs_blocks_count(super) - super->s_overhead_clusters;
	answer.v[1] = ext2fs_free_blocks_count(super);
	answer.v[2] = answer.v[1] > reserved ? answer.v[1] - reserved : 0;
	answer.v[3] = super->s_inodes_count;
	answer.v[4] = super->s_free_inodes_count;
	answer.w[0] = f.v->fs->blocksize;
	answer.w[1] = EXT2_NAME_LEN;
	serving_answer(s, &answer, sizeof(answer), ret_n);
	return 0;
}
