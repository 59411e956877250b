/*
 * Files, as the host asks for them (AGENT_FS_*): by number, never by a path.
 */
#ifndef BANGER_GUEST_FILES_H
#define BANGER_GUEST_FILES_H

#include "channel.h"

/* ROOT: a folder of the ext4 whose files are served; "workspace" is made in it. TREE: the root of all else. */
int files_init(const char *root, const char *tree);

/* Does one request and answers it. */
void files_request(struct channel *c, const struct agent_header *h, const uint8_t *payload);

/* Another host: nothing is watched any more. */
void files_new_host(void);

/* The folder itself, for statistics. */
int files_root_fd(void);

#endif
