/*
 * The configuration of the repository that a guest gets.
 */
#ifndef BANGER_REPO_CONFIG_H
#define BANGER_REPO_CONFIG_H

#include "repo/git.h"

/*
 * Of the checkout's configuration, by git's own rules of what counts there (includes too), what says how its files are meant and who works on them, and where
 * it comes from; nothing that names a program, and no password. *RET is a file for git, the caller's.
 */
int config_for_guest(const struct git *g, char **ret, size_t *ret_n, struct err *e);

#endif
