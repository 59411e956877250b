#include <errno.h>
#include <search.h>
#include <string.h>

#include "image/tree.h"

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct node *)a)->name, ((const struct node *)b)->name);
}

int inode_new(uint32_t mode, struct inode **ret, struct err *e)
{
	struct inode *inode = calloc(1, sizeof(*inode));

	if (!inode)
		return err_sys(e, -ENOMEM, "image");
	inode->mode = mode;
	*ret = inode;
	return 0;
}

struct inode *inode_free(struct inode *inode)
{
	struct xattr *x;

	if (!inode)
		return NULL;
	while ((x = inode->xattrs)) {
		inode->xattrs = x->next;
		free(x->name);
		free(x);
	}
	free(inode->target);
	free(inode->extents);
	free(inode);
	return NULL;
}

int inode_add_xattr(struct inode *inode, const char *name, const void *value, size_t size, struct err *e)
{
	struct xattr *x = malloc(sizeof(*x) + size), **at, *old;

	if (!x || !(x->name = strdup(name))) {
		free(x);
		return err_sys(e, -ENOMEM, "image");
	}
	x->size = size;
	memcpy(x->value, value, size);
	for (at = &inode->xattrs; (old = *at); at = &old->next)
		if (strcmp(old->name, name) == 0) {
			*at = old->next;
			free(old->name);
			free(old);
			break;
		}
	x->next = inode->xattrs;
	inode->xattrs = x;
	return 0;
}

static void inode_drop(struct itree *t, struct inode *inode)
{
	if (t->drop)
		t->drop(t->user, inode);
	inode_free(inode);
}

static void inode_unlink(struct itree *t, struct inode *inode)
{
	if (--inode->links == 0)
		inode_drop(t, inode);
}

static int node_new(struct itree *t, struct node *parent, const char *name, size_t n, struct inode *inode,
	struct node **ret, struct err *e)
{
	struct node *node = calloc(1, sizeof(*node) + n + 1);

	if (!node)
		return err_sys(e, -ENOMEM, "image");
	if (++t->entries > TREE_ENTRIES_MAX) {
		free(node);
		return err_set(e, -EFBIG, "more than %u entries", TREE_ENTRIES_MAX);
	}
	memcpy(node->name, name, n);
	node->parent = parent;
	node->inode = inode;
	node->layer = t->layer;
	if (parent) {
		if (!tsearch(node, &parent->children, by_name)) {
			free(node);
			return err_sys(e, -ENOMEM, "image");
		}
		parent->child_count++;
		if (S_ISDIR(inode->mode))
			parent->subdirs++;
	}
	inode->links++;
	*ret = node;
	return 0;
}

/* With everything below it; not from its parent's tree. Depth is bounded by TREE_DEPTH_MAX. */
static void node_free(struct itree *t, struct node *node)
{
	while (node->children) {
		struct node *child = *(struct node **)node->children;

		tdelete(child, &node->children, by_name);
		node_free(t, child);
	}
	inode_unlink(t, node->inode);
	t->entries--;
	free(node);
}

static void node_remove(struct itree *t, struct node *node)
{
	tdelete(node, &node->parent->children, by_name);
	node->parent->child_count--;
	if (S_ISDIR(node->inode->mode))
		node->parent->subdirs--;
	node_free(t, node);
}

int itree_new(struct itree **ret, struct err *e)
{
	struct itree *t = calloc(1, sizeof(*t));
	struct inode *inode = NULL;
	int r;

	if (!t)
		return err_sys(e, -ENOMEM, "image");
	r = inode_new(S_IFDIR | 0755, &inode, e);
	if (r == 0)
		r = node_new(t, NULL, "", 0, inode, &t->root, e);
	if (r < 0) {
		inode_free(inode);
		free(t);
		return r;
	}
	*ret = t;
	return 0;
}

