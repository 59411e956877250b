/*
 * What is inside a packed file: one thread reads and hashes it, another unpacks it (inflating costs most of the time of an
 * import), the caller takes what comes out. gzip, bzip2, xz, lzma, zstd, lz4, compress, or nothing; never another program.
 */
#ifndef BANGER_IMAGE_STREAM_H
#define BANGER_IMAGE_STREAM_H

#include <stdint.h>
#include <sys/types.h>

#include "banger/cleanup.h"
#include "banger/err.h"
#include "job/op.h"

struct stream;

enum stream_hash {
	STREAM_HASH_PACKED, /* of FD's bytes */
	STREAM_HASH_BOTH,   /* and of what they unpack to */
};

/* FD: borrowed until stream_free(). OP: progress in bytes of FD, cancellation. */
int stream_open(int fd, struct op *op, enum stream_hash hash, struct stream **ret, struct err *e);
/* Ends both threads, wherever they are. */
struct stream *stream_free(struct stream *s);
DEFINE_CLEANUP(struct stream *, stream_free)

/*
 * The next bytes, good until the next call; their number. 0: the end, and then the whole of FD was read, what follows the
 * archive too, and its checksums hold. -EBADMSG cut off, damaged, a bomb; -EINTR cancelled; reading's own errors.
 */
ssize_t stream_next(struct stream *s, const void **ret, struct err *e);

/* sha256 of all of FD; after the end. */
void stream_digest(const struct stream *s, unsigned char ret[32]);
/* sha256 of all that stream_next() gave; after the end, with STREAM_HASH_BOTH. */
void stream_plain_digest(const struct stream *s, unsigned char ret[32]);

#endif
