/* A stream's inside: for stream.c (what is read, and who takes what comes out) and stream_unpack.c (what happens between). */
#ifndef BANGER_IMAGE_STREAM_STATE_H
#define BANGER_IMAGE_STREAM_STATE_H

#include <openssl/evp.h>
#include <pthread.h>

#include "image/queue.h"
#include "image/stream.h"

#define MAGIC_MAX 4 /* bytes of the longest of those that are looked for in stream_unpack.c */

struct stream {
	struct stream_input in;
	int wake; /* while the file grows: ends the reader's wait for more of it; otherwise negative */
	struct op *op;
	uint64_t size; /* of a regular file, or what was promised */
	/* The reader's, while the file grows. */
	uint64_t at, announced;
	bool heard, whole;
	_Atomic uint64_t read;
	EVP_MD_CTX *hash, *plain_hash; /* NULL: nobody asked for that */
	unsigned char sum[EVP_MAX_MD_SIZE], plain_sum[EVP_MAX_MD_SIZE];
	struct queue *packed, *plain;
	pthread_t reader, unpacker;
	bool reading, unpacking; /* these threads were started */
	bool plain_done;
	/* Each thread's own; looked at when its queue has ended. */
	struct err read_err, unpack_err;
};

/* The reader ends soon, wherever it is. */
void stream_leave_packed(struct stream *s);
/* ARG: the stream. */
void *stream_unpack_thread(void *arg);

#endif
