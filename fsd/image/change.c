#include "image/change.h"

#include <errno.h>
#include <stdlib.h>

void change_clear(struct change *c)
{
	free(c->path);
	free(c->target);
	inode_free(c->inode);
	*c = (struct change){0};
}

void change_show(const char *path, char *ret, size_t size)
{
	size_t n = 0;

	for (; *path && n + 1 < size; path++)
		ret[n++] = (unsigned char)*path < ' ' || *path == 127 ? '?' : *path;
	ret[n] = '\0';
}

void change_wrap(struct err *e, const char *path)
{
	char shown[CHANGE_SHOWN];

	change_show(path, shown, sizeof(shown));
	err_wrap(e, "%s", shown);
}

static int apply(struct itree *t, struct change *c, struct err *e)
{
	switch (c->kind) {
	case CHANGE_PUT:
		return itree_put(t, c->path, TAKE_PTR(c->inode), e);
	case CHANGE_LINK:
		return itree_link(t, c->path, c->target, e);
	case CHANGE_WHITEOUT:
		return itree_whiteout(t, c->target, e);
	case CHANGE_OPAQUE:
		return itree_opaque(t, c->target, e);
	}
	return -EINVAL;
}

int change_apply(struct itree *t, struct change *c, struct err *e)
{
	int r = apply(t, c, e);

	if (r < 0)
		change_wrap(e, c->path);
	change_clear(c);
	return r;
}
