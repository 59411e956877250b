/* What a user or a tree's writer gives as an image: parsed, written out, and parsed to the same again. */
#include <stdint.h>

#include "registry/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_(reference_freep) struct reference *r = NULL, *again = NULL;
	_cleanup_free_ char *text = NULL, *text2 = NULL, *name = NULL, *s = strndup((const char *)data, n);

	if (!s || reference_parse(s, &r, NULL) < 0)
		return 0;
	if (!r->tag == !r->digest || strstr(r->path, "..") || strpbrk(r->host, "/@%"))
		abort();
	if (reference_text(r, &text, NULL) < 0 || reference_parse(text, &again, NULL) < 0 ||
		reference_text(again, &text2, NULL) < 0 || strcmp(text, text2) != 0)
		abort();
	if (reference_name(r, &name, NULL) < 0 || !name[0] || strpbrk(name, "/._"))
		abort();
	return 0;
}
