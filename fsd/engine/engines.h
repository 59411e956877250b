/*
 * The engines that there are, for engine_find(), and what they share.
 */
#ifndef BANGER_ENGINES_H
#define BANGER_ENGINES_H

#include "engine/engine.h"

extern const struct engine engine_qemu, engine_firecracker;

/* For struct engine's programs(): what the file of PROGRAM_FD is, behind BEFORE. *RET: the caller's. */
int engine_identify(int program_fd, const char *before, char **ret, struct err *e);

#endif
