#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "banger/array.h"
#include "repo/difference.h"

static bool is_same(const struct filelist_entry *now, const struct filelist_entry *before)
{
	static const uint8_t unknown[WORKSPACE_ID];

	if (S_ISDIR(now->mode))
		return S_ISDIR(before->mode);
	return now->mode == before->mode && memcmp(now->host, before->host, WORKSPACE_ID) == 0 &&
	       memcmp(now->host, unknown, WORKSPACE_ID) != 0;
}

static int add(struct difference *d, size_t at, bool remove)
{
	int r = ARRAY_GROW(d->changes, d->count, d->room);

	if (r == 0)
		d->changes[d->count++] = (struct change){.at = at, .remove = remove};
	return r;
}

int difference_make(struct prepared *now, const struct prepared *before, struct difference *ret)
{
	static const struct filelist none;
	const struct filelist *old = before ? &before->files : &none;
	struct filelist *files = &now->files;
	size_t i = 0, k = 0;
	int r = 0;

	*ret = (struct difference){.now = now, .before = before};
	/* Both are in order of their paths. */
	while (r == 0 && (i < files->count || k < old->count)) {
		int order = i == files->count ? 1
			    : k == old->count ? -1
					      : strcmp(files->entries[i].path, old->entries[k].path);

		if (order > 0) {
			r = add(ret, k++, true);
			continue;
		}
		if (order == 0 && is_same(&files->entries[i], &old->entries[k]))
			memcpy(files->entries[i].guest, old->entries[k].guest, WORKSPACE_ID);
		else
			r = add(ret, i, false);
		i++;
		k += order == 0;
	}
	return r;
}

void difference_clear(struct difference *d)
{
	free(d->changes);
	*d = (struct difference){0};
}

const struct filelist_entry *difference_entry(const struct difference *d, const struct change *c)
{
	return c->remove ? &d->before->files.entries[c->at] : &d->now->files.entries[c->at];
}

const struct filelist_entry *difference_before(const struct difference *d, const char *path)
{
	return d->before ? filelist_find(&d->before->files, path) : NULL;
}

struct change *difference_find(const struct difference *d, const char *path)
{
	size_t low = 0, high = d->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(path, difference_entry(d, &d->changes[middle])->path);

		if (order == 0)
			return &d->changes[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}
