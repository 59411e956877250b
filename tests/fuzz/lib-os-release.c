/* os-release(5): any text gives a value no longer than itself, or none; and a value that is quoted comes back as it was. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "banger/cleanup.h"
#include "banger/os_release.h"

static void check_round_trip(const char *value)
{
	_cleanup_free_ char *text = NULL, *again = NULL;

	if (strpbrk(value, "'\n"))
		return;
	if (asprintf(&text, "X=1\nID='%s'\n", value) < 0 || os_release_find(text, "ID", &again) != 0 ||
		strcmp(again, value) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = malloc(size + 1), *value = NULL;
	int r;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	r = os_release_find(text, "ID", &value);
	if ((r == 0) != (value != NULL) || (r < 0 && r != -ENOENT && r != -EBADMSG) ||
		(value && strlen(value) > size))
		abort();
	check_round_trip(text);
	return 0;
}