struct itree *itree_free(struct itree *t)
{
	if (t) {
		/* All goes: nobody needs the blocks back. */
		t->drop = NULL;
		node_free(t, t->root);
		free(t);
	}
	return NULL;
}

static struct node *child_of(struct node *dir, const char *name, size_t n)
{
	_Alignas(struct node) char room[sizeof(struct node) + TREE_NAME_MAX + 1];
	struct node *key = (struct node *)room;
	void **found;

	memcpy(key->name, name, n);
	key->name[n] = '\0';
	found = tfind(key, &dir->children, by_name);
	return found ? *(struct node **)found : NULL;
}

/* Takes the next component of *PATH. 1: there is one; 0: the end; <0: refused. */
static int component(const char **path, const char **ret, size_t *ret_n)
{
	const char *p = *path;
	size_t n;

	for (;;) {
		p += strspn(p, "/");
		n = strcspn(p, "/");
		if (n != 1 || p[0] != '.')
			break;
		p += n;
	}
	if (n == 0)
		return 0;
	if (n > TREE_NAME_MAX || (n == 2 && p[0] == '.' && p[1] == '.'))
		return -EBADMSG;
	*ret = p;
	*ret_n = n;
	*path = p + n;
	return 1;
}

static unsigned depth_of(const struct node *node)
{
	unsigned depth = 0;

	for (; node->parent; node = node->parent)
		depth++;
	return depth;
}

enum walk_for {
	WALK_MAKE, /* makes folders that are missing */
	WALK_NEED, /* they must be there */
	WALK_LOOK, /* -ENOENT where they aren't */
};

struct walk {
	struct itree *t;
	enum walk_for what;
	unsigned links;
};

static int walk_link(struct walk *w, struct node **at, const char *target, struct err *e);

static int count_step(struct walk *w, struct err *e)
{
	return ++w->t->steps <= TREE_STEPS_MAX
		       ? 0
		       : err_set(e, -EFBIG, "its entries' paths have more than %llu names to go through",
				 TREE_STEPS_MAX);
}

/* One component from *AT on, which is a folder. With FOLLOW a link is followed. */
static int step(struct walk *w, struct node **at, const char *name, size_t n, struct err *e)
{
	struct node *child = child_of(*at, name, n);
	struct inode *inode = NULL;
	int r = count_step(w, e);

	if (r < 0)
		return r;
	if (!child) {
		if (w->what != WALK_MAKE)
			return err_set(e, w->what == WALK_LOOK ? -ENOENT : -EBADMSG,
				"there is no '%.*s' to go through", (int)n, name);
		if (depth_of(*at) >= TREE_DEPTH_MAX)
			return err_set(e, -EBADMSG, "more than %d folders deep", TREE_DEPTH_MAX);
		r = inode_new(S_IFDIR | 0755, &inode, e);
		if (r == 0)
			r = node_new(w->t, *at, name, n, inode, &child, e);
		if (r < 0) {
			inode_free(inode);
			return r;
		}
	}
	if (S_ISLNK(child->inode->mode)) {
		if (++w->links > TREE_LINKS_MAX)
			return err_set(e, -EBADMSG, "a loop of symbolic links at '%.*s'", (int)n, name);
		return walk_link(w, at, child->inode->target, e);
	}
	if (!S_ISDIR(child->inode->mode))
		return err_set(e, w->what == WALK_LOOK ? -ENOENT : -EBADMSG, "'%.*s' on the way is no folder",
			(int)n, name);
	*at = child;
	return 0;
}

/* A link's target, from the folder *AT that it stands in; ".." is legal in it and stops at the image's root. */
static int walk_link(struct walk *w, struct node **at, const char *target, struct err *e)
{
	if (*target == '/')
		*at = w->t->root;
	while (*target) {
		size_t n;
		int r = count_step(w, e);

		if (r < 0)
			return r;
		target += strspn(target, "/");
		n = strcspn(target, "/");
		if (n == 2 && target[0] == '.' && target[1] == '.') {
			if ((*at)->parent)
				*at = (*at)->parent;
		} else if (n > TREE_NAME_MAX) {
			return err_set(e, -EBADMSG, "a symbolic link with a name too long");
		} else if (n > 0 && !(n == 1 && target[0] == '.')) {
			r = step(w, at, target, n, e);
			if (r < 0)
				return r;
		}
		target += n;
	}
	return 0;
}

