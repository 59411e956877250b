#include <errno.h>
#include <search.h>

#include "image/extfs.h"
#include "image/layer_out.h"
#include "image/pack.h"
#include "image/source.h"

#define BUFFER     (1u << 20)
#define SPARSE_MIN (1u << 20) /* holes of so many bytes in all are worth what a reader has to know of them */
#define OVERLAY    "trusted.overlay."

/* The first name of an inode that has several. */
struct first {
	ext2_ino_t ino;
	char path[];
};

struct pack {
	enum pack_kind kind;
	struct extfs *disk, *base; /* base: of changes; NULL */
	struct layer_out *out;
	struct op *op;
	uint8_t *buffer;
	void *firsts; /* tsearch(3) by inode */
	uint64_t entries, done, total;
};

static int by_inode(const void *a, const void *b)
{
	const struct first *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* Names in an error go to terminals and logs. */
static int wrap(struct err *e, int code, const char *path)
{
	_cleanup_free_ char *shown = strndup(path, 256);

	for (char *c = shown; c && *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = '?';
	if (code != -EINTR)
		err_wrap(e, "%s", shown ? shown : "an entry");
	return code;
}

static const struct xattr *find_xattr(const struct inode *inode, const char *name)
{
	for (const struct xattr *x = inode->xattrs; x; x = x->next)
		if (strcmp(x->name, name) == 0)
			return x;
	return NULL;
}

static bool is_whiteout(const struct pack *p, const struct inode *inode)
{
	if (p->kind != PACK_UPPER)
		return false;
	/* Since Linux 6.7 also a file of no bytes that says so, for overlays in overlays. */
	return (S_ISCHR(inode->mode) && inode->major == 0 && inode->minor == 0) ||
	       (S_ISREG(inode->mode) && inode->size == 0 && find_xattr(inode, OVERLAY "whiteout"));
}

static bool is_opaque(const struct pack *p, const struct inode *inode)
{
	const struct xattr *x = p->kind == PACK_UPPER ? find_xattr(inode, OVERLAY "opaque") : NULL;

	return x && x->size == 1 && x->value[0] == 'y';
}

/* What is somewhere else than where it stands can't be told in a layer. The guest mounts its overlay without (guest/disks.c). */
static int check_overlay(const struct pack *p, const struct inode *inode, struct err *e)
{
	if (p->kind == PACK_UPPER &&
		(find_xattr(inode, OVERLAY "redirect") || find_xattr(inode, OVERLAY "metacopy")))
		return err_set(e, -EOPNOTSUPP,
			"overlayfs has only noted where it was renamed from (redirect_dir, metacopy): copy "
			"it in the guest, and delete the one there is");
	return 0;
}

static void drop_xattrs(struct inode *inode)
{
	struct xattr **at = &inode->xattrs;

	while (*at) {
		struct xattr *x = *at;

		if (source_xattr_wanted(x->name)) {
			at = &x->next;
			continue;
		}
		*at = x->next;
		free(x->name);
		free(x);
	}
}

static uint64_t holes(const struct inode *inode, uint32_t block)
{
	uint64_t data = 0;

	for (size_t i = 0; i < inode->extent_count; i++)
		data += (uint64_t)inode->extents[i].blocks * block;
	return data < inode->size ? inode->size - data : 0;
}

static int pack_run(struct pack *p, uint64_t at, uint64_t n, struct err *e)
{
	/* Files that claim each other's blocks could go on for ever. */
	if (n > extfs_size(p->disk) - p->done)
		return err_set(e, -EBADMSG, "the files are larger than their disk");
	while (n > 0) {
		size_t piece = n < BUFFER ? (size_t)n : BUFFER;
		int r = op_check(p->op, e);

		if (r == 0)
			r = extfs_read(p->disk, at, p->buffer, piece, e);
		if (r == 0)
			r = layer_out_data(p->out, p->buffer, piece, e);
		if (r < 0)
			return r;
		at += piece;
		n -= piece;
		p->done += piece;
		op_progress(p->op, p->done, p->total);
	}
	return 0;
}

static int pack_contents(struct pack *p, const struct inode *inode, struct err *e)
{
	uint32_t block = extfs_block(p->disk);
	uint64_t at = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < inode->extent_count; i++) {
		const struct extent *x = &inode->extents[i];
		uint64_t from = (uint64_t)x->logical * block, n = (uint64_t)x->blocks * block;

		/* Blocks beyond the end were allocated for what hasn't come. */
		if (from >= inode->size)
			break;
		n = n < inode->size - from ? n : inode->size - from;
		r = layer_out_data(p->out, NULL, from - at, e);
		if (r == 0)
			r = pack_run(p, x->physical * block, n, e);
		at = from + n;
	}
	return r == 0 ? layer_out_data(p->out, NULL, inode->size - at, e) : r;
}

/* 1: PATH was told as a link to the first name of its inode; 0: it is that one. */
static int pack_link(struct pack *p, const char *path, const struct inode *inode, struct err *e)
{
	struct first key = {.ino = inode->number}, *first, **found = tfind(&key, &p->firsts, by_inode);
	size_t n = strlen(path) + 1;
	int r;

	if (found) {
		r = layer_out_link(p->out, path, (*found)->path, e);
		return r < 0 ? r : 1;
	}
	first = malloc(sizeof(*first) + n);
	if (!first)
		return err_sys(e, -ENOMEM, "layer");
	first->ino = inode->number;
	memcpy(first->path, path, n);
	if (!tsearch(first, &p->firsts, by_inode)) {
		free(first);
		return err_sys(e, -ENOMEM, "layer");
	}
	return 0;
}

static int pack_file(struct pack *p, const char *path, struct inode *inode, struct err *e)
{
	uint32_t block = extfs_block(p->disk);
	int r;

	/* A socket is what somebody made who isn't there any more; a tar has none. */
	if (S_ISSOCK(inode->mode))
		return 0;
	if (inode->links > 1) {
		r = pack_link(p, path, inode, e);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	drop_xattrs(inode);
	r = layer_out_entry(
		p->out, path, inode, S_ISREG(inode->mode) && holes(inode, block) >= SPARSE_MIN, block, e);
	return r == 0 && S_ISREG(inode->mode) ? pack_contents(p, inode, e) : r;
}

static int pack_mark(struct pack *p, const char *folder, const char *prefix, const char *name, struct err *e)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s%s%s", folder, prefix, name) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "layer");
	}
	return layer_out_mark(p->out, path, e);
}

