/*
 * root/ of a stopped VM: its overlay over the image as the guest's kernel would show it (guest/disks.c: no redirects, no metacopy). A folder that is in the
 * overlay has its counterpart in the image under the same path, unless it is opaque; one that is in the image alone is as it is there. The
 * work disk is where the guest mounts it.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "offline/serving.h"

#define MOUNT    "root"       /* of the work disk (GUEST_WORKSPACE is in it) */
#define BELOW    (1ull << 40) /* in a cookie: of the image's part */
#define DEEP_MAX 512          /* folders below each other, on a disk that may lie */

static bool is_whiteout(const struct file *f)
{
	return S_ISCHR(f->raw.i_mode) && file_device(f) == 0;
}

static bool is_mount(const struct serving *s, const struct file *dir, const char *name, size_t n)
{
	return dir->v == s->over && dir->ino == s->upper && n == strlen(MOUNT) && memcmp(name, MOUNT, n) == 0;
}

static bool is_opaque(struct file *dir)
{
	char value[2];

	return file_xattr(dir, "trusted.overlay.opaque", value, sizeof(value)) == 1 && value[0] == 'y';
}

/* NAME, of N bytes, is what the folder INO is called in its folder PARENT. */
struct called {
	ext2_ino_t ino;
	char name[REQUEST_NAME_SIZE];
};

static int on_called(void *user, const struct dir_entry *d)
{
	struct called *c = user;

	if (d->ino != c->ino)
		return 0;
	memcpy(c->name, d->name, d->name_size);
	c->name[d->name_size] = '\0';
	return 1;
}

/* A folder of the image. */
static int folder_below(struct serving *s, const struct file *dir, const char *name, struct file *ret)
{
	ext2_ino_t ino;
	int r = dir_find(dir, name, &ino);

	if (r == 0)
		r = file_load(s->image, ino, ret);
	return r < 0 ? r : S_ISDIR(ret->raw.i_mode) ? 0 : -ENOENT;
}

/* The image's part of DIR, which is the overlay's. -ENOENT: it has none. */
static int below(struct serving *s, struct file *dir, struct file *ret, unsigned depth)
{
	struct called called = {.ino = dir->ino};
	struct file parent, up;
	ext2_ino_t ino;
	int r;

	if (dir->ino == s->upper)
		return file_load(s->image, EXT2_ROOT_INO, ret);
	if (depth > DEEP_MAX)
		return -EIO;
	if (is_opaque(dir))
		return -ENOENT;
	r = dir_find(dir, "..", &ino);
	if (r == 0)
		r = file_load(s->over, ino, &parent);
	if (r == 0)
		r = dir_each(&parent, 0, on_called, &called);
	/* Not there any more, and so nowhere. */
	if (r <= 0)
		return r == 0 ? -ENOENT : r;
	r = below(s, &parent, &up, depth + 1);
	return r == 0 ? folder_below(s, &up, called.name, ret) : r;
}

int merge_find(struct serving *s, struct file *dir, const char *name, struct file *ret)
{
	struct file low;
	ext2_ino_t ino;
	int r;

	if (is_mount(s, dir, name, strlen(name)))
		return file_load(s->work, EXT2_ROOT_INO, ret);
	r = dir_find(dir, name, &ino);
	if (r == 0) {
		r = file_load(dir->v, ino, ret);
	} else if (r == -ENOENT && dir->v == s->over) {
		r = below(s, dir, &low, 0);
		if (r == 0)
			r = dir_find(&low, name, &ino);
		if (r == 0)
			r = file_load(s->image, ino, ret);
	}
	if (r == 0 && is_whiteout(ret))
		return -ENOENT;
	return r == -ESTALE ? -EIO : r;
}

struct merging {
	struct serving *s;
	struct file *dir; /* as it was asked for */
	struct volume *v; /* whose entries these are */
	uint64_t mark;    /* on their cookies */
	int (*fn)(void *user, struct file *at, const struct dir_entry *entry);
	void *user;
};

static int on_entry(void *user, const struct dir_entry *d)
{
	struct merging *m = user;
	struct dir_entry entry = *d;
	char name[REQUEST_NAME_SIZE];
	ext2_ino_t ino;
	struct file f;
	int r;

	entry.next |= m->mark;
	if (m->mark) {
		memcpy(name, d->name, d->name_size);
		name[d->name_size] = '\0';
		r = dir_find(m->dir, name, &ino);
		/* The overlay's is told already, or hides it. */
		if (r != -ENOENT)
			return r < 0 ? r : 0;
	}
	if (is_mount(m->s, m->dir, d->name, d->name_size))
		r = file_load(m->s->work, EXT2_ROOT_INO, &f);
	else
		r = file_load(m->v, d->ino, &f);
	return r < 0 || is_whiteout(&f) ? 0 : m->fn(m->user, &f, &entry);
}

int merge_each(struct serving *s, struct file *dir, uint64_t from,
	int (*fn)(void *user, struct file *at, const struct dir_entry *entry), void *user)
{
	struct merging m = {.s = s, .dir = dir, .v = dir->v, .fn = fn, .user = user};
	struct file low;
	int r = 0;

	if (!(from & BELOW))
		r = dir_each(dir, from, on_entry, &m);
	if (r || dir->v != s->over)
		return r;
	r = below(s, dir, &low, 0);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	m.v = s->image;
	m.mark = BELOW;
	return dir_each(&low, from & BELOW ? from & ~BELOW : 0, on_entry, &m);
}
