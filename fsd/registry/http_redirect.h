/* Where a redirect, or a realm, may lead. Pure functions, any thread. */
#ifndef BANGER_REGISTRY_HTTP_REDIRECT_H
#define BANGER_REGISTRY_HTTP_REDIRECT_H

#include <stdbool.h>

#include "banger/err.h"
#include "registry/hosts.h"

/* Scheme, host and port of both are the same. */
bool url_same_origin(const char *a, const char *b);

/*
 * A server at FROM says to go to URL. -EPERM: it is no http or https; or http from https, and ENDPOINT is not insecure; or an address of an internal network (the
 * server would have banger ask where it can't reach itself) while FROM's host is none; or this host or a link-local address, while FROM is another.
 */
int url_may_follow(const struct endpoint *endpoint, const char *from, const char *url, struct err *e);

/* URL without what is secret in it (user, query): for messages. The caller's; NULL: no memory. */
char *url_shown(const char *url);

#endif
