/*
 * Where an instance keeps its things. Helper, daemon and command all ask here, so none of them is ever told a path.
 *
 *                        default instance             instance "t1"
 *   PLACE_RUN            /run/banger                  /run/banger-t1        root 0755, made by the helper
 *   PLACE_MOUNT          /run/banger/fs               ...                   the tree
 *   PLACE_HELPER_SOCKET  /run/banger/helper.sock      ...                   SOCK_SEQPACKET, 0600, the owner's
 *   PLACE_HELPER_DIR     /run/banger/helper           ...                   root 0700: the helper's journal
 *   PLACE_FSD_DIR        /run/banger/fsd              ...                   owner 0700: VM sockets, saved INIT
 *   PLACE_JAILS          /run/banger/jails            ...                   root 0700, the owner may pass: a folder a jailed VMM
 *   PLACE_STATE          /var/lib/banger              /var/lib/banger-t1    owner 0700: database, disks, images
 *
 * BANGER_RUN_BASE and BANGER_STATE_BASE in the environment move /run and /var/lib, for tests; the helper honours
 * them only from its own environment, which root gives it.
 */
#ifndef BANGER_PLACE_H
#define BANGER_PLACE_H

#include "banger/err.h"

enum place {
	PLACE_RUN,
	PLACE_MOUNT,
	PLACE_HELPER_SOCKET,
	PLACE_HELPER_DIR,
	PLACE_FSD_DIR,
	PLACE_JAILS,
	PLACE_STATE,
};

/* The instance to use when none was named: BANGER_INSTANCE from the environment, or "" for the default one. */
const char *place_instance_default(void);

/*
 * The absolute path of WHICH for INSTANCE ("" or NULL: the default instance). *RET is the caller's to free.
 * -EINVAL a name that is none, -ENOMEM. Any thread.
 */
int place_path(const char *instance, enum place which, char **ret, struct err *e);

/* The name of INSTANCE's bridge: "bg0", "bgNAME". */
#define PLACE_BRIDGE_MAX 16
void place_bridge(const char *instance, char ret[PLACE_BRIDGE_MAX]);

#endif
