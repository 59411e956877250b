/* Bearer tokens (distribution: docs "Token Authentication Specification", "Oauth2 Token Authentication"). */
#ifndef BANGER_REGISTRY_TOKEN_H
#define BANGER_REGISTRY_TOKEN_H

#include "registry/session.h"

/* The Authorization of who has a user's name: "Basic ..." (RFC 7617). The caller's. -ENOMEM. */
int token_basic(const struct credentials *who, char **ret, struct err *e);

/* Asks CHALLENGE's realm, as WHO (NULL: nobody). *RET_SECONDS: how long it lasts. -EACCES, -EPERM, -EBADMSG, the network's. */
int token_get(struct session *s, struct http *h, const struct challenge *challenge,
	const struct credentials *who, char **ret_token, uint64_t *ret_seconds, struct err *e);

#endif
