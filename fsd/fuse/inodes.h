/*
 * Which of the tree's nodes the kernel has, and of which it may have pages: it need not be told of a change of one that it doesn't have, and one without pages
 * is told of at once, with nobody waiting for anything. Nodes of guests are not looked for. Loop thread.
 */
#ifndef BANGER_FUSE_INODES_H
#define BANGER_FUSE_INODES_H

#include <stdbool.h>
#include <stdint.h>

struct inodes;

enum inode_state {
	INODE_ABSENT,
	INODE_BARE,  /* attributes alone */
	INODE_PAGES, /* and perhaps pages */
};

/* FRESH: of a mount on which no earlier daemon has answered anything; else what isn't known may be there, pages and all. NULL: no memory. */
struct inodes *inodes_new(bool fresh);
struct inodes *inodes_free(struct inodes *all);

/* NODE was given to the kernel, once more; from now on it may have pages; it was forgotten COUNT times. ALL may be NULL. */
void inodes_given(struct inodes *all, uint64_t node);
void inodes_paged(struct inodes *all, uint64_t node);
void inodes_forgotten(struct inodes *all, uint64_t node, uint64_t count);
/* INODE_PAGES too where nothing is known (ALL is NULL). */
enum inode_state inodes_state(const struct inodes *all, uint64_t node);

#endif
