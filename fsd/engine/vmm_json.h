/*
 * What a VMM says in JSON, which is a stranger's word: bounded in depth, and nothing in it is of the kind that it should be until that was looked at. Pure; any
 * thread.
 */
#ifndef BANGER_VMM_JSON_H
#define BANGER_VMM_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include <json-c/json.h>

/* An object, the caller's (json_object_put()); NULL: TEXT begins with none. */
json_object *vmm_json_parse(const char *text);

/* O's member KEY where it is a text, borrowed from O; NULL: it isn't there, is something else, or O (may be NULL) is no object. */
const char *vmm_json_text(json_object *o, const char *key);

/* Likewise a number from 0 on; false also for the word for "never told" (virtio 1.2, 5.5.6.3: all ones; older QEMU: -1). */
bool vmm_json_number(json_object *o, const char *key, uint64_t *ret);

#endif
