/* Names of an archive in memory: what replaces what, and what is refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "image/tree.h"

struct bench {
	struct itree *tree;
	unsigned dropped;
};

static void count_drop(void *user, struct inode *inode)
{
	struct bench *b = user;

	(void)inode;
	b->dropped++;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	if (!b || itree_new(&b->tree, NULL) < 0)
		return -1;
	b->tree->drop = count_drop;
	b->tree->user = b;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	itree_free(b->tree);
	free(b);
	return 0;
}

static int put(struct bench *b, const char *path, uint32_t mode, const char *target)
{
	struct inode *inode = NULL;

	assert_int_equal(inode_new(mode, &inode, NULL), 0);
	if (target) {
		inode->target = strdup(target);
		inode->size = strlen(target);
	}
	return itree_put(b->tree, path, inode, NULL);
}

static int file(struct bench *b, const char *path)
{
	return put(b, path, S_IFREG | 0644, NULL);
}

static int folder(struct bench *b, const char *path)
{
	return put(b, path, S_IFDIR | 0755, NULL);
}

struct wanted {
	const char *name;
	struct node *found;
};

static int compare(void *user, struct node *child)
{
	struct wanted *w = user;

	if (strcmp(child->name, w->name) == 0)
		w->found = child;
	return 0;
}

/* By plain names, no link followed. NULL: nothing there. */
static struct node *at(struct bench *b, const char *path)
{
	char *copy = strdup(path), *rest = copy, *name;
	struct node *node = b->tree->root;

	while (node && (name = strsep(&rest, "/"))) {
		struct wanted w = {.name = name};

		itree_each(node, compare, &w);
		node = w.found;
	}
	free(copy);
	return node;
}

static void spellings(void **state)
{
	struct bench *b = *state;

	assert_int_equal(file(b, "./usr//bin/./x"), 0);
	assert_int_equal(file(b, "/usr/bin/y"), 0);
	assert_int_equal(folder(b, "usr/bin/"), 0);
	assert_int_equal(folder(b, "./"), 0);
	assert_int_equal(folder(b, "/"), 0);
	assert_non_null(at(b, "usr/bin/x"));
	assert_non_null(at(b, "usr/bin/y"));
	assert_int_equal(at(b, "usr")->inode->mode, S_IFDIR | 0755);
	assert_int_equal(b->tree->entries, 5);
	assert_int_equal(file(b, "a\nb"), 0);
	assert_non_null(at(b, "a\nb"));
}

static void refused(void **state)
{
	struct bench *b = *state;
	char *path = malloc(8192);
	static const char *const bad[] = {"..", "../x", "a/../b", "/..", "x/..", NULL};

	for (const char *const *p = bad; *p; p++)
		assert_int_equal(file(b, *p), -EBADMSG);
	assert_int_equal(file(b, "/"), -EBADMSG);
	assert_int_equal(put(b, ".", S_IFLNK | 0777, "/usr"), -EBADMSG);
	memset(path, 'n', 256);
	path[256] = '\0';
	assert_int_equal(file(b, path), -EBADMSG);
	path[255] = '\0';
	assert_int_equal(file(b, path), 0);
	/* Too long a path, and too deep a one. */
	for (size_t i = 0; i < 4096; i++)
		path[i] = i % 200 == 199 ? '/' : 'p';
	path[4096] = '\0';
	assert_int_equal(file(b, path), -EBADMSG);
	for (size_t i = 0; i < 600; i++)
		path[i] = i % 2 ? '/' : 'd';
	path[600] = '\0';
	assert_int_equal(folder(b, path), -EBADMSG);
	path[2 * TREE_DEPTH_MAX] = '\0';
	assert_int_equal(folder(b, path), 0);
	assert_int_equal(file(b, "f"), 0);
	assert_int_equal(file(b, "f/below"), -EBADMSG);
	free(path);
}

