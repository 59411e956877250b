#include "registry/challenge.h"

#include <stdbool.h>
#include <strings.h>

enum {
	CHALLENGES_MAX = 16,
	VALUE_MAX = 8192,
};

#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

struct reader {
	const char *start, *at, *end;
	struct err *e;
};

static int broken(const struct reader *r, const char *what)
{
	return err_set(r->e, -EBADMSG, "the registry's WWW-Authenticate is broken: %s at character %zu", what,
		(size_t)(r->at - r->start) + 1);
}

/* The bytes at P that are in SET; a NUL never is. */
static size_t span(const char *p, const char *end, const char *set)
{
	size_t n = 0;

	while (p + n < end && p[n] && strchr(set, p[n]))
		n++;
	return n;
}

static void skip(struct reader *r, const char *set)
{
	r->at += span(r->at, r->end, set);
}

/* RFC 9110, 5.6.2. Its length; 0: none is here. */
static size_t token(const struct reader *r)
{
	return span(r->at, r->end, ALNUM "!#$%&'*+-.^_`|~");
}

/* RFC 9110, 11.2. It is one only when nothing but a comma follows it: "a=" may begin a parameter as well. */
static size_t token68(const struct reader *r)
{
	size_t n = span(r->at, r->end, ALNUM "-._~+/"), blanks;

	if (n == 0)
		return 0;
	n += span(r->at + n, r->end, "=");
	blanks = span(r->at + n, r->end, " \t");
	return r->at + n + blanks == r->end || r->at[n + blanks] == ',' ? n : 0;
}

/* RFC 9110, 5.6.4, decoded; the caller's. R stands at the opening quote. */
static int quoted(struct reader *r, char **ret)
{
	_cleanup_free_ char *s = malloc((size_t)(r->end - r->at));
	size_t n = 0;

	if (!s)
		return err_set(r->e, -ENOMEM, "out of memory");
	for (r->at++; r->at < r->end && *r->at != '"'; r->at++) {
		unsigned char c = (unsigned char)*r->at;

		if (c == '\\') {
			if (++r->at == r->end)
				break;
			c = (unsigned char)*r->at;
		}
		if ((c < ' ' && c != '\t') || c == 0x7f)
			return broken(r, "a control character");
		s[n++] = (char)c;
	}
	if (r->at >= r->end)
		return broken(r, "a string without its end");
	r->at++;
	s[n] = '\0';
	*ret = TAKE_PTR(s);
	return 0;
}

static int value(struct reader *r, char **ret)
{
	size_t n;

	if (r->at < r->end && *r->at == '"')
		return quoted(r, ret);
	n = token(r);
	if (n == 0)
		return broken(r, "no value");
	*ret = strndup(r->at, n);
	if (!*ret)
		return err_set(r->e, -ENOMEM, "out of memory");
	r->at += n;
	return 0;
}

static bool names(const char *p, size_t n, const char *name)
{
	return n == strlen(name) && strncasecmp(p, name, n) == 0;
}

static void challenge_clear(struct challenge *c)
{
	free(c->realm);
	free(c->service);
	free(c->scope);
	free(c->error);
	*c = (struct challenge){0};
}

/* Of two with one name the first one counts. R stands behind the name. */
static int parameter(struct reader *r, const char *name, size_t n, struct challenge *c)
{
	const struct {
		const char *name;
		char **to;
	} known[] = {
		{"realm", &c->realm}, {"service", &c->service}, {"scope", &c->scope}, {"error", &c->error}};
	_cleanup_free_ char *s = NULL;
	int x;

	skip(r, " \t");
	r->at++;
	skip(r, " \t");
	x = value(r, &s);
	if (x < 0)
		return x;
	for (size_t i = 0; i < ELEMENTSOF(known); i++)
		if (names(name, n, known[i].name) && !*known[i].to)
			*known[i].to = TAKE_PTR(s);
	skip(r, " \t");
	return r->at == r->end || *r->at == ',' ? 0 : broken(r, "no comma between two parameters");
}

/* Reads parameters up to the end or to a token that no '=' follows: the next scheme. */
static int parameters(struct reader *r, struct challenge *c)
{
	for (bool first = true;; first = false) {
		const char *name, *p;
		size_t n;
		int x;

		if (first)
			skip(r, " \t");
		first = first && r->at < r->end && *r->at != ',';
		skip(r, " \t,");
		if (r->at == r->end)
			return 0;
		n = token(r);
		if (n == 0)
			return broken(r, "no name");
		name = r->at;
		p = name + n;
		p += span(p, r->end, " \t");
		if (p == r->end || *p != '=') {
			if (!first)
				return 0;
			return broken(r, "no comma between two challenges");
		}
		r->at += n;
		x = parameter(r, name, n, c);
		if (x < 0)
			return x;
	}
}

/* R stands at a scheme. *RET_KNOWN: C is of one that banger speaks. */
static int challenge(struct reader *r, struct challenge *c, bool *ret_known)
{
	size_t n = token(r);

	if (n == 0)
		return broken(r, "no scheme");
	*ret_known = true;
	if (names(r->at, n, "basic"))
		c->scheme = CHALLENGE_BASIC;
	else if (names(r->at, n, "bearer"))
		c->scheme = CHALLENGE_BEARER;
	else
		*ret_known = false;
	r->at += n;
	if (r->at < r->end && span(r->at, r->end, " \t,") == 0)
		return broken(r, "no blank behind a scheme");
	skip(r, " \t");
	n = token68(r);
	if (n == 0)
		return parameters(r, c);
	r->at += n;
	skip(r, " \t");
	return 0;
}

static int append(struct challenges *list, struct challenge *c, struct err *e)
{
	struct challenge *more = reallocarray(list->list, list->count + 1, sizeof(*more));

	if (!more)
		return err_set(e, -ENOMEM, "out of memory");
	list->list = more;
	more[list->count++] = *c;
	*c = (struct challenge){0};
	return 0;
}

static int read_all(struct reader *r, struct challenges *ret)
{
	for (;;) {
		_cleanup_(challenge_clear) struct challenge c = {0};
		bool known = false;
		int x;

		skip(r, " \t,");
		if (r->at == r->end)
			return 0;
		x = challenge(r, &c, &known);
		if (x < 0)
			return x;
		if (!known)
			continue;
		x = append(ret, &c, r->e);
		if (x < 0)
			return x;
	}
}

void challenges_clear(struct challenges *list)
{
	for (size_t i = 0; i < list->count; i++)
		challenge_clear(&list->list[i]);
	free(list->list);
	*list = (struct challenges){0};
}

int challenges_add(struct challenges *list, const char *text, size_t n, struct err *e)
{
	_cleanup_(challenges_clear) struct challenges found = {0};
	struct reader r = {text, text, text + n, e};
	struct challenge *more;
	int x;

	if (n > VALUE_MAX)
		return err_set(
			e, -EFBIG, "the registry's WWW-Authenticate is larger than %d bytes", VALUE_MAX);
	x = read_all(&r, &found);
	if (x < 0)
		return x;
	if (found.count == 0)
		return 0;
	if (list->count + found.count > CHALLENGES_MAX)
		return err_set(e, -EFBIG, "the registry's WWW-Authenticate has more than %d challenges",
			CHALLENGES_MAX);
	more = reallocarray(list->list, list->count + found.count, sizeof(*more));
	if (!more)
		return err_set(e, -ENOMEM, "out of memory");
	memcpy(more + list->count, found.list, found.count * sizeof(*more));
	list->list = more;
	list->count += found.count;
	found.count = 0;
	return 0;
}
