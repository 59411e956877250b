/* What the files that speak rtnetlink by libnl share. */
#ifndef BANGER_NETLINK_H
#define BANGER_NETLINK_H

#include <netlink/cache.h>
#include <netlink/route/link.h>

#include "banger/err.h"

/* "WHAT NAME: libnl's text for R"; returns the errno that R stands for, negative. */
int netlink_error(struct err *e, int r, const char *what, const char *name);

/* For _cleanup_(). */
static inline void link_put(struct rtnl_link **l)
{
	if (*l)
		rtnl_link_put(*l);
}

static inline void cache_put(struct nl_cache **c)
{
	if (*c)
		nl_cache_free(*c);
}

#endif