/* The folder that PATH's last component stands in, and that component ("" for the root itself). */
static int find_parent(struct itree *t, const char *path, enum walk_for what, struct node **ret,
	const char **ret_name, size_t *ret_n, struct err *e)
{
	struct walk w = {.t = t, .what = what};
	struct node *at = t->root;
	const char *name, *next, *p = path;
	size_t n, next_n;
	int r;

	if (strlen(path) > TREE_PATH_MAX)
		return err_set(e, -EBADMSG, "a path longer than %d bytes", TREE_PATH_MAX);
	r = component(&p, &name, &n);
	if (r == 0) {
		*ret = at;
		*ret_name = "";
		*ret_n = 0;
		return 0;
	}
	while (r > 0) {
		r = component(&p, &next, &next_n);
		if (r < 0)
			break;
		if (r == 0) {
			*ret = at;
			*ret_name = name;
			*ret_n = n;
			return 0;
		}
		r = step(&w, &at, name, n, e);
		if (r < 0)
			return r;
		name = next;
		n = next_n;
		r = 1;
	}
	return err_set(e, -EBADMSG, "a name that is '..' or longer than %d bytes", TREE_NAME_MAX);
}

/* What a folder is told to be when it is there already. */
static void take_attributes(struct node *node, struct inode *from)
{
	struct inode *to = node->inode;
	struct xattr *xattrs = to->xattrs;

	to->mode = from->mode;
	to->uid = from->uid;
	to->gid = from->gid;
	to->atime = from->atime;
	to->mtime = from->mtime;
	to->ctime = from->ctime;
	to->xattrs = from->xattrs;
	from->xattrs = xattrs;
}

static int put(struct itree *t, const char *path, struct inode *inode, struct err *e)
{
	struct node *dir, *old, *node;
	const char *name;
	size_t n;
	int r;

	r = find_parent(t, path, WALK_MAKE, &dir, &name, &n, e);
	if (r < 0)
		return r;
	old = n == 0 ? t->root : child_of(dir, name, n);
	if (old && S_ISDIR(old->inode->mode) && S_ISDIR(inode->mode)) {
		take_attributes(old, inode);
		old->layer = t->layer;
		return 1;
	}
	if (n == 0)
		return err_set(e, -EBADMSG, "the root must be a folder");
	if (depth_of(dir) >= TREE_DEPTH_MAX)
		return err_set(e, -EBADMSG, "more than %d folders deep", TREE_DEPTH_MAX);
	/* A second name of the very inode that stands there changes nothing. */
	if (old && old->inode == inode) {
		old->layer = t->layer;
		return 0;
	}
	/* Held meanwhile: a hard link's inode may have its only other name below the folder that goes. */
	inode->links++;
	if (old)
		node_remove(t, old);
	r = node_new(t, dir, name, n, inode, &node, e);
	inode->links--;
	return r;
}

int itree_put(struct itree *t, const char *path, struct inode *inode, struct err *e)
{
	int r = put(t, path, inode, e);

	if (r != 0)
		inode_free(inode);
	return r > 0 ? 0 : r;
}

