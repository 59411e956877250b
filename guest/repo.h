/*
 * What the guest has made of a checkout that was brought: banger-guest workspace patch|status|bundle FOLDER (PREFIX COMMIT)...
 *
 * By the guest's own git, or the one that was brought to GUEST_GIT (banger/guest_config.h), with a folder of its own (.git/banger) for index and objects:
 * those of the repository are not touched.
 */
#ifndef BANGER_GUEST_REPO_H
#define BANGER_GUEST_REPO_H

/*
 * ARGV: patch, status or bundle; the workspace; and for each repository in it its prefix ("" or "PATH/") and the commit that it was brought as (bundle: the commit
 * that HEAD was at). Writes to standard output, errors to standard error. An exit code, REPO_* of banger/guest_config.h among them.
 */
int repo_run(int argc, char **argv);

/* As GUEST_GIT/bin/git: runs the git that was brought, by the loader and with the libraries that came along. Comes back only with an exit code. */
int repo_git(char **argv);

#endif
