/*
 * The mount: a libfuse session on the loop, fed by /dev/fuse from the helper, answering from the tree.
 *
 * Order at start: server_new(), then vms_new() with server_vm_watch and the server as its user, then server_start(). At the
 * end: server_stop(), jobs_free() (what is done by then is still answered), server_detach(), vms_free(), objects_free(),
 * server_free(). The mount stays when the server goes (the helper holds it): requests wait for the next daemon. Loop thread only.
 */
#ifndef BANGER_FUSE_SERVER_H
#define BANGER_FUSE_SERVER_H

#include <systemd/sd-event.h>

#include "banger/err.h"
#include "tree/tree.h"
#include "vm/vm.h"

struct server;

/* Everything but TREE's own functions is borrowed and outlives the server. */
struct server_config {
	sd_event *event;
	struct helper *helper; /* NULL: server_start_fd() is used */
	struct jobs *jobs;
	int run_fd; /* PLACE_FSD_DIR: the kernel's INIT request is kept in "fuse.init" there */
	struct tree_config tree;
};

int server_new(const struct server_config *config, struct server **ret, struct err *e);
/* Calls of vm_watch with a struct server as their user. */
extern const struct vm_watch server_vm_watch;

/* Gets the mount from the helper, new or adopted, and serves it. Blocking for as long as the helper takes. */
int server_start(struct server *s, struct vms *vms, struct err *e);
/* Likewise with a descriptor of /dev/fuse that is mounted already; owned from here. */
int server_start_fd(struct server *s, struct vms *vms, int fd, bool adopted, struct err *e);
/* The descriptor of /dev/fuse (borrowed), for helper_keep_mount() to a new helper; -1 before the start. */
int server_fd(const struct server *s);
/* One line for the root's log. */
void server_log(struct server *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Takes no more requests; those that wait for something to happen are left to the next daemon. */
void server_stop(struct server *s);
/* The model is about to go; nothing is answered from here on. */
void server_detach(struct server *s);
/* NULL is allowed in all three. */
struct server *server_free(struct server *s);

#endif
