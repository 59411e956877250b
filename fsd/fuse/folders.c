#include "fuse/folders.h"

#include <errno.h>
#include <stdlib.h>

#include "fuse/mapping.h"

#define FOLDERS_FILE "folders"
#define MAGIC        0x31646c66u
#define FOLDERS_MAX  1024u

struct file {
	uint32_t magic, count;
	struct folder {
		uint64_t node;
		uint32_t opened; /* so many times */
		uint32_t told;
	} folders[FOLDERS_MAX];
};

struct folders {
	struct mapping *mapping;
	struct file *file; /* in it */
};

int folders_new(int run_fd, bool fresh, struct folders **ret, struct err *e)
{
	struct folders *f = calloc(1, sizeof(*f));
	int r = f ? mapping_open(
			    run_fd, FOLDERS_FILE, sizeof(*f->file), sizeof(*f->file), fresh, &f->mapping, e)
		  : err_sys(e, -ENOMEM, FOLDERS_FILE);

	if (r < 0) {
		free(f);
		return r;
	}
	f->file = mapping_data(f->mapping);
	if (f->file->magic != MAGIC || f->file->count > FOLDERS_MAX)
		f->file->count = 0;
	f->file->magic = MAGIC;
	*ret = f;
	return 0;
}

struct folders *folders_free(struct folders *f)
{
	if (!f)
		return NULL;
	mapping_close(f->mapping);
	free(f);
	return NULL;
}

static struct folder *find(struct folders *f, uint64_t node)
{
	for (size_t i = 0; f && i < f->file->count; i++)
		if (f->file->folders[i].node == node)
			return &f->file->folders[i];
	return NULL;
}

bool folders_opened(struct folders *f, uint64_t node)
{
	struct folder *folder = find(f, node);

	if (!folder) {
		if (!f || f->file->count == FOLDERS_MAX)
			return false;
		folder = &f->file->folders[f->file->count];
		*folder = (struct folder){.node = node};
		f->file->count++;
	}
	folder->opened++;
	return true;
}

bool folders_closed(struct folders *f, uint64_t node)
{
	struct folder *folder = find(f, node);
	bool told;

	if (!folder || --folder->opened > 0)
		return false;
	told = folder->told;
	*folder = f->file->folders[f->file->count - 1];
	f->file->count--;
	return told;
}

void folders_tell(struct folders *f, bool (*fn)(void *user, uint64_t node), void *user)
{
	for (size_t i = 0; f && i < f->file->count; i++)
		if (!f->file->folders[i].told && fn(user, f->file->folders[i].node))
			f->file->folders[i].told = 1;
}
