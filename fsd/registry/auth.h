/* The Authorization of requests: what was granted is remembered while it lasts. Any thread. */
#ifndef BANGER_REGISTRY_AUTH_H
#define BANGER_REGISTRY_AUTH_H

#include "registry/session.h"

/* What S was granted before at its endpoint: the header's value, the caller's; NULL: nothing. */
char *auth_known(const struct session *s);

/*
 * A registry refused USED (NULL: nobody in particular) with CHALLENGES: gets what it wants, for *RET, the caller's. What another thread got
 * meanwhile is taken. -EACCES: there is nobody to be, or the registry doesn't know him; E says to log in. -EPERM a realm that may not be asked.
 */
int auth_renew(struct session *s, struct http *h, const struct challenges *challenges, const char *used,
	char **ret, struct err *e);

#endif