static bool left_out(const struct pack *p, const char *path)
{
	static const char *const written[] = {"etc/hostname", "etc/hosts", "etc/resolv.conf"};
	static const char host_keys[] = "etc/ssh/ssh_host_";

	if ((p->kind == PACK_WHOLE || p->base) && strcmp(path, "lost+found") == 0)
		return true;
	if (p->kind == PACK_WHOLE && !p->base)
		return false;
	for (size_t i = 0; i < ELEMENTSOF(written); i++)
		if (strcmp(path, written[i]) == 0)
			return true;
	/* A machine's own, and secret: whoever starts from this image is another one. */
	return strncmp(path, host_keys, strlen(host_keys)) == 0;
}

static int pack_folder(
	struct pack *p, const char *path, ext2_ino_t ino, struct inode *inode, unsigned depth, struct err *e);
static int pack_pair(struct pack *p, const char *path, ext2_ino_t ino, struct inode *inode, ext2_ino_t below,
	unsigned depth, struct err *e);

/* FOLDER: "" or with a slash at its end. BELOW: what has the name in the base; 0: nothing. */
static int pack_one(struct pack *p, const char *folder, const struct extfs_name *name, ext2_ino_t below,
	unsigned depth, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	struct inode *inode = NULL;
	int r = op_check(p->op, e);

	if (r < 0)
		return r;
	if (asprintf(&path, "%s%s", folder, name->name) < 0) {
		path = NULL;
		return err_sys(e, -ENOMEM, "layer");
	}
	if (left_out(p, path))
		return 0;
	if (strlen(path) > TREE_PATH_MAX || ++p->entries > TREE_ENTRIES_MAX)
		return err_set(e, -EFBIG, "%s",
			strlen(path) > TREE_PATH_MAX ? "paths too long" : "too many entries");
	r = extfs_inode(p->disk, name->ino, &inode, e);
	if (r < 0)
		return wrap(e, r, path);
	if (is_whiteout(p, inode))
		r = pack_mark(p, folder, ".wh.", name->name, e);
	else if (strncmp(name->name, ".wh.", 4) == 0)
		r = err_set(e, -EINVAL, "a layer can't hold a name that begins with .wh.: rename it");
	else if ((r = check_overlay(p, inode, e)) < 0)
		;
	else if (below)
		r = pack_pair(p, path, name->ino, inode, below, depth, e);
	else if (S_ISDIR(inode->mode))
		r = pack_folder(p, path, name->ino, inode, depth, e);
	else
		r = pack_file(p, path, inode, e);
	inode_free(inode);
	/* A folder's errors name what is in it. */
	return r < 0 && (!e || !e->text || strncmp(e->text, path, strlen(path)) != 0) ? wrap(e, r, path) : r;
}

