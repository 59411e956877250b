/* What anybody may write to a node: the parser of writes, and its words. */
#include <stdint.h>

#include "banger/cleanup.h"
#include "tree/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct input in = {0};
	char *words[4];
	size_t count, length = 0;

	if (input_parse(data, n, &in, NULL) < 0)
		return 0;
	if (strlen(in.text) != n || in.count == 0)
		abort();
	for (size_t i = 0; i < in.count; i++) {
		char *copy = NULL;

		if (strchr(in.lines[i], '\n'))
			abort();
		length += strlen(in.lines[i]) + 1;
		if (input_words(in.lines[i], &copy, words, ELEMENTSOF(words), &count) == 0)
			for (size_t j = 0; j < count; j++)
				if (!words[j][0])
					abort();
		free(copy);
	}
	/* Nothing is lost or added: the lines and their newlines are what was written. */
	if (length != n + (data[n - 1] != '\n'))
		abort();
	input_clear(&in);
	return 0;
}
