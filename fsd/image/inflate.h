/*
 * gzip members and zstd frames, unpacked a piece at a time, their checksums verified. gzip by ISA-L (libisal.so.2) where the machine has it, which
 * takes half of zlib's time; by zlib elsewhere.
 */
#ifndef BANGER_IMAGE_INFLATE_H
#define BANGER_IMAGE_INFLATE_H

#include <stddef.h>
#include <stdint.h>

#include "banger/cleanup.h"
#include "banger/err.h"

enum inflate_by {
	INFLATE_FASTEST,
	INFLATE_ZLIB,
	INFLATE_ZSTD, /* frames of a window of at most 128 MiB, as zstd(1) takes them unasked */
};

struct inflate;

/* -ENOMEM. One thread at a time. */
int inflate_new(enum inflate_by by, struct inflate **ret, struct err *e);
struct inflate *inflate_free(struct inflate *f);
DEFINE_CLEANUP(struct inflate *, inflate_free)

/* Before the first step: somebody verifies what comes out by a better sum than gzip's own, which may then be passed over where that saves time. */
void inflate_unverified(struct inflate *f);

/*
 * Unpacks from *IN (*N_IN bytes) to *OUT (*N_OUT bytes), moves all four on. 1: a member ends before *IN, the next call begins another; 0: one of the
 * two has run out; -EBADMSG: damaged, or of a kind that can't be read; -EILSEQ: no member begins here; -ENOMEM.
 */
int inflate_step(
	struct inflate *f, const uint8_t **in, size_t *n_in, uint8_t **out, size_t *n_out, struct err *e);

#endif
