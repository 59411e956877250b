/* WWW-Authenticate as a registry sends it, one header line for each line: a broken one changes nothing. */
#include <stdbool.h>
#include <stdint.h>

#include "registry/challenge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool safe(const char *s)
{
	for (; s && *s; s++)
		if (((unsigned char)*s < ' ' && *s != '\t') || *s == 0x7f)
			return false;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_(challenges_clear) struct challenges list = {0};
	const char *p = (const char *)data, *end = p + n;

	while (p < end) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));
		size_t length = (size_t)((stop ? stop : end) - p), before = list.count;
		_cleanup_err_ struct err e = {0};
		/* A copy, so that one byte too many is seen. */
		_cleanup_free_ char *line = malloc(length ? length : 1);
		int r;

		if (!line)
			return 0;
		memcpy(line, p, length);
		r = challenges_add(&list, line, length, &e);
		if (r < 0 &&
			((r != -EBADMSG && r != -EFBIG) || !e.text || !safe(e.text) || list.count != before))
			abort();
		p = stop ? stop + 1 : end;
	}
	if (list.count > 16)
		abort();
	for (size_t i = 0; i < list.count; i++) {
		const struct challenge *c = &list.list[i];

		if ((c->scheme != CHALLENGE_BASIC && c->scheme != CHALLENGE_BEARER) || !safe(c->realm) ||
			!safe(c->service) || !safe(c->scope) || !safe(c->error))
			abort();
	}
	return 0;
}
