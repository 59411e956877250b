/*
 * os-release(5): which distribution this host is of.
 *
 * No library that banger links with reads it (libsystemd keeps its own to itself). The file is assignments that a shell could
 * read, so what is read here is that much of a shell's and no more: NAME=VALUE, comments, quotes, and backslashes.
 * No variable is expanded, as the manual page says there is none.
 */
#ifndef BANGER_OS_RELEASE_H
#define BANGER_OS_RELEASE_H

#include "banger/err.h"

/*
 * The value that TEXT gives KEY last. *RET is the caller's to free. -ENOENT: it has none; -EBADMSG: quotes that don't end, or words after
 * the value. Any thread.
 */
int os_release_find(const char *text, const char *key, char **ret);

/* The same of /etc/os-release, or, where that isn't there, of /usr/lib/os-release. -ENOENT, saying which key. */
int os_release_get(const char *key, char **ret, struct err *e);

#endif
