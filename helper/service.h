/*
 * The helper as a service of systemd: the socket it is activated by, the descriptors kept for it over restarts, and what it tells the manager
 * (sd_listen_fds(3), sd_notify(3), systemd's FILE_DESCRIPTOR_STORE.md). libsystemd is not linked: what is needed of it is one datagram and two
 * variables, and it would bring half a dozen libraries into the one program that is root.
 *
 * Started by hand there is no manager: a NULL service is fine everywhere, and does nothing. One thread.
 */
#ifndef BANGER_SERVICE_H
#define BANGER_SERVICE_H

#include <stdint.h>

#include "banger/err.h"

struct service;

/*
 * Takes what the manager passed in environment and descriptors. Before the environment is cleared and before anything is opened. *RET is NULL
 * where there is no manager. -EBADMSG: what was passed isn't what banger's units pass.
 */
int service_new(struct service **ret, struct err *e);
struct service *service_free(struct service *s);

/* The socket passed, the caller's from here; -1: none (any more). */
int service_take_socket(struct service *s);
/* The /dev/fuse that was kept for the mount of device number DEV, the caller's from here; -1: none. Whatever else was kept is let go. */
int service_take_fuse(struct service *s, uint64_t dev);

/*
 * The host's mount namespace, the caller's from here; -1: the helper is in it itself. It comes from service_keep_namespace(), called before the helper is
 * started by a process that has all of root's rights.
 */
int service_take_namespace(struct service *s);
int service_keep_namespace(struct service *s, struct err *e);

/* To be called once requests can be served. */
void service_ready(struct service *s);
/* The manager keeps a duplicate of FD, the /dev/fuse of the mount of device number DEV, until service_drop_fuse(). */
void service_keep_fuse(struct service *s, int fd, uint64_t dev);
void service_drop_fuse(struct service *s, uint64_t dev);

#endif
