/*
 * References to images as people write them: [REGISTRY/]PATH[:TAG][@DIGEST], by the grammar of distribution/reference
 * and with docker's defaults (docker.io, library/, latest). What is parsed here is safe in a URL and in a file name: no part
 * holds anything that its grammar doesn't allow. Where a tag and a digest are given the digest wins and the tag is dropped.
 *
 * Pure functions, any thread.
 */
#ifndef BANGER_REGISTRY_REFERENCE_H
#define BANGER_REGISTRY_REFERENCE_H

#include "banger/cleanup.h"
#include "banger/err.h"

enum {
	REFERENCE_PATH_MAX = 255,
	REFERENCE_TAG_MAX = 128,
	REFERENCE_HOST_MAX = 261, /* a name of 253, ':', a port, with room for brackets */
};

/* Every string is owned. Exactly one of tag and digest is set. */
struct reference {
	char *host;   /* "docker.io", "localhost:5000", "[::1]:5000" */
	char *path;   /* "library/alpine" */
	char *tag;    /* "3.20" */
	char *digest; /* "sha256:" and 64 lower-case hexadecimal digits, or "sha512:" and 128 */
};

/* Parses TEXT. -EINVAL with what is wrong and where. *ret_ref is freed with reference_free(). */
int reference_parse(const char *text, struct reference **ret_ref, struct err *e);

/* NULL is allowed. */
void reference_free(struct reference *r);
DEFINE_CLEANUP(struct reference *, reference_free)

/* The full text, HOST/PATH:TAG or HOST/PATH@DIGEST; parsing it gives the same reference. Owned by the caller; -ENOMEM. */
int reference_text(const struct reference *r, char **ret_text, struct err *e);

/*
 * A name for an image that is given none: the path's last component, with '-' for whatever isn't a lower-case letter or a
 * digit, no two '-' in a row, at most 32 characters. Owned by the caller; -ENOMEM.
 */
int reference_name(const struct reference *r, char **ret_name, struct err *e);

#endif
