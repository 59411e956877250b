/* What a VMM says in JSON: an object, or refused. */
#include <stdlib.h>
#include <string.h>

#include "banger/cleanup.h"
#include "engine/vmm_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = malloc(size + 1);
	json_object *o, *value;

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	o = vmm_json_parse(text);
	if (!o)
		return 0;
	if (!json_object_is_type(o, json_type_object))
		abort();
	if (json_object_object_get_ex(o, "return", &value))
		json_object_to_json_string(value);
	json_object_put(o);
	return 0;
}
