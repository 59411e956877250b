/*
 * What is inside a packed file: one thread reads and hashes it, another unpacks it (inflating costs most of the time of an
 * import), the caller takes what comes out. gzip, bzip2, xz, lzma, zstd, lz4, compress, or nothing; never another program.
 */
#ifndef BANGER_IMAGE_STREAM_H
#define BANGER_IMAGE_STREAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "banger/cleanup.h"
#include "banger/err.h"
#include "job/op.h"

struct stream;

enum stream_hash {
	STREAM_HASH_NONE,
	STREAM_HASH_PACKED, /* of FD's bytes */
	STREAM_HASH_PLAIN,  /* of what they unpack to */
	STREAM_HASH_BOTH,
};

/* Streams that are read side by side: they tell of their progress as one. */
struct stream_group {
	_Atomic uint64_t read;
	uint64_t size; /* of all files; 0: not known */
};

/*
 * A packed file, from where FD stands. GROW: the pipe that tells how much of it there is while it is being written, as blob_follow() has it
 * (registry/blobs.h); no byte is read before it is announced there. Both are borrowed until stream_free().
 */
struct stream_input {
	int fd;
	int grow;      /* -1: it is whole */
	uint64_t size; /* bytes that must come; 0: not known */
	bool layer;    /* gzip, zstd or nothing, as layers are packed (OCI image-spec media-types.md) */
	bool window;   /* they are all that is wanted: what follows them in the file is another's */
	bool summed; /* whoever reads verifies a digest of what comes out: gzip's own checksums may be passed over */
	struct stream_group *group; /* borrowed as well; NULL: it is alone */
};
#define STREAM_WHOLE(file) (&(struct stream_input){.fd = (file), .grow = -1})

/* OP: progress in bytes of the file, cancellation. */
int stream_open(const struct stream_input *input, struct op *op, enum stream_hash hash, struct stream **ret,
	struct err *e);
/* Ends both threads, wherever they are. */
struct stream *stream_free(struct stream *s);
DEFINE_CLEANUP(struct stream *, stream_free)

/* It ends soon with an error, wherever it is; any thread. */
void stream_stop(struct stream *s);

/*
 * The next bytes, good until the next call; their number. 0: the end, and then the whole of FD was read, what follows the
 * archive too, and its checksums hold. -EBADMSG cut off, damaged, a bomb, not of its size; -EINTR cancelled; -EIO the one who wrote it gave up;
 * reading's own errors.
 */
ssize_t stream_next(struct stream *s, const void **ret, struct err *e);

/* sha256 of all of FD; after the end, with STREAM_HASH_PACKED or STREAM_HASH_BOTH. */
void stream_digest(const struct stream *s, unsigned char ret[32]);
/* sha256 of all that stream_next() gave; after the end, with STREAM_HASH_PLAIN or STREAM_HASH_BOTH. */
void stream_plain_digest(const struct stream *s, unsigned char ret[32]);

#endif