static int pack_children(struct pack *p, const char *folder, ext2_ino_t ino, unsigned depth, struct err *e)
{
	struct extfs_name **list = NULL;
	size_t n = 0;
	int r = depth > TREE_DEPTH_MAX ? err_set(e, -EBADMSG, "folders more than %d deep", TREE_DEPTH_MAX)
				       : extfs_list(p->disk, ino, &list, &n, e);

	for (size_t i = 0; r == 0 && i < n; i++)
		r = pack_one(p, folder, list[i], 0, depth, e);
	extfs_names_free(list, n);
	return r;
}

static int pack_folder(
	struct pack *p, const char *path, ext2_ino_t ino, struct inode *inode, unsigned depth, struct err *e)
{
	_cleanup_free_ char *folder = NULL;
	bool opaque = is_opaque(p, inode);
	int r;

	if (asprintf(&folder, "%s/", path) < 0) {
		folder = NULL;
		return err_sys(e, -ENOMEM, "layer");
	}
	drop_xattrs(inode);
	r = layer_out_entry(p->out, folder, inode, false, 0, e);
	if (r == 0 && opaque)
		r = pack_mark(p, folder, ".wh..wh..opq", "", e);
	return r == 0 ? pack_children(p, folder, ino, depth + 1, e) : r;
}

