/*
 * Elements of nf_tables' sets, put in and taken out by one message to the kernel and its answer: libnftables lists all tables anew before each command, which
 * takes ten times as long, and more the more rules others have.
 *
 * The kernel numbers what its tables are, in a network namespace, from change to change, whoever makes it: generations. A change can be made to hold only
 * for a generation. Who knows how the tables were at one, and that there was no other since, needn't look at them.
 */
#ifndef BANGER_ELEMENTS_H
#define BANGER_ELEMENTS_H

#include <stddef.h>
#include <stdint.h>

#include "banger/cleanup.h"
#include "banger/err.h"

struct elements;

/* In the network namespace of the caller. */
int elements_new(struct elements **ret, struct err *e);
struct elements *elements_free(struct elements *el);
DEFINE_CLEANUP(struct elements *, elements_free)

/* Never 0. */
int elements_generation(struct elements *el, uint32_t *ret, struct err *e);
/* The one after GENERATION, as the kernel counts. */
uint32_t elements_next(uint32_t generation);

enum elements_what {
	ELEMENTS_NEW, /* put in; -EEXIST: one of them is there already. Makes exactly one generation */
	ELEMENTS_IN,  /* put in where they aren't there */
	ELEMENTS_OUT, /* taken out where they are there */
};

/* Keys of one set, as they are in the packet, each part of a concatenation padded with zeros to four bytes. */
struct elements_set {
	int family; /* NFPROTO_* */
	const char *name;
	const void *keys;
	size_t size, n; /* of a key, at most ELEMENTS_KEY_MAX; how many */
};

#define ELEMENTS_KEY_MAX  64
#define ELEMENTS_SETS_MAX 4
#define ELEMENTS_KEYS_MAX 4 /* a set */

/*
 * All of it or nothing. GENERATION, unless 0, is the one that it is for. -ESTALE: there is another by now; -ENOENT: the table or one of the sets isn't there.
 */
int elements_change(struct elements *el, const char *table, const struct elements_set *sets, size_t n,
	enum elements_what what, uint32_t generation, struct err *e);

#endif
