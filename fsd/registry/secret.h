/*
 * Texts and documents that hold secrets: wiped before their memory goes back. What libraries copy on their way (json-c's tokener) is
 * theirs. Any thread.
 */
#ifndef BANGER_REGISTRY_SECRET_H
#define BANGER_REGISTRY_SECRET_H

#include <stddef.h>

#include <json-c/json.h>

#include "banger/cleanup.h"
#include "banger/err.h"

/* Wipes and frees. NULL is allowed. */
char *secret_free(char *s);
DEFINE_CLEANUP(char *, secret_free)
#define _cleanup_secret_ _cleanup_(secret_freep)

/*
 * The whole of a regular file, NUL-terminated. -ENOENT (a folder on the way that is none included), -EACCES, -EFBIG above MAX bytes, -EBADMSG
 * no regular file; E names PATH.
 */
int secret_read_file(int dirfd, const char *path, size_t max, char **ret, size_t *ret_n, struct err *e);

/* N bytes, a NUL after them, of JSON as json-c's strict mode takes it: an object, at most 16 levels deep. -EBADMSG with what is wrong and where. */
int secret_json_parse(const char *text, size_t n, json_object **ret, struct err *e);
/* O is nobody else's: its strings are overwritten. NULL is allowed. */
json_object *secret_json_free(json_object *o);
DEFINE_CLEANUP(json_object *, secret_json_free)
/* Member KEY of O, a string; NULL: there is none, or it is something else. It is O's, and ends at its first NUL if N is NULL. */
const char *secret_json_string(json_object *o, const char *key, size_t *ret_n);

/* RFC 4648 4, with its padding and nothing else; a NUL after the N bytes. *RET is NUL-terminated. -EBADMSG. */
int secret_base64_decode(const char *text, size_t n, char **ret, size_t *ret_n);
int secret_base64_encode(const char *data, size_t n, char **ret);

#endif
