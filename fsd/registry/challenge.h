/*
 * WWW-Authenticate (RFC 9110 11.6.1): several challenges in one or several header lines, each with a token68 or parameters.
 * Pure functions, any thread.
 */
#ifndef BANGER_REGISTRY_CHALLENGE_H
#define BANGER_REGISTRY_CHALLENGE_H

#include <stddef.h>

#include "banger/cleanup.h"
#include "banger/err.h"

enum challenge_scheme {
	CHALLENGE_BASIC,
	CHALLENGE_BEARER,
};

struct challenge {
	enum challenge_scheme scheme;
	char *realm, *service, *scope, *error; /* NULL: not given */
};

struct challenges {
	struct challenge *list; /* those whose scheme is known, in the order in which they came */
	size_t count;
};

/*
 * Adds what is in VALUE, one header line's value (N bytes), to LIST. Schemes that nobody here knows (Negotiate) are passed over. -EBADMSG:
 * the grammar is broken, LIST is as it was; -EFBIG: more than 16, or 8 KiB.
 */
int challenges_add(struct challenges *list, const char *value, size_t n, struct err *e);
void challenges_clear(struct challenges *list);

#endif
