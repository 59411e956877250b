#include "fuse/inodes.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "banger/cleanup.h"
#include "tree/node.h"

#define BUCKETS 4096

struct inode {
	LIST_ENTRY(inode) link;
	uint64_t node, count;
	bool pages;
};

struct inodes {
	bool partial; /* there are more than these, and these may have pages */
	LIST_HEAD(inode_list, inode) buckets[BUCKETS];
};

struct inodes *inodes_new(bool fresh)
{
	struct inodes *all = calloc(1, sizeof(*all));

	if (all)
		all->partial = !fresh;
	return all;
}

static struct inode_list *bucket_of(struct inodes *all, uint64_t node)
{
	return &all->buckets[node_place(node, BUCKETS)];
}

static struct inode *find(struct inodes *all, uint64_t node)
{
	struct inode *i;

	LIST_FOREACH (i, bucket_of(all, node), link)
		if (i->node == node)
			return i;
	return NULL;
}

static void drop(struct inode *i)
{
	LIST_REMOVE(i, link);
	free(i);
}

struct inodes *inodes_free(struct inodes *all)
{
	struct inode *i;

	for (size_t at = 0; all && at < BUCKETS; at++)
		while ((i = LIST_FIRST(&all->buckets[at])))
			drop(i);
	free(all);
	return NULL;
}

void inodes_given(struct inodes *all, uint64_t node)
{
	struct inode *i;

	if (!all || all->partial)
		return;
	i = find(all, node);
	if (!i) {
		i = calloc(1, sizeof(*i));
		if (!i) {
			all->partial = true;
			return;
		}
		i->node = node;
		LIST_INSERT_HEAD(bucket_of(all, node), i, link);
	}
	i->count++;
}

void inodes_paged(struct inodes *all, uint64_t node)
{
	struct inode *i = all ? find(all, node) : NULL;

	if (i)
		i->pages = true;
}

void inodes_forgotten(struct inodes *all, uint64_t node, uint64_t count)
{
	struct inode *i = all ? find(all, node) : NULL;

	if (i && count < i->count)
		i->count -= count;
	else if (i)
		drop(i);
}

enum inode_state inodes_state(const struct inodes *all, uint64_t node)
{
	const struct inode *i;

	if (!all || all->partial)
		return INODE_PAGES;
	/* Nobody gives the root. */
	if (node == NODE_ROOT)
		return INODE_BARE;
	i = find((struct inodes *)all, node);
	return !i ? INODE_ABSENT : i->pages ? INODE_PAGES : INODE_BARE;
}
