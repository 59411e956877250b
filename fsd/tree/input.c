#include <errno.h>

#include "banger/cleanup.h"
#include "tree/input.h"

int input_parse(const void *data, size_t n, struct input *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_free_ char **lines = NULL;
	size_t count = 0, at = 0;
	char *cut;

	if (n > INPUT_MAX)
		return err_set(e, -E2BIG, "at most %d bytes are taken in one write", INPUT_MAX);
	if (n == 0)
		return err_set(e, -EINVAL, "nothing was written");
	if (memchr(data, '\0', n))
		return err_set(e, -EINVAL, "a NUL byte was written");
	/* The lines are cut in a second copy behind the text. */
	text = malloc(2 * (n + 1));
	if (!text)
		return err_sys(e, -ENOMEM, "write");
	memcpy(text, data, n);
	text[n] = '\0';
	cut = text + n + 1;
	memcpy(cut, text, n + 1);
	for (size_t i = 0; i < n; i++)
		count += cut[i] == '\n' || i == n - 1;
	lines = calloc(count, sizeof(*lines));
	if (!lines)
		return err_sys(e, -ENOMEM, "write");
	for (size_t i = 0; i < count; i++) {
		char *end = strchr(cut + at, '\n');

		lines[i] = cut + at;
		if (end) {
			*end = '\0';
			at = (size_t)(end - cut) + 1;
		}
	}
	ret->text = TAKE_PTR(text);
	ret->lines = TAKE_PTR(lines);
	ret->count = count;
	return 0;
}

void input_clear(struct input *in)
{
	free(in->text);
	free(in->lines);
	*in = (struct input){0};
}

char *input_join(const struct input *in)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	for (size_t i = 0; out && i < in->count; i++)
		fprintf(out, "%s%s", i ? "\n" : "", in->lines[i]);
	if (!out || fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

int input_words(const char *line, char **ret_copy, char **words, size_t max, size_t *ret_count)
{
	_cleanup_free_ char *copy = strdup(line);
	char *rest = copy, *word;
	size_t count = 0;

	if (!copy)
		return -ENOMEM;
	while ((word = strsep(&rest, " \t"))) {
		if (!*word)
			continue;
		if (count == max)
			return -E2BIG;
		words[count++] = word;
	}
	*ret_count = count;
	*ret_copy = TAKE_PTR(copy);
	return 0;
}
