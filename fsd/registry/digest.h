/*
 * Digests as OCI writes them (image-spec descriptor.md, "Digests"): "sha256:" and 64 lower-case hexadecimal digits, or "sha512:" and 128. A
 * text that passed digest_check() is safe in a URL and as a file name.
 *
 * Any thread; a struct hash is one thread's at a time.
 */
#ifndef BANGER_REGISTRY_DIGEST_H
#define BANGER_REGISTRY_DIGEST_H

#include <stddef.h>

#include "banger/cleanup.h"
#include "banger/err.h"

#define DIGEST_TEXT_MAX (sizeof("sha512:") + 128) /* with the NUL */

/* -EINVAL: no digest, or of an algorithm that is not one of the two; E names it. */
int digest_check(const char *text, struct err *e);

struct hash;

/* Of the algorithm that DIGEST, which passed digest_check(), has. -ENOMEM. */
int hash_new(const char *digest, struct hash **ret, struct err *e);
struct hash *hash_free(struct hash *h);
DEFINE_CLEANUP(struct hash *, hash_free)
void hash_update(struct hash *h, const void *data, size_t n);
/* The digest of all so far; the hash goes on. "", which is no digest, where there was no memory. */
void hash_text(const struct hash *h, char ret[DIGEST_TEXT_MAX]);

/* sha256 of N bytes; "" where there was no memory. */
void digest_of(const void *data, size_t n, char ret[DIGEST_TEXT_MAX]);
/* N bytes have DIGEST (checked). -EBADMSG with both. WHAT: "the manifest". */
int digest_verify(const char *digest, const void *data, size_t n, const char *what, struct err *e);

#endif
