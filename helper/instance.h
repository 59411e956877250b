/*
 * The instance that this helper serves: who owns it, what its things are called. Made once at start, constant afterwards.
 */
#ifndef BANGER_INSTANCE_H
#define BANGER_INSTANCE_H

#include <net/if.h>
#include <sys/types.h>

#include "banger/err.h"
#include "banger/helper_proto.h"
#include "service.h"

/*
 * VMMs run as users of their own, without entries anywhere: a million an instance (by its piece of the pool of subnets, 0 to 63), in
 * it the VM's number. The range lies above every range that distributions and systemd give out (systemd's docs/UIDS-GIDS.md: "unused" from
 * 1879048192 on), and below 2^31.
 */
#define INSTANCE_UID_BASE 1879113728u
#define INSTANCE_UIDS     (HELPER_VM_MAX + 1)

/* A bridge takes 1023 ports (net/bridge/br_private.h: BR_MAX_PORTS 1 << 10, less one). */
#define INSTANCE_VMS_MAX 1023

/* A folder in PLACE_HELPER_DIR. */
#define INSTANCE_JAIL_BASE "jail"

struct instance {
	char *name; /* "" : the default one */
	uid_t owner;
	gid_t group;
	char *run, *mount, *socket, *helper_dir, *fsd_dir, *jails; /* paths, of place.h */
	int run_fd, helper_fd;
	int jails_fd;          /* -1: the owner can't be let through to jails here, so there are none */
	char bridge[IFNAMSIZ]; /* "bg0", "bgNAME" */
	char *table;           /* nft: "banger", "banger_NAME" */
	/* Borrowed: */
	struct service *service; /* NULL: started by hand */
	struct mounter *mounter;
	struct scopes *scopes;
};

/* Only the names: bridge and table. Nothing is made or taken; instance_close() frees. */
int instance_names(const char *name, struct instance *ret, struct err *e);

/* Makes the folders, takes the lock (-EALREADY: another helper has it, and keeps it for 5 s). INST is instance_close()d also after a failure. */
int instance_open(const char *name, uid_t owner, struct instance *ret, struct err *e);
void instance_close(struct instance *inst);

/* Removes what instance_open() made, as far as it is empty. */
void instance_remove(struct instance *inst);

/* Of VM, in the instance whose subnet is PIECE (bridge_piece()). */
uid_t instance_vm_uid(unsigned piece, uint32_t vm);
/* "bg0-17"; IFNAMSIZ bytes. */
void instance_tap_name(const struct instance *inst, uint32_t vm, char ret[IFNAMSIZ]);

#endif