static bool same_xattrs(const struct inode *a, const struct inode *b)
{
	size_t n = 0, m = 0;

	for (const struct xattr *x = a->xattrs; x; x = x->next, n++) {
		const struct xattr *y = find_xattr(b, x->name);

		if (!y || x->size != y->size || memcmp(x->value, y->value, x->size) != 0)
			return false;
	}
	for (const struct xattr *y = b->xattrs; y; y = y->next)
		m++;
	return n == m;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same_inode(const struct inode *a, const struct inode *b)
{
	if (a->number != b->number || a->mode != b->mode || a->uid != b->uid || a->gid != b->gid ||
		a->links != b->links || a->size != b->size || a->major != b->major || a->minor != b->minor ||
		!same_time(&a->mtime, &b->mtime) || !same_time(&a->ctime, &b->ctime) ||
		a->extent_count != b->extent_count)
		return false;
	for (size_t i = 0; i < a->extent_count; i++)
		if (a->extents[i].physical != b->extents[i].physical ||
			a->extents[i].logical != b->extents[i].logical ||
			a->extents[i].blocks != b->extents[i].blocks)
			return false;
	return strcmp(a->target ? a->target : "", b->target ? b->target : "") == 0 && same_xattrs(a, b);
}

/* Both lists are in the order of names. */
static int pack_changes(
	struct pack *p, const char *folder, ext2_ino_t ino, ext2_ino_t below, unsigned depth, struct err *e)
{
	struct extfs_name **here = NULL, **there = NULL;
	size_t n = 0, m = 0, k = 0;
	int r = depth > TREE_DEPTH_MAX ? err_set(e, -EBADMSG, "folders more than %d deep", TREE_DEPTH_MAX)
				       : extfs_list(p->disk, ino, &here, &n, e);

	if (r == 0 && (r = extfs_list(p->base, below, &there, &m, e)) < 0)
		err_wrap(e, "the image below");
	for (size_t i = 0; r == 0 && (i < n || k < m);) {
		int order = i == n ? 1 : k == m ? -1 : strcmp(here[i]->name, there[k]->name);
		_cleanup_free_ char *gone = NULL;

		if (order <= 0) {
			r = pack_one(p, folder, here[i], order == 0 ? there[k]->ino : 0, depth, e);
			i++;
			k += order == 0;
			continue;
		}
		if (asprintf(&gone, "%s%s", folder, there[k]->name) < 0) {
			gone = NULL;
			r = err_sys(e, -ENOMEM, "layer");
		} else if (!left_out(p, gone)) {
			r = pack_mark(p, folder, ".wh.", there[k]->name, e);
		}
		k++;
	}
	extfs_names_free(here, n);
	extfs_names_free(there, m);
	return r;
}

/* PATH is in both. A folder is told when it isn't the same, what is in it by itself; anything else whole. */
static int pack_pair(struct pack *p, const char *path, ext2_ino_t ino, struct inode *inode, ext2_ino_t below,
	unsigned depth, struct err *e)
{
	_cleanup_free_ char *folder = NULL;
	struct inode *old = NULL;
	bool same, folders;
	int r = extfs_inode(p->base, below, &old, e);

	if (r < 0) {
		err_wrap(e, "the image below");
		return r;
	}
	same = same_inode(inode, old);
	folders = S_ISDIR(inode->mode) && S_ISDIR(old->mode);
	inode_free(old);
	if (!folders)
		return same                   ? 0
		       : S_ISDIR(inode->mode) ? pack_folder(p, path, ino, inode, depth, e)
					      : pack_file(p, path, inode, e);
	if (asprintf(&folder, "%s%s", path, *path ? "/" : "") < 0) {
		folder = NULL;
		return err_sys(e, -ENOMEM, "layer");
	}
	drop_xattrs(inode);
	if (!same)
		r = layer_out_entry(p->out, *path ? folder : "./", inode, false, 0, e);
	return r == 0 ? pack_changes(p, folder, ino, below, *path ? depth + 1 : 0, e) : r;
}

static int find_root(struct pack *p, ext2_ino_t *ret, struct err *e)
{
	struct extfs_name **list = NULL;
	size_t n = 0;
	int r;

	*ret = EXT2_ROOT_INO;
	if (p->kind == PACK_WHOLE)
		return 0;
	r = extfs_list(p->disk, EXT2_ROOT_INO, &list, &n, e);
	*ret = 0;
	for (size_t i = 0; r == 0 && i < n; i++)
		if (strcmp(list[i]->name, "upper") == 0)
			*ret = list[i]->ino;
	extfs_names_free(list, n);
	return r == 0 && *ret == 0 ? err_set(e, -EBADMSG, "it is no overlay's disk: it has no folder upper")
				   : r;
}

static int pack_root(struct pack *p, struct err *e)
{
	struct inode *inode = NULL;
	ext2_ino_t root;
	int r = find_root(p, &root, e);

	if (r == 0)
		r = extfs_inode(p->disk, root, &inode, e);
	if (r == 0 && !S_ISDIR(inode->mode))
		r = err_set(e, -EBADMSG, "its root is no folder");
	if (r == 0 && p->base) {
		r = pack_pair(p, "", root, inode, EXT2_ROOT_INO, 0, e);
		inode_free(inode);
		return r;
	}
	if (r == 0) {
		drop_xattrs(inode);
		r = layer_out_entry(p->out, "./", inode, false, 0, e);
	}
	inode_free(inode);
	return r == 0 ? pack_children(p, "", root, 0, e) : r;
}

static int layer_from(int disk, int base, enum pack_kind kind, int fd, struct op *op,
	struct image_result *ret, struct err *e)
{
	_cleanup_(extfs_closep) struct extfs *x = NULL, *below = NULL;
	_cleanup_(layer_out_freep) struct layer_out *out = NULL;
	_cleanup_free_ uint8_t *buffer = malloc(BUFFER);
	struct pack p = {.kind = kind, .op = op, .buffer = buffer};
	struct layer_sums sums;
	int r = buffer ? extfs_open(disk, &x, e) : err_sys(e, -ENOMEM, "layer");

	op_stage(op, IMAGE_STAGE_PACK);
	if (r == 0 && base >= 0 && (r = extfs_open(base, &below, e)) < 0)
		err_wrap(e, "the image below");
	if (r == 0)
		r = layer_out_new(fd, &out, e);
	if (r < 0)
		return r;
	p.disk = x;
	p.base = below;
	p.out = out;
	p.total = extfs_used(x);
	r = pack_root(&p, e);
	tdestroy(p.firsts, free);
	if (r == 0)
		r = layer_out_finish(out, &sums, e);
	if (r < 0)
		return r;
	*ret = (struct image_result){.size = sums.size, .content = p.done, .entries = p.entries};
	source_digest(sums.packed, ret->digest);
	source_digest(sums.plain, ret->diff_id);
	return 0;
}

int layer_from_ext4(
	int disk, enum pack_kind kind, int fd, struct op *op, struct image_result *ret, struct err *e)
{
	return layer_from(disk, -EBADF, kind, fd, op, ret, e);
}

int layer_from_changes(int disk, int base, int fd, struct op *op, struct image_result *ret, struct err *e)
{
	return layer_from(disk, base, PACK_WHOLE, fd, op, ret, e);
}
