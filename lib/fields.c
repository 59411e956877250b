#include <errno.h>
#include <string.h>

#include "banger/fields.h"
#include "banger/parse.h"

const char *fields_next(struct fields *f)
{
	const char *field = f->at,
		   *stop = f->at < f->end ? memchr(f->at, '\0', (size_t)(f->end - f->at)) : NULL;

	if (!stop)
		return NULL;
	f->at = stop + 1;
	return field;
}

const char *fields_value(struct fields *f, const char *key)
{
	size_t n = strlen(key);
	const char *field = fields_next(f);

	return field && strncmp(field, key, n) == 0 && field[n] == ' ' ? field + n + 1 : NULL;
}

int fields_number(struct fields *f, const char *key, uint64_t max, uint64_t *ret)
{
	const char *text = fields_value(f, key);

	return text && parse_u64(text, 0, max, ret) == 0 ? 0 : -EUCLEAN;
}
