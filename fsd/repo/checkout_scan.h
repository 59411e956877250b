/*
 * What the files of a scan share: a repository of the checkout while it is looked at. No other file includes this.
 */
#ifndef BANGER_REPO_CHECKOUT_SCAN_H
#define BANGER_REPO_CHECKOUT_SCAN_H

#include "repo/checkout.h"
#include "repo/git.h"

struct text {
	char *data;
	size_t n, room;
};
int text_add(struct text *t, const char *data, size_t n); /* -ENOMEM */

struct scan {
	struct checkout *c;
	struct op *op;
	struct git git;
	const struct prepared *before;
	const char *ref;    /* "": the files as they stand */
	const char *source; /* absolute, without a slash at its end */
	char *prefix;       /* of the repository that is looked at */
	int dir_fd;         /* its folder */
	unsigned depth;
	/* Where it lies, without links (scan_place()): the whole checkout, this one's files, its repository, what that shares with its worktrees. */
	char *root, *top, *git_dir, *common_dir;
	/* Of its index: */
	struct text stages;   /* for `update-index --index-info` */
	struct text skipped;  /* paths that aren't checked out (sparse), each with its NUL */
	struct text changed;  /* paths that may differ from the index, or aren't in it */
	struct text filtered; /* those that a filter makes something else of */
	struct text blobs;    /* of a merge that is going on: what its index names, a line each */
	bool attributes;      /* one of its files is .gitattributes */
	bool unmerged;
};

/* checkout_repo.c: the repository at s->prefix, and those in it. */
int scan_repo(struct scan *s, const char *prefix, struct err *e);
/*
 * checkout_place.c: finds the repository of S's folder. -EPERM: it, or what it is made of, lies outside, where the checkout alone says so; or git
 * doesn't take its user for its owner. -EINVAL: git has no files checked out there.
 */
int scan_place(struct scan *s, struct err *e);
void scan_place_clear(struct scan *s);
/* Whether PATH (relative: to the folder), all links followed, is below the checkout or what the repository may have outside. */
bool scan_is_inside(const struct scan *s, const char *path);
/* checkout_git.c: makes what the guest's repository is to have. */
int scan_make_git(struct scan *s, struct err *e);
/*
 * checkout_index.c: the index that the guest gets, at INDEX, and one of the same entries to go on from, at WORK (absolute; neither is there yet). *RET: its tree's
 * name, "" while a merge is going on; the caller's.
 */
int scan_make_index(struct scan *s, const struct git *with, const char *index, const char *work, char **ret,
	struct err *e);
/* TO must not be there. */
int scan_copy_file(const char *from, const char *to, struct err *e);
/* checkout_tree.c: the files of the list, from GIT's index, which has the repository's entries. *RET is the tree's name, the caller's. */
int scan_make_tree(struct scan *s, const struct git *git, char **ret, struct err *e);

/* PATH (its own from here; NULL: there was no memory for it) gets another name in the guest first. -ENOMEM. */
int scan_set_aside(struct scan *s, char *path);
/* A file that there is, by its path in the checkout; sees to what can't be brought. */
int scan_file(struct scan *s, const char *path, bool tracked, struct err *e);

#endif