static void other_kinds(void **state)
{
	struct bench *b = *state;

	assert_int_equal(file(b, "x"), 0);
	assert_int_equal(file(b, "x"), 0);
	assert_int_equal(b->dropped, 1);
	assert_int_equal(folder(b, "x"), 0);
	assert_int_equal(b->tree->root->subdirs, 1);
	assert_int_equal(file(b, "x/in"), 0);
	assert_int_equal(put(b, "x", S_IFDIR | 0700, NULL), 0);
	assert_non_null(at(b, "x/in"));
	assert_int_equal(at(b, "x")->inode->mode, S_IFDIR | 0700);
	assert_int_equal(put(b, "x", S_IFLNK | 0777, "y"), 0);
	assert_null(at(b, "x/in"));
	assert_int_equal(b->tree->root->subdirs, 0);
	assert_int_equal(b->tree->root->child_count, 1);
	assert_int_equal(put(b, "x", S_IFIFO | 0600, NULL), 0);
	assert_int_equal(b->tree->entries, 2);
}

static void links_on_the_way(void **state)
{
	struct bench *b = *state;

	assert_int_equal(put(b, "abs", S_IFLNK | 0777, "/usr/lib"), 0);
	assert_int_equal(file(b, "abs/a"), 0);
	assert_non_null(at(b, "usr/lib/a"));
	assert_int_equal(put(b, "up", S_IFLNK | 0777, "../../../../etc"), 0);
	assert_int_equal(file(b, "up/b"), 0);
	assert_non_null(at(b, "etc/b"));
	assert_int_equal(put(b, "root", S_IFLNK | 0777, "/"), 0);
	assert_int_equal(file(b, "root/root/c"), 0);
	assert_non_null(at(b, "c"));
	/* The last component is never followed. */
	assert_int_equal(file(b, "root"), 0);
	assert_true(S_ISREG(at(b, "root")->inode->mode));
	assert_int_equal(put(b, "one", S_IFLNK | 0777, "two"), 0);
	assert_int_equal(put(b, "two", S_IFLNK | 0777, "one"), 0);
	assert_int_equal(file(b, "one/x"), -EBADMSG);
	assert_int_equal(put(b, "self", S_IFLNK | 0777, "self/self/self"), 0);
	assert_int_equal(file(b, "self/x"), -EBADMSG);
}

static void hard_links(void **state)
{
	struct bench *b = *state;

	assert_int_equal(file(b, "d/f"), 0);
	assert_int_equal(itree_link(b->tree, "g", "./d//f", NULL), 0);
	assert_ptr_equal(at(b, "g")->inode, at(b, "d/f")->inode);
	assert_int_equal(at(b, "g")->inode->links, 2);
	assert_int_equal(itree_link(b->tree, "g", "g", NULL), 0);
	assert_int_equal(at(b, "g")->inode->links, 2);
	assert_int_equal(itree_link(b->tree, "h", "none", NULL), -EBADMSG);
	assert_int_equal(itree_link(b->tree, "h", "no/ne", NULL), -EBADMSG);
	assert_int_equal(itree_link(b->tree, "h", "d", NULL), -EBADMSG);
	assert_int_equal(itree_link(b->tree, "h", "/", NULL), -EBADMSG);
	assert_int_equal(itree_link(b->tree, "h", "../d/f", NULL), -EBADMSG);
	assert_int_equal(itree_link(b->tree, "../h", "g", NULL), -EBADMSG);
	assert_int_equal(itree_link(b->tree, "/", "g", NULL), -EBADMSG);
	assert_null(at(b, "h"));
	assert_int_equal(file(b, "d/f"), 0);
	assert_int_equal(b->dropped, 0);
	assert_int_equal(at(b, "g")->inode->links, 1);
}

/* A link in the place of the folder that holds its target's only other name. */
static void a_link_over_its_target(void **state)
{
	struct bench *b = *state;
	struct inode *inode;

	assert_int_equal(file(b, "d/e/f"), 0);
	inode = at(b, "d/e/f")->inode;
	assert_int_equal(itree_link(b->tree, "d", "d/e/f", NULL), 0);
	assert_ptr_equal(at(b, "d")->inode, inode);
	assert_int_equal(inode->links, 1);
	assert_int_equal(b->dropped, 2); /* the two folders */
	assert_int_equal(b->tree->entries, 2);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	static const struct CMUnitTest tests[] = {TEST(spellings), TEST(refused), TEST(other_kinds),
		TEST(links_on_the_way), TEST(hard_links), TEST(a_link_over_its_target)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
