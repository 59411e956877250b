/*
 * What is written to a node: one write is one transaction (rule 3). Pure; any thread.
 */
#ifndef BANGER_TREE_INPUT_H
#define BANGER_TREE_INPUT_H

#include <stddef.h>

#include "banger/err.h"

#define INPUT_MAX 4096

struct input {
	char *text;   /* all of it, NUL-terminated */
	char **lines; /* without their newlines; a last line without one counts */
	size_t count;
};

/* -E2BIG more than INPUT_MAX bytes, -EINVAL a NUL or nothing at all. */
int input_parse(const void *data, size_t n, struct input *ret, struct err *e);
void input_clear(struct input *in);
/* The lines again, without the last newline; the caller's; NULL: no memory. */
char *input_join(const struct input *in);

/* LINE in words, split at blanks; at most MAX (-E2BIG). Words point into COPY, which the caller frees. */
int input_words(const char *line, char **ret_copy, char **words, size_t max, size_t *ret_count);

#endif
