/*
 * The host's git for a guest whose image has none: the program, its loader and its libraries, as they are here. Blocks: workers only.
 */
#ifndef BANGER_REPO_GIT_PROGRAM_H
#define BANGER_REPO_GIT_PROGRAM_H

#include "banger/err.h"

/*
 * Over SOCK to `banger-guest workspace receive GUEST_GIT`. GUEST_FD: banger-guest itself, which starts it there. -ENOENT: the host has no git
 * either, and E says what to install.
 */
int git_program_bring(int sock, int guest_fd, struct err *e);

#endif
