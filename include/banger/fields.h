/*
 * A small file of banger's own that holds paths and other people's words: fields, each ended by a NUL, "KEY VALUE". Any thread.
 */
#ifndef BANGER_FIELDS_H
#define BANGER_FIELDS_H

#include <stdint.h>

struct fields {
	const char *at, *end; /* what is left */
};

/* The next field; NULL: there is no whole one any more. */
const char *fields_next(struct fields *f);
/* The value of the next field; NULL: it isn't KEY's. */
const char *fields_value(struct fields *f, const char *key);
/* Likewise as a number up to MAX. -EUCLEAN: it is none. */
int fields_number(struct fields *f, const char *key, uint64_t max, uint64_t *ret);

#endif
