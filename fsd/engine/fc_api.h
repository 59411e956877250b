/*
 * Firecracker's API (src/firecracker/swagger/firecracker.yaml in its sources): HTTP by libcurl over the socket ENGINE_API_SOCKET of a VM's
 * runtime directory. Who answers there is a stranger: its answers are bounded in time, size and depth, and of its words only printable
 * ASCII is passed on.
 *
 * A struct fc_api is one thread's and keeps its connection between calls. Everything blocks.
 */
#ifndef BANGER_FC_API_H
#define BANGER_FC_API_H

#include <stdbool.h>

#include <json-c/json.h>

#include "banger/cleanup.h"
#include "banger/err.h"
#include "banger/fc_version.h"
#include "job/op.h"

/* For most calls; Firecracker answers within milliseconds but for a start, which reads kernel and initramfs into memory. */
#define FC_MSEC       5000u
#define FC_START_MSEC 30000u

struct fc_api;

/* Connects to nothing yet. VM_DIR_FD and OP (NULL: nothing cancels) are borrowed until fc_api_free(). */
int fc_api_new(int vm_dir_fd, struct op *op, struct fc_api **ret, struct err *e);
struct fc_api *fc_api_free(struct fc_api *a);
DEFINE_CLEANUP(struct fc_api *, fc_api_free)

/*
 * Waits until somebody listens. PIDFD: the VMM; -ESRCH when it ends first. -ETIMEDOUT after TIMEOUT_MSEC, -EINTR cancelled.
 */
int fc_api_wait(struct fc_api *a, int pidfd, unsigned timeout_msec, struct err *e);

/*
 * One call: METHOD "GET", "PUT" or "PATCH" of PATH ("/machine-config") with BODY (borrowed; NULL: none). *RET (may be NULL) is the object of the answer, the
 * caller's, and NULL where the answer has none. -EIO with Firecracker's own words when it refused; -ETIMEDOUT after TIMEOUT_MSEC, -EINTR
 * cancelled, -ECONNREFUSED, -ENOENT nobody there, -EPIPE the connection broke (it may have ended), -EPROTO what it says is no answer, -EFBIG it says
 * too much.
 */
int fc_api_call(struct fc_api *a, const char *method, const char *path, json_object *body,
	unsigned timeout_msec, json_object **ret, struct err *e);

/* Asks for its version. *RET_NOTE and errors: fc_version_note(). */
int fc_version_get(struct fc_api *a, struct fc_version *ret, char **ret_note, struct err *e);

#endif
