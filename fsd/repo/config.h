/*
 * The configuration of the repository that a guest gets.
 */
#ifndef BANGER_REPO_CONFIG_H
#define BANGER_REPO_CONFIG_H

#include "repo/checkout_scan.h"

/*
 * Of the checkout's configuration, by git's own rules of what counts there (includes too), what says how its files are meant and who works on them, and where
 * it comes from; nothing that names a program, no password, and nothing that the repository has from files outside (scan_is_inside()). *RET is a
 * file for git, the caller's.
 */
int config_for_guest(const struct scan *s, char **ret, size_t *ret_n, struct err *e);

/* The path that KEY has last: the user's, or one that the repository has inside; "": none. The caller's. */
int config_path(const struct scan *s, const char *key, char **ret, struct err *e);

#endif
