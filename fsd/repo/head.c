#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "repo/head.h"
#include "repo/source.h"

#define REF_MAX    4096          /* a path of the kernel's */
#define PACKED_MAX (1ul << 20)   /* some 15,000 refs: more are git's to search */
#define BRANCH     "refs/heads/" /* what is there is a commit: git takes nothing else for a branch */

/* The N characters at TEXT are a commit's name: SHA-1's or SHA-256's. */
static bool is_name(const char *text, size_t n)
{
	return (n == 40 || n == 64) && strspn(text, "0123456789abcdef") >= n;
}

static int read_text(int dir, const char *path, size_t max, char **ret)
{
	struct stat st;
	_cleanup_close_ int fd = source_open(dir, path, &st);
	size_t n;

	return fd < 0 ? fd : io_read_fd(fd, max, ret, &n);
}

/* git touches none but the user's, unless it is told to (safe.directory in git-config(1)). */
static bool is_ours(int dir, const char *path)
{
	struct stat st;

	return fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
	       st.st_uid == geteuid();
}

/* A line of its own: "NAME REF". */
static int find_packed(int dir, const char *ref, char **ret)
{
	_cleanup_free_ char *text = NULL, *end = NULL;
	int r = read_text(dir, ".git/packed-refs", PACKED_MAX, &text);

	if (r == 0 && asprintf(&end, " %s\n", ref) < 0) {
		end = NULL;
		r = -ENOMEM;
	}
	for (const char *at = r == 0 ? strstr(text, end) : NULL; at; at = strstr(at + 1, end)) {
		const char *newline = memrchr(text, '\n', (size_t)(at - text)),
			   *line = newline ? newline + 1 : text;

		if (is_name(line, (size_t)(at - line)))
			return (*ret = strndup(line, (size_t)(at - line))) ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

int head_read(int dir, char **ret)
{
	static const char symbolic[] = "ref: " BRANCH;
	_cleanup_free_ char *head = NULL, *path = NULL, *text = NULL;
	const char *ref;
	struct stat st;
	int r = is_ours(dir, ".") && is_ours(dir, ".git") ? read_text(dir, ".git/HEAD", REF_MAX, &head)
							  : -ENOENT;

	if (r < 0)
		return -ENOENT;
	head[strcspn(head, "\n")] = '\0';
	if (is_name(head, strlen(head))) {
		*ret = TAKE_PTR(head);
		return 0;
	}
	/* No part of a ref begins with a dot (git-check-ref-format(1)): one that does stands for refs that are kept in another way (gitformat-reftable(5)). */
	if (strncmp(head, symbolic, strlen(symbolic)) != 0 || strstr(head, "/."))
		return -ENOENT;
	ref = head + strlen("ref: ");
	if (asprintf(&path, ".git/%s", ref) < 0) {
		path = NULL;
		return -ENOENT;
	}
	/* In this order: what is packed has its own file until it is. */
	if (read_text(dir, path, REF_MAX, &text) < 0)
		return fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT
			       ? find_packed(dir, ref, ret)
			       : -ENOENT;
	text[strcspn(text, "\n")] = '\0';
	if (!is_name(text, strlen(text)))
		return -ENOENT;
	*ret = TAKE_PTR(text);
	return 0;
}
