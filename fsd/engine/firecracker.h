/*
 * The engine over Firecracker's API (fc_api.h), for a VMM whose ENGINE_API_SOCKET is in the VM's runtime directory.
 */
#ifndef BANGER_FIRECRACKER_H
#define BANGER_FIRECRACKER_H

#include "engine/engine.h"

extern const struct engine engine_firecracker;

#endif
