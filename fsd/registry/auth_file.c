#include "registry/auth_file.h"

#include "registry/host_name.h"
#include "registry/secret.h"

#define TOKEN_NAME "<token>" /* who one is with an identity token that came without a name */

struct auth_file {
	json_object *doc;
	bool legacy;
};

struct auth_file *auth_file_free(struct auth_file *f)
{
	if (f)
		secret_json_free(f->doc);
	free(f);
	return NULL;
}

/* Member KEY of O; NULL: not there, or null. */
static json_object *member(json_object *o, const char *key)
{
	json_object *value = NULL;

	return json_object_object_get_ex(o, key, &value) ? value : NULL;
}

static int check_type(json_object *doc, const char *key, json_type type, const char *what, struct err *e)
{
	json_object *value = member(doc, key);

	if (!value || json_object_is_type(value, type))
		return 0;
	return err_set(e, -EBADMSG, "\"%s\" is no %s", key, what);
}

int auth_file_parse(const char *text, size_t n, bool legacy, struct auth_file **ret, struct err *e)
{
	_cleanup_(auth_file_freep) struct auth_file *f = calloc(1, sizeof(*f));
	int r = 0;

	if (!f)
		return err_set(e, -ENOMEM, "out of memory");
	f->legacy = legacy;
	if (strspn(text, " \t\r\n") == n) {
		f->doc = json_object_new_object();
		if (!f->doc)
			return err_set(e, -ENOMEM, "out of memory");
	} else {
		r = secret_json_parse(text, n, &f->doc, e);
	}
	if (r == 0 && !legacy) {
		r = check_type(f->doc, "auths", json_type_object, "object", e);
		if (r == 0)
			r = check_type(f->doc, "credHelpers", json_type_object, "object", e);
		if (r == 0)
			r = check_type(f->doc, "credsStore", json_type_string, "text", e);
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(f);
	return 0;
}

int auth_file_read(int dirfd, const char *path, bool legacy, struct auth_file **ret, struct err *e)
{
	_cleanup_secret_ char *text = NULL;
	size_t n;
	int r = secret_read_file(dirfd, path, AUTH_FILE_MAX, &text, &n, e);

	if (r < 0)
		return r;
	r = auth_file_parse(text, n, legacy, ret, e);
	if (r < 0)
		err_wrap(e, "%s", path);
	return r;
}

/* How much of KEY goes into a message: a line, and not a long one. */
static int shown(const char *key)
{
	int n = 0;

	while (n < 300 && (unsigned char)key[n] >= ' ' && key[n] != 127)
		n++;
	return n;
}

static json_object *auths(const struct auth_file *f)
{
	return f->legacy ? f->doc : member(f->doc, "auths");
}

/* "https://index.docker.io/v1/" as docker itself writes it, "registry.example/v1/" in the legacy file. */
static bool key_names_host(const char *key, bool legacy, const char *host)
{
	static const char *const schemes[] = {"http://", "https://"};
	bool url = legacy;

	for (size_t i = 0; i < ELEMENTSOF(schemes); i++)
		if (strncmp(key, schemes[i], strlen(schemes[i])) == 0) {
			key += strlen(schemes[i]);
			url = true;
			break;
		}
	return host_name_same(key, url ? strcspn(key, "/") : strlen(key), host);
}

const char *auth_file_program(const struct auth_file *f, const char *host, bool *ret_store)
{
	json_object *programs = f->legacy ? NULL : member(f->doc, "credHelpers");
	const char *name = programs ? secret_json_string(programs, host, NULL) : NULL;

	*ret_store = false;
	if (programs && !name) {
		json_object_object_foreach(programs, key, value)
		{
			if (!name && json_object_is_type(value, json_type_string) &&
				key_names_host(key, false, host))
				name = json_object_get_string(value);
		}
	}
	if (name || f->legacy)
		return name && *name ? name : NULL;
	*ret_store = true;
	name = secret_json_string(f->doc, "credsStore", NULL);
	return name && *name ? name : NULL;
}

/* The key in *RET_KEY is F's. False: there is none. */
static int find_entry(const struct auth_file *f, const char *host, const char *path, json_object **ret,
	const char **ret_key)
{
	json_object *list = auths(f);
	_cleanup_free_ char *wanted = NULL;
	struct lh_entry *at;

	if (!list)
		return 0;
	if (asprintf(&wanted, "%s%s%s", host, *path && !f->legacy ? "/" : "", f->legacy ? "" : path) < 0) {
		wanted = NULL;
		return -ENOMEM;
	}
	for (;;) {
		char *slash;

		at = lh_table_lookup_entry(json_object_get_object(list), wanted);
		if (at)
			break;
		slash = strrchr(wanted, '/');
		if (!slash)
			break;
		*slash = '\0';
	}
	if (!at)
		for (at = lh_table_head(json_object_get_object(list)); at; at = lh_entry_next(at))
			if (key_names_host(lh_entry_k(at), f->legacy, host))
				break;
	if (!at)
		return 0;
	*ret = (json_object *)lh_entry_v(at);
	*ret_key = lh_entry_k(at);
	return 1;
}

/* Member KEY of ENTRY as text, "" when there is none. */
static int entry_text(json_object *entry, const char *key, const char *field, const char **ret, size_t *ret_n,
	struct err *e)
{
	const char *text = secret_json_string(entry, field, ret_n);

	if (!text && member(entry, field))
		return err_set(e, -EBADMSG, "\"%s\" of \"%.*s\" is no text", field, shown(key), key);
	if (!text)
		*ret_n = 0;
	else if (strlen(text) != *ret_n)
		return err_set(e, -EBADMSG, "\"%s\" of \"%.*s\" has a NUL in it", field, shown(key), key);
	*ret = text ? text : "";
	return 0;
}

/* USER:PASSWORD out of base64. A password may hold ':'; NULs at its end are padding that some writers add. */
static int decode_auth(const char *auth, size_t n, const char *key, struct credentials *c, struct err *e)
{
	char *text, *colon;
	size_t length;
	int r = secret_base64_decode(auth, n, &text, &length);

	if (r == -ENOMEM)
		return err_set(e, r, "out of memory");
	if (r < 0)
		return err_set(e, r, "\"auth\" of \"%.*s\" isn't base64", shown(key), key);
	colon = memchr(text, ':', length);
	while (length > 0 && !text[length - 1])
		length--;
	if (!colon || memchr(text, '\0', length)) {
		r = err_set(e, -EBADMSG, "\"auth\" of \"%.*s\" isn't USER:PASSWORD", shown(key), key);
	} else {
		c->user = strndup(text, (size_t)(colon - text));
		c->password = strdup(colon + 1);
		if (!c->user || !c->password)
			r = err_set(e, -ENOMEM, "out of memory");
	}
	explicit_bzero(text, length);
	free(text);
	return r;
}

/* ENTRY's credentials; *RET NULL: it is a mark that somebody is logged in there by a program. */
static int decode_entry(json_object *entry, const char *key, struct credentials **ret, struct err *e)
{
	_cleanup_(credentials_freep) struct credentials *c = calloc(1, sizeof(*c));
	const char *auth, *token, *user, *password;
	size_t auth_n, n;
	int r = 0;

	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	if (entry && !json_object_is_type(entry, json_type_object))
		return err_set(e, -EBADMSG, "the entry \"%.*s\" is no object", shown(key), key);
	if (!entry || (r = entry_text(entry, key, "auth", &auth, &auth_n, e)) < 0 ||
		(r = entry_text(entry, key, "identitytoken", &token, &n, e)) < 0 ||
		(r = entry_text(entry, key, "username", &user, &n, e)) < 0 ||
		(r = entry_text(entry, key, "password", &password, &n, e)) < 0)
		return r;
	if (auth_n > 0) {
		r = decode_auth(auth, auth_n, key, c, e);
		if (r < 0)
			return r;
	} else {
		c->user = strdup(user);
		c->password = strdup(password);
	}
	if (*token) {
		c->password = secret_free(c->password);
		c->identity_token = strdup(token);
	}
	if (!c->user || (*token ? !c->identity_token : !c->password))
		return err_set(e, -ENOMEM, "out of memory");
	if (!*token && !*c->user && !*c->password)
		return 0;
	*ret = TAKE_PTR(c);
	return 0;
}

int auth_file_find(const struct auth_file *f, const char *host, const char *path, struct credentials **ret,
	bool *ret_named, struct err *e)
{
	struct credentials *c = NULL;
	json_object *entry;
	const char *key;
	int r = find_entry(f, host, path, &entry, &key);
	bool named = r > 0;

	if (r < 0)
		return err_set(e, r, "out of memory");
	if (named)
		r = decode_entry(entry, key, &c, e);
	if (r < 0)
		return r;
	*ret = c;
	if (ret_named)
		*ret_named = named;
	return 0;
}

int auth_file_each(const struct auth_file *f, int (*fn)(void *user, const char *key, const char *name),
	void *user, struct err *e)
{
	json_object *list = auths(f);

	if (!list)
		return 0;
	json_object_object_foreach(list, key, entry)
	{
		_cleanup_(credentials_freep) struct credentials *c = NULL;
		int r = decode_entry(entry, key, &c, e);

		if (r == 0 && c)
			r = fn(user, key, *c->user ? c->user : TOKEN_NAME);
		if (r != 0)
			return r;
	}
	return 0;
}

/* The first key of LIST that is HOST's as a whole. */
static const char *key_of_host(json_object *list, bool legacy, const char *host)
{
	json_object_object_foreach(list, key, entry)
	{
		(void)entry;
		if (key_names_host(key, legacy, host))
			return key;
	}
	return NULL;
}

bool auth_file_remove(struct auth_file *f, const char *host)
{
	json_object *list = auths(f);
	const char *key;
	bool removed = false;

	while (list && (key = key_of_host(list, f->legacy, host))) {
		secret_json_free(json_object_get(member(list, key)));
		json_object_object_del(list, key);
		removed = true;
	}
	return removed;
}

/* O takes VALUE, also when that fails. */
static int put(json_object *o, const char *key, json_object *value)
{
	if (value && json_object_object_add(o, key, value) == 0)
		return 0;
	secret_json_free(value);
	return -ENOMEM;
}

/* An entry with "auth" and perhaps "identitytoken". */
static int make_entry(const struct credentials *c, json_object **ret)
{
	_cleanup_(secret_json_freep) json_object *entry = json_object_new_object();
	_cleanup_secret_ char *plain = NULL, *auth = NULL;
	int r = 0;

	if (!entry)
		return -ENOMEM;
	if (asprintf(&plain, "%s:%s", c->user ? c->user : "",
		    c->password && !c->identity_token ? c->password : "") < 0) {
		plain = NULL;
		return -ENOMEM;
	}
	if (c->user)
		r = secret_base64_encode(plain, strlen(plain), &auth);
	if (r == 0 && auth)
		r = put(entry, "auth", json_object_new_string(auth));
	if (r == 0 && c->identity_token)
		r = put(entry, "identitytoken", json_object_new_string(c->identity_token));
	if (r == 0)
		*ret = TAKE_PTR(entry);
	return r;
}

int auth_file_set(struct auth_file *f, const char *host, const struct credentials *c, struct err *e)
{
	json_object *entry, *list;
	int r;

	if (c->user && strchr(c->user, ':'))
		return err_set(e, -EINVAL, "a user's name can't have ':' in it");
	r = make_entry(c, &entry);
	if (r < 0)
		return err_set(e, r, "out of memory");
	auth_file_remove(f, host);
	list = auths(f);
	if (!list) {
		list = json_object_new_object();
		r = put(f->doc, "auths", list);
	}
	if (r == 0)
		r = put(list, host, entry);
	else
		secret_json_free(entry);
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

int auth_file_text(const struct auth_file *f, char **ret, struct err *e)
{
	/* The buffer is the document's own, and keeps the text until it is freed. */
	char *text = (char *)json_object_to_json_string_ext(
		f->doc, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
	char *copy;
	int n = text ? asprintf(&copy, "%s\n", text) : -1;

	if (text)
		explicit_bzero(text, strlen(text));
	if (n < 0)
		return err_set(e, -ENOMEM, "out of memory");
	*ret = copy;
	return 0;
}
