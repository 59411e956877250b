/*
 * The kernel's modules: what one needs, and in which order a set is loaded.
 */
#ifndef BANGER_KERNEL_MODULE_H
#define BANGER_KERNEL_MODULE_H

#include <stddef.h>

#include "banger/err.h"

#define MODULE_VSOCK "vmw_vsock_virtio_transport"

struct modules; /* all of a kernel, by name, each with its file's contents while it is wanted */

int modules_new(struct modules **ret, struct err *e);
struct modules *modules_free(struct modules *m);

/* Adds a module's file (PATH ends in NAME.ko; DATA is taken, malloc()ed, uncompressed). */
int modules_add(struct modules *m, const char *path, void *data, size_t n, struct err *e);

/*
 * Those that guests need and this kernel has, with what they depend on, in the order of loading: FN for each. A required one that is not there
 * must be built in (BUILTIN: modules.builtin's text, or NULL): else -ENOENT.
 */
int modules_each_wanted(struct modules *m, const char *builtin,
	int (*fn)(void *user, const char *name, const void *data, size_t n, struct err *e), void *user,
	struct err *e);

/* The value of KEY in the .modinfo section of the ELF64 file DATA ("depends"), copied; "" when it isn't there. -EBADMSG: no such file. */
int module_info(const void *data, size_t n, const char *key, char **ret);

#endif
