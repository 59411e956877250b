/* Open files by the number that the kernel knows them by; numbers of an earlier daemon are made good again (rule 10). */
#include <errno.h>
#include <fcntl.h>

#include "banger/cleanup.h"
#include "fuse/state.h"

static struct open_file *make(struct server *s, const struct target *at, uint64_t fh, int flags, bool again)
{
	struct open_file *f = s->file_count < HANDLES_MAX ? calloc(1, sizeof(*f)) : NULL;
	int access = flags & O_ACCMODE;

	if (!f)
		return NULL;
	f->h.at = *at;
	f->h.reading = access != O_WRONLY;
	f->h.writing = access != O_RDONLY;
	f->h.nonblock = flags & O_NONBLOCK;
	TAILQ_INIT(&f->h.parked);
	f->h.again = again;
	f->h.id = f->fh = fh;
	LIST_INSERT_HEAD(&s->files[fh % HANDLE_BUCKETS], f, bucket);
	s->file_count++;
	return f;
}

static struct open_file *find(struct server *s, uint64_t fh)
{
	struct open_file *f;

	LIST_FOREACH (f, &s->files[fh % HANDLE_BUCKETS], bucket)
		if (f->fh == fh)
			return f;
	return NULL;
}

struct open_file *file_new(struct server *s, const struct target *at, const struct fuse_file_info *fi)
{
	return make(s, at, s->next_fh++, fi->flags, false);
}

struct open_file *file_get(struct server *s, uint64_t node, struct fuse_file_info *fi)
{
	struct open_file *f = find(s, fi->fh);
	struct target at;

	if (f) {
		/* fcntl(F_SETFL) may have changed it. */
		f->h.nonblock = fi->flags & O_NONBLOCK;
		return f;
	}
	if (tree_target(s->tree, node, &at) < 0)
		return NULL;
	return file_again(s, &at, fi->fh, fi->flags);
}

struct open_file *file_again(struct server *s, const struct target *at, uint64_t fh, int flags)
{
	struct open_file *f = make(s, at, fh, flags, true);

	if (f && tree_open(s->tree, &f->h) < 0) {
		file_free(s, f->fh);
		f = NULL;
	}
	return f;
}

static void destroy(struct server *s, struct open_file *f)
{
	LIST_REMOVE(f, bucket);
	s->file_count--;
	tree_release(s->tree, &f->h);
	if (f->h.poll)
		fuse_pollhandle_destroy(f->h.poll);
	free(f);
}

void file_free(struct server *s, uint64_t fh)
{
	struct open_file *f = find(s, fh);

	if (!f)
		return;
	held_forget(s, f);
	destroy(s, f);
}

void files_free(struct server *s)
{
	struct open_file *f;

	for (size_t i = 0; i < HANDLE_BUCKETS; i++)
		while ((f = LIST_FIRST(&s->files[i]))) {
			/* Who waits goes on waiting, for the next daemon: nothing is answered here. */
			TAILQ_INIT(&f->h.parked);
			destroy(s, f);
		}
}
