/*
 * The user's own git, run where the user could run it: never in a tree that a guest can write. Blocks: workers only.
 *
 * No shell, and nothing of the repository's that names a program is run: no hook, pager, external diff or fsmonitor, no filter that its own
 * configuration has (FILTERS); nothing is fetched. Nothing is written to the repository: index and objects that are made go to scratch.
 */
#ifndef BANGER_REPO_GIT_H
#define BANGER_REPO_GIT_H

#include <stddef.h>

#include "banger/err.h"

struct git {
	int dir_fd;          /* the checkout; borrowed */
	int cancel_fd;       /* readable: -EINTR; negative: none */
	const char *home;    /* of the user, whose configuration counts */
	const char *ceiling; /* the folder above the checkout: git looks no further up */
	const char *index;   /* absolute; NULL: the repository's */
	const char *objects; /* absolute; where objects go that are made; NULL: none are */
	const char *shared;  /* absolute; the repository's own objects, with OBJECTS */
	const char *filters; /* what git_filters() found, FILTERS_N bytes; borrowed */
	size_t filters_n;
};

#define GIT_ARGS_MAX 256

/*
 * `git ARGS...` (NULL-terminated) with INPUT. *RET (may be NULL) is what it wrote, with a NUL, the caller's; *RET_EXIT (may be NULL): then an exit code that isn't 0
 * is no failure. -ENOENT: there is no git here, and E says what to install.
 */
int git_run(const struct git *g, const char *const *args, const void *input, size_t n, char **ret,
	size_t *ret_n, int *ret_exit, struct err *e);

/*
 * The filters whose programs are named by the repository's own configuration, not the user's: their keys ("filter.NAME"), each with its NUL, some
 * more than once. The caller's. -E2BIG: more than any repository has.
 */
int git_filters(const struct git *g, char **ret, size_t *ret_n, struct err *e);

/* The first line of what it writes, or "" when it ends with another code than 0. The caller's. */
int git_line(const struct git *g, const char *const *args, char **ret, struct err *e);

#endif
