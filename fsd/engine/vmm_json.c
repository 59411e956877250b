#include <string.h>

#include "engine/vmm_json.h"

#define DEPTH_MAX 16

json_object *vmm_json_parse(const char *text)
{
	struct json_tokener *t = json_tokener_new_ex(DEPTH_MAX);
	json_object *o = t ? json_tokener_parse_ex(t, text, (int)strlen(text)) : NULL;

	if (o && !json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		o = NULL;
	}
	json_tokener_free(t);
	return o;
}

/* NULL is json-c's null, too. */
static json_object *member(json_object *o, const char *key, json_type type)
{
	json_object *value;

	return json_object_object_get_ex(o, key, &value) && json_object_is_type(value, type) ? value : NULL;
}

const char *vmm_json_text(json_object *o, const char *key)
{
	json_object *value = member(o, key, json_type_string);

	return value ? json_object_get_string(value) : NULL;
}

bool vmm_json_number(json_object *o, const char *key, uint64_t *ret)
{
	json_object *value = member(o, key, json_type_int);

	if (!value || json_object_get_int64(value) < 0)
		return false;
	*ret = json_object_get_uint64(value);
	return *ret != UINT64_MAX;
}
