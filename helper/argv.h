/*
 * The VMM's command line (design: facts on VMMs, 4.2).
 */
#ifndef BANGER_ARGV_H
#define BANGER_ARGV_H

#include <sys/types.h>

#include "banger/err.h"
#include "banger/helper_proto.h"

#define ARGV_MAX 112

struct argv {
	char *args[ARGV_MAX + 1];
	int n;
	int failed; /* no memory, or too many */
};

/*
 * For the VM of REQUEST, a checked LAUNCH; descriptors by the numbers of launch_fds.h. CID: of its vsock; 0: it has a port instead. argv_clear() it also
 * after a failure.
 */
int argv_qemu(const struct helper_request *request, uint32_t cid, struct argv *ret, struct err *e);
/* Likewise of Firecracker's jailer, for the jail of stage.h below the folder HELPER_DIR; and of the Firecracker that it becomes. */
int argv_jailer(const struct helper_request *request, uid_t user, const char *helper_dir, struct argv *ret,
	struct err *e);
void argv_clear(struct argv *a);

#endif
