/* Numbers, sizes, flags and addresses: what is taken is in its bounds and says the same when it is written again. */
#include <stdlib.h>
#include <string.h>

#include "banger/cleanup.h"
#include "banger/name.h"
#include "banger/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = malloc(size + 1);
	uint64_t v = 77, again;
	uint32_t address;
	bool flag;
	char back[32];

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	if (parse_u64(text, 5, 1000000, &v) == 0) {
		snprintf(back, sizeof(back), "%llu", (unsigned long long)v);
		if (v < 5 || v > 1000000 || parse_u64(back, 0, UINT64_MAX, &again) != 0 || again != v)
			abort();
	} else if (v != 77) {
		abort();
	}
	v = 77;
	if (parse_size(text, 4096, 1ull << 40, &v) == 0) {
		if (v < 4096 || v > 1ull << 40)
			abort();
	} else if (v != 77) {
		abort();
	}
	parse_size(text, 0, UINT64_MAX, &v);
	parse_bool(text, &flag);
	parse_ipv4(text, &address);
	/* What may be a name is never a path. */
	if ((name_vm_valid(text) || name_object_valid(text) || name_instance_valid(text)) &&
		(strchr(text, '/') || text[0] == '.' || strlen(text) > 255))
		abort();
	return 0;
}
