#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "banger/err.h"

/* What an error says when there was no memory for its own text; never freed. */
static char no_memory[] = "out of memory while reporting an error";

static void text_replace(struct err *e, char *text)
{
	if (e->text != no_memory)
		free(e->text);
	e->text = text ? text : no_memory;
}

int err_setv(struct err *e, int code, const char *fmt, va_list ap)
{
	char *text = NULL;

	if (!e)
		return code;
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	text_replace(e, text);
	e->code = code;
	return code;
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_setv(e, code, fmt, ap);
	va_end(ap);
	return code;
}

int err_sys(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;
	char *text = NULL;

	if (!e)
		return code;
	va_start(ap, fmt);
	err_setv(e, code, fmt, ap);
	va_end(ap);
	if (asprintf(&text, "%s: %s", e->text, strerror(-code)) < 0)
		text = NULL;
	text_replace(e, text);
	return code;
}

void err_wrap(struct err *e, const char *fmt, ...)
{
	va_list ap;
	char *context = NULL, *text = NULL;

	if (!e)
		return;
	va_start(ap, fmt);
	if (vasprintf(&context, fmt, ap) < 0)
		context = NULL;
	va_end(ap);
	if (asprintf(&text, "%s: %s", context ? context : "", err_text(e)) < 0)
		text = NULL;
	free(context);
	text_replace(e, text);
}

void err_join(struct err *e, const char *fmt, ...)
{
	va_list ap;
	char *more = NULL, *text = NULL;

	if (!e)
		return;
	va_start(ap, fmt);
	if (vasprintf(&more, fmt, ap) < 0)
		more = NULL;
	va_end(ap);
	if (asprintf(&text, "%s; %s", err_text(e), more ? more : "") < 0)
		text = NULL;
	free(more);
	text_replace(e, text);
}

int err_move(struct err *to, struct err *from)
{
	int code = from->code;

	if (to) {
		err_clear(to);
		*to = *from;
		*from = (struct err){0};
	} else {
		err_clear(from);
	}
	return code;
}

int err_copy(struct err *to, const struct err *from)
{
	if (to)
		err_set(to, from->code, "%s", err_text(from));
	return from->code;
}

const char *err_text(const struct err *e)
{
	if (e && e->text)
		return e->text;
	return e && e->code ? strerror(-e->code) : "unknown error";
}

void err_clear(struct err *e)
{
	if (!e)
		return;
	if (e->text != no_memory)
		free(e->text);
	*e = (struct err){0};
}
