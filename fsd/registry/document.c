#include "registry/document.h"

bool text_is_line(const char *s)
{
	for (const unsigned char *p = (const unsigned char *)s; *p; p++)
		if (*p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0))
			return false;
	return true;
}

char **strings_free(char **list)
{
	for (char **p = list; p && *p; p++)
		free(*p);
	free(list);
	return NULL;
}

/*
 * What json-c wouldn't tell, before it is given the text: how many values it is to make at most, whether
 * a NUL hides in an escape, where a key would end for json-c and for nobody else, and single quotes, which it takes for keys even when strict.
 */
static int scan(const char *text, size_t n, struct err *e)
{
	size_t count = 0;
	bool quoted = false;

	if (memchr(text, '\0', n))
		return err_set(e, -EBADMSG, "not JSON: there is a NUL in it");
	for (size_t i = 0; i < n; i++) {
		switch (text[i]) {
		case '"':
			quoted = !quoted;
			break;
		case '\\':
			if (quoted && n - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0)
				return err_set(e, -EBADMSG, "there is a NUL in one of its strings");
			i++;
			break;
		case '\'':
			if (!quoted)
				return err_set(e, -EBADMSG, "not JSON: a single quote is no quote");
			break;
		case '[':
		case '{':
		case ',':
			count += !quoted;
			break;
		}
	}
	if (count > DOCUMENT_VALUES_MAX)
		return err_set(e, -EFBIG, "more than %d brackets and commas are in it", DOCUMENT_VALUES_MAX);
	return 0;
}

int document_parse(const char *text, size_t n, size_t max, json_object **ret, struct err *e)
{
	_cleanup_(document_putp) json_object *o = NULL;
	struct json_tokener *t;
	enum json_tokener_error error;
	int r;

	if (n > max)
		return err_set(e, -EFBIG, "larger than %zu bytes", max);
	r = scan(text, n, e);
	if (r < 0)
		return r;
	t = json_tokener_new_ex(DOCUMENT_DEPTH_MAX);
	if (!t)
		return err_set(e, -ENOMEM, "out of memory");
	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(t, text, (int)n);
	error = json_tokener_get_error(t);
	json_tokener_free(t);
	if (error == json_tokener_continue)
		return err_set(e, -EBADMSG, "not JSON: it ends in the middle");
	if (error != json_tokener_success)
		return err_set(e, -EBADMSG, "not JSON: %s", json_tokener_error_desc(error));
	if (!json_object_is_type(o, json_type_object))
		return err_set(e, -EBADMSG, "not a JSON object");
	*ret = TAKE_PTR(o);
	return 0;
}

static int get(json_object *o, const char *at, const char *name, json_type type, const char *what,
	json_object **ret, struct err *e)
{
	json_object *v = NULL;

	if (json_object_object_get_ex(o, name, &v) && v && !json_object_is_type(v, type))
		return err_set(e, -EBADMSG, "%s%s: not %s", at, name, what);
	*ret = v;
	return 0;
}

int document_object(json_object *o, const char *at, const char *name, json_object **ret, struct err *e)
{
	return get(o, at, name, json_type_object, "an object", ret, e);
}

int document_list(
	json_object *o, const char *at, const char *name, size_t max, json_object **ret, struct err *e)
{
	json_object *v = NULL;
	int r = get(o, at, name, json_type_array, "a list", &v, e);

	if (r < 0)
		return r;
	if (v && json_object_array_length(v) > max)
		return err_set(e, -EFBIG, "%s%s: more than %zu items", at, name, max);
	*ret = v;
	return 0;
}

static int copy_string(json_object *v, char **ret, struct err *e)
{
	char *s = strndup(json_object_get_string(v), (size_t)json_object_get_string_len(v));

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	*ret = s;
	return 0;
}

int document_string(json_object *o, const char *at, const char *name, char **ret, struct err *e)
{
	json_object *v = NULL;
	int r = get(o, at, name, json_type_string, "a string", &v, e);

	if (r < 0)
		return r;
	if (v)
		return copy_string(v, ret, e);
	*ret = NULL;
	return 0;
}

int document_line(json_object *o, const char *at, const char *name, char **ret, struct err *e)
{
	_cleanup_free_ char *s = NULL;
	int r = document_string(o, at, name, &s, e);

	if (r < 0)
		return r;
	if (s && !text_is_line(s))
		return err_set(e, -EBADMSG, "%s%s: there are control characters in it", at, name);
	*ret = TAKE_PTR(s);
	return 0;
}

int document_need_line(json_object *o, const char *at, const char *name, char **ret, struct err *e)
{
	_cleanup_free_ char *s = NULL;
	int r = document_line(o, at, name, &s, e);

	if (r < 0)
		return r;
	if (!s || !s[0])
		return err_set(e, -EBADMSG, "%s%s: missing", at, name);
	*ret = TAKE_PTR(s);
	return 0;
}

int document_size(json_object *o, const char *at, const char *name, uint64_t *ret, struct err *e)
{
	json_object *v = NULL;
	int r = get(o, at, name, json_type_int, "a whole number", &v, e);

	if (r < 0)
		return r;
	if (!v)
		return err_set(e, -EBADMSG, "%s%s: missing", at, name);
	if (json_object_get_int64(v) < 0)
		return err_set(e, -EBADMSG, "%s%s: negative", at, name);
	/* json-c gives the nearest that it can hold for what it can't. */
	if (json_object_get_uint64(v) > INT64_MAX)
		return err_set(e, -EBADMSG, "%s%s: more than there can be", at, name);
	*ret = json_object_get_uint64(v);
	return 0;
}

int document_strings(json_object *o, const char *at, const char *name, size_t max, bool line, char ***ret,
	size_t *ret_n, struct err *e)
{
	_cleanup_(strings_freep) char **list = NULL;
	json_object *v = NULL;
	size_t n;
	int r = document_list(o, at, name, max, &v, e);

	if (r < 0)
		return r;
	n = v ? json_object_array_length(v) : 0;
	list = calloc(n + 1, sizeof(*list));
	if (!list)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		json_object *item = json_object_array_get_idx(v, i);

		if (!json_object_is_type(item, json_type_string))
			return err_set(e, -EBADMSG, "%s%s[%zu]: not a string", at, name, i);
		r = copy_string(item, &list[i], e);
		if (r < 0)
			return r;
		if (line && !text_is_line(list[i]))
			return err_set(
				e, -EBADMSG, "%s%s[%zu]: there are control characters in it", at, name, i);
	}
	if (ret_n)
		*ret_n = n;
	*ret = TAKE_PTR(list);
	return 0;
}
