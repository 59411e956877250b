#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/os_release.h"

#define FILE_MAX 65536

/* What follows the "=" up to the line's end at END, unquoted into RET, which has room for it. */
static int unquote(const char *s, const char *end, char *ret)
{
	char quote = '\0';

	while (s < end) {
		char c = *s++;

		if (quote == '\0' && (c == ' ' || c == '\t' || c == '\r')) {
			s += strspn(s, " \t\r");
			/* A shell would take what follows for a command's name. */
			if (s < end && *s != '#')
				return -EBADMSG;
			break;
		}
		if (c == quote) {
			quote = '\0';
		} else if (quote == '\0' && (c == '"' || c == '\'')) {
			quote = c;
		} else if (c == '\\' && quote != '\'') {
			if (s == end)
				return -EBADMSG;
			/* Between double quotes a backslash is one, but before these four. */
			if (quote == '"' && !strchr("\"\\$`", *s))
				*ret++ = c;
			*ret++ = *s++;
		} else {
			*ret++ = c;
		}
	}
	*ret = '\0';
	return quote == '\0' ? 0 : -EBADMSG;
}

int os_release_find(const char *text, const char *key, char **ret)
{
	_cleanup_free_ char *found = NULL;
	size_t n = strlen(key);
	int r = -ENOENT;

	for (const char *line = text; *line;) {
		const char *end = strchrnul(line, '\n'), *at = line + strspn(line, " \t");

		if (at < end && strncmp(at, key, n) == 0 && at[n] == '=') {
			char *value = malloc((size_t)(end - at) + 1);

			if (!value)
				return -ENOMEM;
			free(found);
			found = value;
			r = unquote(at + n + 1, end, value);
		}
		line = *end ? end + 1 : end;
	}
	if (r == 0)
		*ret = TAKE_PTR(found);
	return r;
}

int os_release_get(const char *key, char **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int r = io_read_file(AT_FDCWD, "/etc/os-release", FILE_MAX, &text, NULL, NULL);

	if (r == -ENOENT)
		r = io_read_file(AT_FDCWD, "/usr/lib/os-release", FILE_MAX, &text, NULL, NULL);
	if (r == 0)
		r = os_release_find(text, key, ret);
	return r < 0 ? err_sys(e, r, "%s of /etc/os-release", key) : 0;
}
