/*
 * What a VM's workspace was prepared with: a checkout brought in, and told of. Loop thread.
 *
 * What is known of it (source, commit, state of each file) lies in vms/ID/prepared, on the host, where no guest can change it.
 */
#ifndef BANGER_VM_WORKSPACE_H
#define BANGER_VM_WORKSPACE_H

#include "vm/vm.h"

struct workspace_waiter;

/*
 * Brings the checkout, or folder, at PATH into the workspace of the running VM: all of it the first time, later what differs. REF: a commit, branch or tag of it instead of the
 * files as they stand, or "". DONE once: -EEXIST: the guest's work would be lost, and nothing was changed; FORCE: then it is. At once: -EINVAL no absolute
 * path, no ref; -EBUSY the VM does not run, or its workspace is being prepared already. *RET names the caller until DONE.
 */
int workspace_prepare(struct vm *vm, const char *path, const char *ref, bool force, vm_done_fn done,
	void *user, struct workspace_waiter **ret, struct err *e);
/* Cancels it. DONE comes, with -EINTR, when all is at rest; what was brought by then stays. */
void workspace_unwait(struct workspace_waiter *w);

/*
 * Flat keyed text: source, head, host_head, stale, dirty, files, bytes, prepared, ref; "" when nothing was prepared. DONE once, perhaps before the return; TEXT is the callee's to free.
 */
typedef void (*workspace_text_fn)(void *user, int code, char *text, size_t n);
int workspace_info(struct vm *vm, workspace_text_fn done, void *user, struct err *e);

/*
 * What the guest has made of it, made there by git (one is brought where the image has none): a patch of all files that differ from what was
 * brought, a list of them, or a bundle of its own commits. DONE once: FD, the callee's, is a file that holds all of it; -EBUSY the VM does not run; -ENODATA nothing was prepared, or the bundle would
 * be empty; -EOPNOTSUPP what was prepared is no git checkout; -EFBIG it is more than WORKSPACE_MADE_MAX.
 */
enum workspace_made {
	WORKSPACE_PATCH,
	WORKSPACE_STATUS,
	WORKSPACE_BUNDLE,
};
#define WORKSPACE_MADE_MAX (1ull << 30)
struct workspace_maker;
typedef void (*workspace_made_fn)(void *user, int code, int fd, const struct err *e);
int workspace_make(struct vm *vm, enum workspace_made what, workspace_made_fn done, void *user,
	struct workspace_maker **ret, struct err *e);
/* DONE comes with -EINTR, when all is at rest. */
void workspace_unmake(struct workspace_maker *m);

#endif
