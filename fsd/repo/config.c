#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <strings.h>

#include "banger/cleanup.h"
#include "repo/config.h"

/* What is taken over: extended regular expressions of git's, of names in lower case. */
#define TAKEN                                                                                                \
	"^(user\\.(name|email)|core\\.(autocrlf|eol|safecrlf|filemode|symlinks|ignorecase|"                  \
	"precomposeunicode)"                                                                                 \
	"|extensions\\.objectformat|i18n\\.[a-z]+encoding|remote\\..*\\.(url|fetch)|branch\\..*\\.(remote|"  \
	"merge))$"

/*
 * What the repository is to git in the guest and to git on the host, which looks at it through the tree. There its files have another owner and other
 * numbers: each would find all that the other had learned of them wrong, and read every file again.
 */
static const char fixed[] =
	"[core]\n\trepositoryformatversion = 1\n\tbare = false\n\tlogallrefupdates = true\n"
	"\tcheckStat = minimal\n";

/* As git-config(1) has a value: in quotes, these escaped. */
static void put_value(FILE *out, const char *value)
{
	putc('"', out);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			putc('\\', out);
		if (*value == '\n')
			fputs("\\n", out);
		else
			putc(*value, out);
	}
	putc('"', out);
}

/* A URL without who logs in with what: "https://me:token@host/x" is "https://host/x". ssh's user is part of the place. */
static void put_url(FILE *out, const char *url)
{
	const char *rest = strstr(url, "://"), *at, *slash;
	_cleanup_free_ char *clean = NULL;

	if (rest && strncasecmp(url, "http", 4) == 0) {
		rest += 3;
		slash = strchrnul(rest, '/');
		at = memrchr(rest, '@', (size_t)(slash - rest));
		if (at && asprintf(&clean, "%.*s%s", (int)(rest - url), url, at + 1) >= 0) {
			put_value(out, clean);
			return;
		}
		clean = NULL;
		if (at) {
			put_value(out, "");
			return;
		}
	}
	put_value(out, url);
}

/* "SECTION.NAME" or "SECTION.SUBSECTION.NAME", and its value. */
static void put_one(FILE *out, const char *key, const char *value)
{
	const char *first = strchr(key, '.'), *last = strrchr(key, '.');

	if (!first)
		return;
	fprintf(out, "[%.*s", (int)(first - key), key);
	if (last > first) {
		_cleanup_free_ char *sub = strndup(first + 1, (size_t)(last - first - 1));

		putc(' ', out);
		put_value(out, sub ? sub : "");
	}
	fprintf(out, "]\n\t%s = ", last + 1);
	if (strcmp(last, ".url") == 0)
		put_url(out, value);
	else
		put_value(out, value);
	putc('\n', out);
}

/* The repository's own, not the user's or the machine's. */
static bool is_local(const char *scope)
{
	return strcmp(scope, "local") == 0 || strcmp(scope, "worktree") == 0;
}

/* "file:PATH", as --show-origin says it. */
static bool is_from_outside(const struct scan *s, const char *scope, const char *origin)
{
	return is_local(scope) && (strncmp(origin, "file:", 5) != 0 || !scan_is_inside(s, origin + 5));
}

/* The next of what ends with NULs each, or NULL at the end. */
static char *next_word(char **at, const char *end)
{
	char *word = *at;

	if (word >= end)
		return NULL;
	*at = word + strlen(word) + 1;
	return word;
}

int config_for_guest(const struct scan *s, char **ret, size_t *ret_n, struct err *e)
{
	_cleanup_free_ char *out = NULL, *text = NULL;
	char *at, *scope, *origin, *key, *value;
	size_t n = 0, size = 0;
	int exit_code;
	FILE *f;
	/* 1: none of them is set. */
	int r = git_run(&s->git,
		(const char *const[]){
			"config", "-z", "--show-scope", "--show-origin", "--get-regexp", TAKEN, NULL},
		NULL, 0, &out, &n, &exit_code, e);

	if (r < 0)
		return r;
	f = open_memstream(&text, &size);
	if (!f)
		return err_sys(e, -ENOMEM, "git");
	fputs(fixed, f);
	at = exit_code == 0 ? out : out + n;
	/* "KEY\nVALUE"; a key alone is true. */
	while ((scope = next_word(&at, out + n)) && (origin = next_word(&at, out + n)) &&
		(key = next_word(&at, out + n))) {
		if (is_from_outside(s, scope, origin))
			continue;
		value = strchr(key, '\n');
		if (value)
			*value++ = '\0';
		put_one(f, key, value ? value : "true");
	}
	if (fclose(f) != 0)
		return err_sys(e, -ENOMEM, "git");
	*ret = TAKE_PTR(text);
	*ret_n = size;
	return 0;
}

int config_path(const struct scan *s, const char *key, char **ret, struct err *e)
{
	_cleanup_free_ char *out = NULL;
	char *at, *scope, *value, *last = NULL;
	size_t n = 0;
	int exit_code, r = git_run(&s->git,
			       (const char *const[]){
				       "config", "-z", "--show-scope", "--type=path", "--get-all", key, NULL},
			       NULL, 0, &out, &n, &exit_code, e);

	if (r < 0)
		return r;
	at = exit_code == 0 ? out : out + n;
	while ((scope = next_word(&at, out + n)) && (value = next_word(&at, out + n)))
		if (!is_local(scope) || scan_is_inside(s, value))
			last = value;
	*ret = strdup(last ? last : "");
	return *ret ? 0 : err_sys(e, -ENOMEM, "git");
}
