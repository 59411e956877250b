/*
 * An image's files while they are read: names and attributes in memory, contents on disk already (writer.h).
 *
 * Later entries meet earlier ones as a layer's do: a folder over a folder changes its attributes, anything else replaces. No path of the
 * host's is ever made of a name in here.
 */
#ifndef BANGER_IMAGE_TREE_H
#define BANGER_IMAGE_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <time.h>

#include "banger/cleanup.h"
#include "banger/err.h"

#define TREE_ENTRIES_MAX 4000000u
#define TREE_DEPTH_MAX   255
#define TREE_PATH_MAX    4095
#define TREE_NAME_MAX    255
#define TREE_LINKS_MAX   40    /* symbolic links on the way, as the kernel's own limit */
#define TREE_HARD_MAX    65000 /* ext4: EXT4_LINK_MAX */
/* Names walked over for all entries, 100 for each: links to long paths make many of few. */
#define TREE_STEPS_MAX 400000000ull

/* A run of blocks of a file's contents. */
struct extent {
	uint64_t physical;
	uint32_t logical, blocks;
};

struct xattr {
	struct xattr *next;
	size_t size;
	char *name;
	uint8_t value[];
};

struct inode {
	uint32_t mode, uid, gid, links, number;
	uint32_t major, minor;
	uint64_t size;
	struct timespec atime, mtime, ctime;
	char *target; /* of a symbolic link */
	struct extent *extents;
	size_t extent_count, extent_room;
	struct xattr *xattrs;
	bool written, indexed; /* of a folder: its blocks are a hashed index */
};

struct node {
	struct node *parent;
	struct inode *inode;
	void *children; /* tsearch(3) by name; of folders */
	uint32_t child_count, subdirs;
	uint32_t layer; /* that put it there */
	uint32_t swept; /* of folders: the layer since which nothing of an earlier one is below it */
	char name[];
};

struct itree {
	struct node *root;
	uint64_t entries, steps;
	uint32_t layer; /* the one being read: what is put belongs to it; the caller counts */
	/* Contents that nobody names any more: their blocks are given back. */
	void (*drop)(void *user, struct inode *inode);
	void *user;
};

int itree_new(struct itree **ret, struct err *e);
struct itree *itree_free(struct itree *t);
DEFINE_CLEANUP(struct itree *, itree_free)

/* A new inode without a name yet; *RET is the caller's until it is given to itree_put(). */
int inode_new(uint32_t mode, struct inode **ret, struct err *e);
struct inode *inode_free(struct inode *inode);
/* In the place of one of that name. */
int inode_add_xattr(struct inode *inode, const char *name, const void *value, size_t size, struct err *e);

/*
 * Puts INODE (taken, also on failure) at PATH, as it stands in an archive: "./usr//bin/x". Parents that are missing are made (0755, root), links on the way
 * are followed inside. -EBADMSG: "..", too long, too deep, a loop, a file on the way; -EFBIG beyond
 * TREE_ENTRIES_MAX or TREE_STEPS_MAX.
 */
int itree_put(struct itree *t, const char *path, struct inode *inode, struct err *e);
/* A hard link at PATH to what is at TARGET. -EBADMSG: nothing is there, or a folder. */
int itree_link(struct itree *t, const char *path, const char *target, struct err *e);

/*
 * A layer's deletions (OCI image-spec layer.md, "Whiteouts"): of what is at PATH, or below the folder PATH, all that earlier layers put there.
 * What this layer put there, before or after, stays. Nothing there: fine. -EBADMSG as itree_put().
 */
int itree_whiteout(struct itree *t, const char *path, struct err *e);
int itree_opaque(struct itree *t, const char *path, struct err *e);

/* Whether the root has a NAME. */
bool itree_has(const struct itree *t, const char *name);

/* FN for each child of DIR in the order of names; a negative return ends it. */
int itree_each(struct node *dir, int (*fn)(void *user, struct node *child), void *user);

#endif
