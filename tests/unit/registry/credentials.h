/* Folders with files of credentials, and who one is by them. */
#ifndef BANGER_TESTS_CREDENTIALS_H
#define BANGER_TESTS_CREDENTIALS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sys/stat.h>
#include <openssl/evp.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "registry/credentials.h"
#include "registry/secret.h"

struct bench {
	char root[40];
	int fd;
	char *home, *run, *config, *docker, *other;
	struct credentials_places places;
};

static const char *const folders[] = {"state", "home", "home/.docker", "home/.config",
	"home/.config/containers", "run", "run/containers", "config", "config/containers", "docker", "bin"};

static inline char *below(const struct bench *b, const char *rest)
{
	char *path;

	assert_true(asprintf(&path, "%s/%s", b->root, rest) > 0);
	return path;
}

static inline int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	_cleanup_free_ char *path = NULL;

	assert_non_null(b);
	memcpy(b->root, "/tmp/banger-auth-XXXXXX", sizeof("/tmp/banger-auth-XXXXXX"));
	assert_non_null(mkdtemp(b->root));
	assert_int_equal(chmod(b->root, 0711), 0);
	b->fd = open(b->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < ELEMENTSOF(folders); i++)
		assert_int_equal(mkdirat(b->fd, folders[i], 0711), 0);
	b->home = below(b, "home");
	b->run = below(b, "run");
	b->config = below(b, "config");
	b->docker = below(b, "docker");
	b->other = below(b, "other.json");
	b->places.state_fd = openat(b->fd, "state", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b->places.home = b->home;
	assert_true(asprintf(&path, "%s/bin:/usr/bin:/bin", b->root) > 0);
	assert_int_equal(setenv("PATH", path, 1), 0);
	*state = b;
	return 0;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static inline int teardown(void **state)
{
	struct bench *b = *state;

	close_fd(b->places.state_fd);
	close_fd(b->fd);
	assert_int_equal(nftw(b->root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(b->home);
	free(b->run);
	free(b->config);
	free(b->docker);
	free(b->other);
	free(b);
	return 0;
}

static inline void put(struct bench *b, const char *name, const char *text, mode_t mode)
{
	_cleanup_close_ int fd = -EBADF;

	unlinkat(b->fd, name, 0);
	fd = openat(b->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(io_write_full(fd, text, strlen(text)), 0);
}

/* NAME as a file with the one entry KEY, for PLAIN ("user:password"). */
static inline void put_auth(struct bench *b, const char *name, const char *key, const char *plain)
{
	_cleanup_free_ char *text = NULL, *auth = calloc(1, strlen(plain) * 2 + 5);

	EVP_EncodeBlock((unsigned char *)auth, (const unsigned char *)plain, (int)strlen(plain));
	assert_true(asprintf(&text, "{\"auths\":{\"%s\":{\"auth\":\"%s\"}}}\n", key, auth) > 0);
	put(b, name, text, 0600);
}

/* What is found, as "user:password", "user:<token>" or "nobody"; "error CODE" with the text in *E. */
static inline char *found(struct bench *b, const char *host, const char *path, struct op *op, struct err *e)
{
	_cleanup_(credentials_freep) struct credentials *c = NULL;
	char *text;
	int r = credentials_find(&b->places, host, path, op, &c, e);

	if (r < 0) {
		assert_null(c);
		assert_true(asprintf(&text, "error %d", r) > 0);
		return text;
	}
	if (!c)
		return strdup("nobody");
	assert_non_null(c->source);
	if (c->identity_token) {
		assert_null(c->password);
		assert_true(asprintf(&text, "%s:<%s>", c->user ? c->user : "", c->identity_token) > 0);
	} else {
		assert_true(asprintf(&text, "%s:%s", c->user, c->password) > 0);
	}
	return text;
}

static inline void expect(struct bench *b, const char *host, const char *path, const char *want)
{
	_cleanup_err_ struct err e = {0};
	_cleanup_free_ char *got = found(b, host, path, NULL, &e);

	if (strcmp(got, want) != 0)
		fail_msg("%s/%s: %s (%s), not %s", host, path, got, e.text ? e.text : "-", want);
}

/* An error CODE whose text has each of the two in it. */
static inline void expect_error(struct bench *b, int code, const char *first, const char *second)
{
	_cleanup_(credentials_freep) struct credentials *c = NULL;
	_cleanup_err_ struct err e = {0};
	int r = credentials_find(&b->places, "h.example", "a/b", NULL, &c, &e);

	if (r != code || !strstr(err_text(&e), first) || !strstr(err_text(&e), second))
		fail_msg("%d (%s), not %d with '%s' and '%s'", r, err_text(&e), code, first, second);
	assert_null(c);
}

#endif
