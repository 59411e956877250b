/*
 * The instance's nftables table, by libnftables: a fixed skeleton and a set of the guests that may leave. Rules of others are not touched:
 * everything is in a table of our own, which goes as a whole.
 */
#ifndef BANGER_NAT_H
#define BANGER_NAT_H

#include "instance.h"

struct nat;

int nat_new(const struct instance *inst, struct nat **ret, struct err *e);
struct nat *nat_free(struct nat *n);

/* Makes the skeleton; what is there of it already is replaced, the set kept: idempotent. */
int nat_up(struct nat *n, struct err *e);
int nat_down(struct nat *n, struct err *e);

/* ADDRESS in host byte order. One that is in already, or isn't, is fine. */
int nat_set(struct nat *n, uint32_t address, int on, struct err *e);

#endif
