/*
 * JSON from strangers, for the documents of an image: parsed within bounds, read field by field.
 *
 * AT is what a field's name is put behind in messages: "" or "layers[3]."; a field that is absent and one that is null are the same. Unknown
 * fields are nobody's business, of two with one name the last one counts. All errors are -EBADMSG unless said, and name the field. No text
 * of the document is in a message but by document_line(), which lets no control character pass.
 *
 * Pure functions, any thread.
 */
#ifndef BANGER_REGISTRY_DOCUMENT_H
#define BANGER_REGISTRY_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

#include "banger/cleanup.h"
#include "banger/err.h"

#define DOCUMENT_DEPTH_MAX 32
/*
 * Opening brackets and commas outside of strings: no document has more values. json-c takes up to 900 bytes for three ("{},"), so the length alone
 * is no bound on memory; with this one it is 60 MiB. An index of 1000 entries with ten annotations each has 20,000.
 */
#define DOCUMENT_VALUES_MAX 100000

static inline void document_putp(json_object **o)
{
	json_object_put(*o);
}

/* N bytes, MAX at most (-EFBIG, also for too many values), that are one JSON object in UTF-8; without NULs, escaped ones included. */
int document_parse(const char *text, size_t n, size_t max, json_object **ret, struct err *e);

/* *RET is borrowed from O; NULL where it is absent. */
int document_object(json_object *o, const char *at, const char *name, json_object **ret, struct err *e);
/* MAX: items at most, -EFBIG. */
int document_list(
	json_object *o, const char *at, const char *name, size_t max, json_object **ret, struct err *e);

/* *RET is the caller's; NULL where it is absent. */
int document_string(json_object *o, const char *at, const char *name, char **ret, struct err *e);
/* As document_string(), without control characters: what may be shown as a line. */
int document_line(json_object *o, const char *at, const char *name, char **ret, struct err *e);
/* Likewise, and it must be there and not be empty. */
int document_need_line(json_object *o, const char *at, const char *name, char **ret, struct err *e);

/* A whole number from 0 to 2^63-1 that must be there. */
int document_size(json_object *o, const char *at, const char *name, uint64_t *ret, struct err *e);

/* A list of strings; LINE: without control characters. *RET is NULL-terminated, the caller's, empty where the list is absent; by strings_free(). */
int document_strings(json_object *o, const char *at, const char *name, size_t max, bool line, char ***ret,
	size_t *ret_n, struct err *e);

/* No control character (C0, DEL, C1 in UTF-8). */
bool text_is_line(const char *s);

char **strings_free(char **list);
DEFINE_CLEANUP(char **, strings_free)

#endif