int itree_link(struct itree *t, const char *path, const char *target, struct err *e)
{
	struct inode *inode;
	struct node *dir, *old;
	const char *name;
	size_t n;
	int r;

	r = find_parent(t, target, WALK_NEED, &dir, &name, &n, e);
	if (r < 0)
		return r;
	old = n == 0 ? t->root : child_of(dir, name, n);
	if (!old)
		return err_set(e, -EBADMSG, "a hard link to '%.200s', which isn't there", target);
	if (S_ISDIR(old->inode->mode))
		return err_set(e, -EBADMSG, "a hard link to the folder '%.200s'", target);
	if (old->inode->links >= TREE_HARD_MAX)
		return err_set(e, -EBADMSG, "more than %d hard links to '%.200s'", TREE_HARD_MAX, target);
	inode = old->inode;
	r = put(t, path, inode, e);
	/* Its names went with the folder that this one would have replaced. */
	if (inode->links == 0)
		inode_drop(t, inode);
	return r;
}

struct sweep {
	struct node **found;
	size_t n, room;
	bool failed;
};

static void gather(const void *at, VISIT which, void *closure)
{
	struct sweep *s = closure;

	if (which != postorder && which != leaf)
		return;
	if (s->n == s->room) {
		size_t room = s->room ? s->room * 2 : 16;
		struct node **bigger = realloc(s->found, room * sizeof(*bigger));

		if (!bigger) {
			s->failed = true;
			return;
		}
		s->found = bigger;
		s->room = room;
	}
	s->found[s->n++] = *(struct node *const *)at;
}

static int sweep_lower(struct itree *t, struct node *dir, struct err *e);

/* Removes NODE, or as much of it as earlier layers put there. */
static int remove_lower(struct itree *t, struct node *node, struct err *e)
{
	int r = S_ISDIR(node->inode->mode) ? sweep_lower(t, node, e) : 0;

	if (r == 0 && node->layer < t->layer && node->child_count == 0)
		node_remove(t, node);
	return r;
}

static int sweep_lower(struct itree *t, struct node *dir, struct err *e)
{
	struct sweep s = {0};
	int r = 0;

	/* What this layer has put below it since is its own. */
	if (dir->swept == t->layer)
		return 0;
	/* First all, then each: a tree that is walked must not change. */
	twalk_r(dir->children, gather, &s);
	if (s.failed)
		r = err_sys(e, -ENOMEM, "image");
	for (size_t i = 0; r == 0 && i < s.n; i++)
		r = remove_lower(t, s.found[i], e);
	free(s.found);
	if (r == 0)
		dir->swept = t->layer;
	return r;
}

/* What is at PATH; NULL: nothing is, or a folder on the way isn't there. */
static int find_lower(struct itree *t, const char *path, struct node **ret, struct err *e)
{
	_cleanup_err_ struct err mine = {0};
	struct node *dir;
	const char *name;
	size_t n;
	int r = find_parent(t, path, WALK_LOOK, &dir, &name, &n, &mine);

	*ret = NULL;
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_move(e, &mine);
	*ret = n == 0 ? t->root : child_of(dir, name, n);
	return 0;
}

int itree_whiteout(struct itree *t, const char *path, struct err *e)
{
	struct node *node;
	int r = find_lower(t, path, &node, e);

	if (r < 0 || !node)
		return r;
	if (node == t->root)
		return err_set(e, -EBADMSG, "a whiteout of the root");
	return remove_lower(t, node, e);
}

int itree_opaque(struct itree *t, const char *path, struct err *e)
{
	struct node *node;
	int r = find_lower(t, path, &node, e);

	return r == 0 && node && S_ISDIR(node->inode->mode) ? sweep_lower(t, node, e) : r;
}

bool itree_has(const struct itree *t, const char *name)
{
	return child_of(t->root, name, strlen(name));
}

struct each {
	int (*fn)(void *user, struct node *child);
	void *user;
	int r;
};

static void each_one(const void *at, VISIT which, void *closure)
{
	struct each *each = closure;

	if ((which == postorder || which == leaf) && each->r >= 0)
		each->r = each->fn(each->user, *(struct node *const *)at);
}

int itree_each(struct node *dir, int (*fn)(void *user, struct node *child), void *user)
{
	struct each each = {.fn = fn, .user = user};

	twalk_r(dir->children, each_one, &each);
	return each.r;
}
