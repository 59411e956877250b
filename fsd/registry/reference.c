#include "registry/reference.h"

#include <stdbool.h>

#include "registry/digest.h"
#include "registry/host_name.h"

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

enum { NAME_MAX_LENGTH = 32 };

void reference_free(struct reference *r)
{
	if (!r)
		return;
	free(r->host);
	free(r->path);
	free(r->tag);
	free(r->digest);
	free(r);
}

/* [a-z0-9]+ ((\. | _ | __ | -+) [a-z0-9]+)*, with '/' between components. */
static bool path_valid(const char *s)
{
	for (;;) {
		size_t n = strspn(s, LOWER DIGITS);

		if (n == 0)
			return false;
		s += n;
		if (!*s)
			return true;
		if (*s == '/' || *s == '.')
			s++;
		else if (*s == '_')
			s += s[1] == '_' ? 2 : 1;
		else if (*s == '-')
			s += strspn(s, "-");
		else
			return false;
	}
}

static bool tag_valid(const char *s)
{
	size_t n = strspn(s, LOWER UPPER DIGITS "_.-");

	return n > 0 && n <= REFERENCE_TAG_MAX && !s[n] && s[0] != '.' && s[0] != '-';
}

/* What stands before the first '/' is a registry only if it can't be a directory of docker.io's. */
static bool is_host(const char *s, size_t n)
{
	if (n == strlen("localhost") && strncmp(s, "localhost", n) == 0)
		return true;
	for (size_t i = 0; i < n; i++)
		if (strchr(".:[" UPPER, s[i]))
			return true;
	return false;
}

static int set_name(struct reference *ref, const char *name, struct err *e)
{
	const char *slash = strchr(name, '/');
	const char *path = name;

	if (slash && is_host(name, (size_t)(slash - name))) {
		ref->host = strndup(name, (size_t)(slash - name));
		path = slash + 1;
	} else {
		ref->host = strdup("docker.io");
	}
	if (!ref->host)
		return err_set(e, -ENOMEM, "out of memory");
	if (strlen(ref->host) > REFERENCE_HOST_MAX || !host_name_valid(ref->host))
		return err_set(e, -EINVAL, "its registry isn't HOST or HOST:PORT");
	if (strcmp(ref->host, "index.docker.io") == 0)
		memmove(ref->host, "docker.io", sizeof("docker.io"));
	if (strlen(path) > REFERENCE_PATH_MAX)
		return err_set(e, -EINVAL, "its repository is longer than %d characters", REFERENCE_PATH_MAX);
	if (!path_valid(path))
		return err_set(e, -EINVAL,
			"its repository must be lower-case letters and digits, with single '.', '_' "
			"or '-' and '/' between them");
	if (path == name && strlen(name) == 64 && strspn(name, DIGITS "abcdef") == 64)
		return err_set(e, -EINVAL, "64 hexadecimal digits are an id, not a repository");

	bool library = strcmp(ref->host, "docker.io") == 0 && !strchr(path, '/');

	if (asprintf(&ref->path, "%s%s", library ? "library/" : "", path) < 0) {
		ref->path = NULL;
		return err_set(e, -ENOMEM, "out of memory");
	}
	if (strlen(ref->path) > REFERENCE_PATH_MAX)
		return err_set(e, -EINVAL, "its repository is longer than %d characters", REFERENCE_PATH_MAX);
	return 0;
}

static int parse(struct reference *ref, char *s, struct err *e)
{
	char *digest = strchr(s, '@');
	char *tag, *slash;

	if (digest) {
		*digest++ = '\0';
		if (digest_check(digest, NULL) < 0)
			return err_set(e, -EINVAL,
				"its digest isn't sha256: and 64 or sha512: and 128 lower-case hexadecimal "
				"digits");
	}
	slash = strrchr(s, '/');
	tag = strchr(slash ? slash : s, ':');
	if (tag) {
		*tag++ = '\0';
		if (!tag_valid(tag))
			return err_set(e, -EINVAL, "its tag isn't 1 to %d letters, digits, '_', '.' or '-'",
				REFERENCE_TAG_MAX);
	}

	int r = set_name(ref, s, e);

	if (r < 0)
		return r;
	if (digest)
		ref->digest = strdup(digest);
	else
		ref->tag = strdup(tag ? tag : "latest");
	return ref->digest || ref->tag ? 0 : err_set(e, -ENOMEM, "out of memory");
}

int reference_parse(const char *text, struct reference **ret_ref, struct err *e)
{
	_cleanup_(reference_freep) struct reference *ref = NULL;
	_cleanup_free_ char *copy = NULL;

	ref = calloc(1, sizeof(*ref));
	copy = strdup(text);
	if (!ref || !copy)
		return err_set(e, -ENOMEM, "out of memory");

	int r = parse(ref, copy, e);

	if (r < 0) {
		err_wrap(e, "not an image's reference");
		return r;
	}
	*ret_ref = TAKE_PTR(ref);
	return 0;
}

int reference_text(const struct reference *r, char **ret_text, struct err *e)
{
	char *text;

	if (asprintf(&text, "%s/%s%c%s", r->host, r->path, r->digest ? '@' : ':',
		    r->digest ? r->digest : r->tag) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	*ret_text = text;
	return 0;
}

int reference_name(const struct reference *r, char **ret_name, struct err *e)
{
	const char *slash = strrchr(r->path, '/');
	char *name = strndup(slash ? slash + 1 : r->path, NAME_MAX_LENGTH);
	size_t n = 0;

	if (!name)
		return err_set(e, -ENOMEM, "out of memory");
	for (const char *p = name; *p; p++) {
		if (strchr(LOWER DIGITS, *p))
			name[n++] = *p;
		else if (name[n - 1] != '-')
			name[n++] = '-';
	}
	while (n > 0 && name[n - 1] == '-')
		n--;
	name[n] = '\0';
	*ret_name = name;
	return 0;
}
