/*
 * The engines that there are, for engine_find().
 */
#ifndef BANGER_ENGINES_H
#define BANGER_ENGINES_H

#include "engine/engine.h"

extern const struct engine engine_qemu, engine_firecracker;

#endif
