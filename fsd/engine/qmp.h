/*
 * QMP, QEMU's monitor protocol (docs/interop/qmp-spec): one command on a connection of its own. What the VMM says is bounded and checked.
 */
#ifndef BANGER_QMP_H
#define BANGER_QMP_H

#include <json-c/json.h>

#include "banger/cleanup.h"
#include "banger/err.h"
#include "job/op.h"

#define QMP_MSEC 5000 /* for a command */

/*
 * Connects to ENGINE_QMP_SOCKET below VM_DIR_FD, says COMMAND (no arguments) and waits for its answer at most 5 s. *RET (may be NULL) is what
 * it returned, the caller's (json_object_put()). -EIO with QEMU's own text when it refused; -ETIMEDOUT, -ECONNREFUSED, -EPROTO, -EINTR.
 */
int qmp_command(int vm_dir_fd, const char *command, struct op *op, json_object **ret, struct err *e);

/* Several on one connection. Until TIMEOUT_MSEC from the opening all must have been answered; errors are qmp_command()'s. One thread's. */
struct qmp;
int qmp_open(int vm_dir_fd, unsigned timeout_msec, struct op *op, struct qmp **ret, struct err *e);
struct qmp *qmp_close(struct qmp *q);
DEFINE_CLEANUP(struct qmp *, qmp_close)
/* ARGUMENTS: JSON, trusted, or NULL. */
int qmp_call(struct qmp *q, const char *command, const char *arguments, json_object **ret, struct err *e);

#endif
