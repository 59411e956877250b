#include <errno.h>
#include <string.h>

#include "offline/serving.h"

static struct pin *find(const struct serving *s, ext2_ino_t ino)
{
	struct pin *p;

	LIST_FOREACH (p, &s->pins[ino % ELEMENTSOF(s->pins)], link)
		if (p->ino == ino)
			return p;
	return NULL;
}

int pin_add(struct serving *s, ext2_ino_t ino)
{
	struct pin *p = find(s, ino);

	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return -ENOMEM;
		p->ino = ino;
		LIST_INSERT_HEAD(&s->pins[ino % ELEMENTSOF(s->pins)], p, link);
	}
	p->count++;
	return 0;
}

bool pin_drop(struct serving *s, ext2_ino_t ino)
{
	struct pin *p = find(s, ino);

	if (!p || --p->count > 0)
		return false;
	LIST_REMOVE(p, link);
	free(p);
	return true;
}

bool pin_has(const struct serving *s, ext2_ino_t ino)
{
	return find(s, ino) != NULL;
}

/* Nobody has it open: where it has no name either, it goes. */
static void closed(struct serving *s, ext2_ino_t ino)
{
	struct file f;

	/* What can't be cleared away is e2fsck's, sometime. */
	if (s->work->writable && file_read(s->work, ino, &f) == 0 && f.raw.i_links_count == 0 &&
		f.raw.i_dtime == 0 && volume_change(s->work) == 0 && inode_unused(s, &f) == 0)
		s->unnamed--;
}

void pin_removed(struct serving *s, ext2_ino_t ino)
{
	ext2_ino_t *slot = &s->removed[s->removed_next];

	/* Without memory it is stale at once. */
	if (pin_add(s, ino) < 0)
		return;
	if (*slot && pin_drop(s, *slot))
		closed(s, *slot);
	*slot = ino;
	s->removed_next = (s->removed_next + 1) % ELEMENTSOF(s->removed);
}

int serve_release(struct serving *s, const struct file_request *q, size_t *ret_n)
{
	(void)ret_n;
	if (!(q->file.tag & AGENT_TAG_TREE) && pin_drop(s, q->file.ino))
		closed(s, q->file.ino);
	return 0;
}

int serving_settle(struct serving *s)
{
	return s->unnamed ? volume_sync(s->work) : volume_settle(s->work);
}

void serving_unpin_all(struct serving *s)
{
	memset(s->removed, 0, sizeof(s->removed));
	for (size_t i = 0; i < ELEMENTSOF(s->pins); i++) {
		struct pin *p;

		while ((p = LIST_FIRST(&s->pins[i]))) {
			ext2_ino_t ino = p->ino;

			LIST_REMOVE(p, link);
			free(p);
			closed(s, ino);
		}
	}
}
