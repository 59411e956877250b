/* What a guest says of what listens in it: whatever it is, it is refused, or lines of printable text. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "guest/ports.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = NULL;
	size_t n = 0, blanks = 0;
	FILE *out = open_memstream(&text, &n);
	int r;

	if (!out)
		abort();
	r = ports_print(data, size, out);
	if (fclose(out) != 0 || (r < 0 && n > 0) || (r == 0 && n > 0 && text[n - 1] != '\n'))
		abort();
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c != '\n' && (c < ' ' || c > '~'))
			abort();
		blanks += c == ' ';
		/* Six columns, then the command, which has as many as it likes. */
		if (c == '\n' && blanks < 6)
			abort();
		if (c == '\n')
			blanks = 0;
	}
	free(text);
	return 0;
}
