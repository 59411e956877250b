/* Who one is for a registry: the order of files and keys, programs that keep credentials, and banger's own file. */
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

static char *below(const struct bench *b, const char *rest)
{
	char *path;

	assert_true(asprintf(&path, "%s/%s", b->root, rest) > 0);
	return path;
}

static int setup(void **state)
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

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int teardown(void **state)
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

static void put(struct bench *b, const char *name, const char *text, mode_t mode)
{
	_cleanup_close_ int fd = -EBADF;

	unlinkat(b->fd, name, 0);
	fd = openat(b->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(io_write_full(fd, text, strlen(text)), 0);
}

/* NAME as a file with the one entry KEY, for PLAIN ("user:password"). */
static void put_auth(struct bench *b, const char *name, const char *key, const char *plain)
{
	_cleanup_free_ char *text = NULL, *auth = calloc(1, strlen(plain) * 2 + 5);

	EVP_EncodeBlock((unsigned char *)auth, (const unsigned char *)plain, (int)strlen(plain));
	assert_true(asprintf(&text, "{\"auths\":{\"%s\":{\"auth\":\"%s\"}}}\n", key, auth) > 0);
	put(b, name, text, 0600);
}

/* What is found, as "user:password", "user:<token>" or "nobody"; "error CODE" with the text in *E. */
static char *found(struct bench *b, const char *host, const char *path, struct op *op, struct err *e)
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

static void expect(struct bench *b, const char *host, const char *path, const char *want)
{
	_cleanup_err_ struct err e = {0};
	_cleanup_free_ char *got = found(b, host, path, NULL, &e);

	if (strcmp(got, want) != 0)
		fail_msg("%s/%s: %s (%s), not %s", host, path, got, e.text ? e.text : "-", want);
}

/* An error CODE whose text has each of the two in it. */
static void expect_error(struct bench *b, int code, const char *first, const char *second)
{
	_cleanup_(credentials_freep) struct credentials *c = NULL;
	_cleanup_err_ struct err e = {0};
	int r = credentials_find(&b->places, "h.example", "a/b", NULL, &c, &e);

	if (r != code || !strstr(err_text(&e), first) || !strstr(err_text(&e), second))
		fail_msg("%d (%s), not %d with '%s' and '%s'", r, err_text(&e), code, first, second);
	assert_null(c);
}

static void test_order(void **state)
{
	struct bench *b = *state;

	expect(b, "h.example", "a", "nobody");
	put(b, "home/.dockercfg", "{\"https://h.example/v1/\":{\"auth\":\"ZzpsZWdhY3k=\"}}", 0600);
	expect(b, "h.example", "a", "g:legacy");
	put_auth(b, "home/.docker/config.json", "h.example", "f:home");
	expect(b, "h.example", "a", "f:home");
	put_auth(b, "home/.config/containers/auth.json", "h.example", "e:podman");
	expect(b, "h.example", "a", "e:podman");

	/* Who sets the one folder moves the file out of the other. */
	b->places.docker_config = b->docker;
	b->places.config_home = b->config;
	expect(b, "h.example", "a", "g:legacy");
	put_auth(b, "docker/config.json", "h.example", "d:docker");
	expect(b, "h.example", "a", "d:docker");
	put_auth(b, "config/containers/auth.json", "h.example", "c:config");
	expect(b, "h.example", "a", "c:config");
	b->places.runtime_dir = b->run;
	expect(b, "h.example", "a", "c:config");
	put_auth(b, "run/containers/auth.json", "h.example", "b:run");
	expect(b, "h.example", "a", "b:run");
	expect(b, "other.example", "a", "nobody");

	b->places.auth_file = b->other;
	expect(b, "h.example", "a", "nobody");
	put_auth(b, "other.json", "h.example", "o:other");
	expect(b, "h.example", "a", "o:other");
	put_auth(b, "state/auth.json", "h.example", "a:own");
	expect(b, "h.example", "a", "a:own");
}

static void test_keys(void **state)
{
	struct bench *b = *state;

	put(b, "home/.docker/config.json",
		"{\"auths\":{\"h.example\":{\"auth\":\"aG9zdDox\"},\"h.example/ns\":{\"auth\":\"bnM6MQ==\"},"
		"\"h.example/ns/app\":{\"auth\":\"YXBwOjE=\"},\"h.example/marked\":{},"
		"\"https://u.example/v2/x\":{\"auth\":\"dXJsOjE=\"},\"p.example/ns\":{\"auth\":\"cGF0aDox\"},"
		"\"https://index.docker.io/v1/\":{\"auth\":\"aHViOjE=\"},\"n.example\":null,"
		"\"plain.example\":{\"username\":\"me\",\"password\":\"x\"},"
		"\"t.example\":{\"auth\":\"dG9rOg==\",\"identitytoken\":\"secret\"}}}",
		0600);
	expect(b, "h.example", "ns/app", "app:1");
	expect(b, "h.example", "ns/app/deeper", "app:1");
	expect(b, "h.example", "ns/application", "ns:1");
	expect(b, "h.example", "nsx/app", "host:1");
	expect(b, "h.example", "", "host:1");
	expect(b, "h.example", "marked/x", "nobody");
	expect(b, "h.example:5000", "ns/app", "nobody");
	expect(b, "u.example", "a", "url:1");
	/* What is one path's is not the host's. */
	expect(b, "p.example", "ns/a", "path:1");
	expect(b, "p.example", "a", "nobody");
	expect(b, "docker.io", "library/alpine", "hub:1");
	expect(b, "registry-1.docker.io", "library/alpine", "hub:1");
	expect(b, "n.example", "a", "nobody");
	expect(b, "plain.example", "a", "me:x");
	expect(b, "t.example", "a", "tok:<secret>");

	put_auth(b, "state/auth.json", "docker.io", "exact:1");
	expect(b, "docker.io", "library/alpine", "exact:1");
	put_auth(b, "state/auth.json", "docker.io/library", "lib:1");
	expect(b, "docker.io", "library/alpine", "lib:1");
	expect(b, "docker.io", "user/app", "hub:1");

	/* The legacy file knows no paths. */
	put(b, "home/.dockercfg", "{\"l.example/v1/\":{\"auth\":\"bGVnOjE=\"}}", 0600);
	expect(b, "l.example", "a/b", "leg:1");
}

static void test_passwords(void **state)
{
	static const struct {
		const char *auth, *want;
	} rows[] = {
		{"dTphOmI6Yw==", "u:a:b:c"},
		{"dTo=", "u:"},
		{"dTpwAA==", "u:p"}, /* padded by a NUL */
		{"Og==", "nobody"},
		{"", "nobody"},
	};
	static const char *const bad[] = {"dTpw!", "dTpw=", "dTo", "dTo==", "====", "=", " dTpw", "dTpw\\n",
		"d=pw", "bm9jb2xvbg==" /* "nocolon" */, "dTphAGI=" /* a NUL within */,
		"dQA6cA==" /* and in the name */};
	struct bench *b = *state;

	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		_cleanup_free_ char *text = NULL;

		assert_true(
			asprintf(&text, "{\"auths\":{\"h.example\":{\"auth\":\"%s\"}}}", rows[i].auth) > 0);
		put(b, "home/.docker/config.json", text, 0600);
		expect(b, "h.example", "a", rows[i].want);
	}
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		_cleanup_free_ char *text = NULL;

		assert_true(asprintf(&text, "{\"auths\":{\"h.example\":{\"auth\":\"%s\"}}}", bad[i]) > 0);
		put(b, "home/.docker/config.json", text, 0600);
		expect_error(b, -EBADMSG, "home/.docker/config.json", "\"h.example\"");
		/* Another host's entry harms nobody. */
		expect(b, "o.example", "a", "nobody");
	}
}

static void test_malformed(void **state)
{
	static const char *const bad[] = {"{", "[]", "null", "\"x\"", "{} x", "{\"auths\":[]}",
		"{\"auths\":\"x\"}", "{\"credHelpers\":[]}", "{\"credsStore\":{}}", "{\"credsStore\":7}",
		"{\"auths\":{\"h.example\":[]}}", "{\"auths\":{\"h.example\":{\"auth\":7}}}",
		"{\"auths\":{\"h.example\":{\"identitytoken\":[]}}}",
		"{\"auths\":{\"h.example\":{\"identitytoken\":\"a\\u0000b\"}}}", "{\"a\":\"\xff\"}",
		"{\"a\":[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]}"};
	static const char *const empty[] = {"", " \n", "{}", "{\"auths\":null}\n", "{\"auths\":{}}"};
	struct bench *b = *state;

	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		put(b, "home/.docker/config.json", bad[i], 0600);
		expect_error(b, -EBADMSG, "credentials for h.example", "home/.docker/config.json");
	}
	for (size_t i = 0; i < ELEMENTSOF(empty); i++) {
		put(b, "home/.docker/config.json", empty[i], 0600);
		expect(b, "h.example", "a", "nobody");
	}
	/* What a file holds doesn't break a message's line. */
	_cleanup_(credentials_freep) struct credentials *c = NULL;
	_cleanup_err_ struct err e = {0};

	put(b, "home/.docker/config.json", "{\"auths\":{\"http://h.example/a\\nb\":7}}", 0600);
	assert_int_equal(credentials_find(&b->places, "h.example", "a", NULL, &c, &e), -EBADMSG);
	assert_null(strchr(err_text(&e), '\n'));
	assert_non_null(strstr(err_text(&e), "\"http://h.example/a\""));

	put(b, "state/auth.json", "{", 0600);
	expect_error(b, -EBADMSG, "auth.json", "no JSON");
}

static void test_unreadable(void **state)
{
	_cleanup_free_ char *big = malloc((1u << 20) + 2);
	struct bench *b = *state;
	bool root = geteuid() == 0;

	put_auth(b, "home/.docker/config.json", "h.example", "u:p");
	assert_int_equal(fchmodat(b->fd, "home/.docker/config.json", 0, 0), 0);
	if (root)
		assert_int_equal(seteuid(65534), 0);
	expect_error(b, -EACCES, "credentials for h.example", "home/.docker/config.json");
	if (root)
		assert_int_equal(seteuid(0), 0);

	memset(big, ' ', (1u << 20) + 1);
	big[(1u << 20) + 1] = '\0';
	put(b, "home/.docker/config.json", big, 0600);
	expect_error(b, -EFBIG, "home/.docker/config.json", "longer than");

	/* Neither a folder nor a FIFO that nobody writes to. */
	assert_int_equal(unlinkat(b->fd, "home/.docker/config.json", 0), 0);
	assert_int_equal(mkdirat(b->fd, "home/.docker/config.json", 0700), 0);
	expect_error(b, -EBADMSG, "home/.docker/config.json", "regular");
	assert_int_equal(unlinkat(b->fd, "home/.docker/config.json", AT_REMOVEDIR), 0);
	assert_int_equal(mkfifoat(b->fd, "home/.docker/config.json", 0600), 0);
	expect_error(b, -EBADMSG, "home/.docker/config.json", "regular");

	/* A file where a folder should be: there is nothing in it. */
	put(b, "docker/plain", "", 0600);
	free(b->docker);
	b->docker = below(b, "docker/plain");
	b->places.docker_config = b->docker;
	expect(b, "h.example", "a", "nobody");
}

static const char program[] =
	"#!/bin/sh\n"
	"[ \"$#\" = 1 ] && [ \"$1\" = get ] || exit 9\n"
	"read -r server\n"
	"case $server in\n"
	"h.example) echo '{\"ServerURL\":\"h\",\"Username\":\"prog\",\"Secret\":\"a:b\"}' ;;\n"
	"t.example) echo '{\"Username\":\"<token>\",\"Secret\":\"id\"}' ;;\n"
	"env.example) echo \"{\\\"Username\\\":\\\"$HOME\\\",\\\"Secret\\\":\\\"$OTHER\\\"}\" ;;\n"
	"bad.example) echo '{\"Username\":\"x\"}' ;;\n"
	"junk.example) echo 'hello' ;;\n"
	"fail.example) echo 'the keychain is locked'; exit 1 ;;\n"
	"hub.example|docker.io) echo '{\"Username\":\"hub\",\"Secret\":\"1\"}' ;;\n"
	"*) echo 'credentials not found in native keychain'; exit 1 ;;\n"
	"esac\n";

static void test_programs(void **state)
{
	struct bench *b = *state;
	_cleanup_free_ char *env = NULL;

	put(b, "bin/docker-credential-x", program, 0755);
	assert_int_equal(setenv("OTHER", "leaks", 1), 0);
	put(b, "home/.docker/config.json",
		"{\"credHelpers\":{\"h.example\":\"x\",\"t.example\":\"x\",\"bad.example\":\"x\",\"junk."
		"example\":\"x\","
		"\"fail.example\":\"x\",\"env.example\":\"x\",\"none.example\":\"x\",\"https://"
		"index.docker.io/v1/\":\"x\","
		"\"gone.example\":\"gone\",\"evil.example\":\"../x\",\"off.example\":\"\"},"
		"\"auths\":{\"h.example\":{\"auth\":\"aG9zdDox\"},\"none.example\":{\"auth\":\"aG9zdDox\"}}}",
		0600);
	expect(b, "h.example", "a", "prog:a:b");
	expect(b, "t.example", "a", ":<id>");
	expect(b, "none.example", "a", "host:1");
	expect(b, "docker.io", "library/a", "hub:1");
	expect(b, "off.example", "a", "nobody");
	expect(b, "elsewhere.example", "a", "nobody");
	assert_true(asprintf(&env, "%s:", b->home) > 0);
	expect(b, "env.example", "a", env);

	static const struct {
		const char *host;
		int code;
		const char *text;
	} rows[] = {
		{"bad.example", -EBADMSG, "Secret"},
		{"junk.example", -EBADMSG, "no JSON"},
		{"fail.example", -EIO, "the keychain is locked"},
		{"gone.example", -EIO, "docker-credential-gone"},
		{"evil.example", -EBADMSG, "letters, digits"},
	};
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		_cleanup_(credentials_freep) struct credentials *c = NULL;
		_cleanup_err_ struct err e = {0};

		assert_int_equal(credentials_find(&b->places, rows[i].host, "a", NULL, &c, &e), rows[i].code);
		if (!strstr(err_text(&e), rows[i].text) || !strstr(err_text(&e), "home/.docker/config.json"))
			fail_msg("%s: %s", rows[i].host, err_text(&e));
	}
}

static void test_store(void **state)
{
	struct bench *b = *state;
	_cleanup_(credentials_freep) struct credentials *c = NULL;

	put(b, "bin/docker-credential-x", program, 0755);
	put(b, "home/.docker/config.json",
		"{\"credsStore\":\"x\",\"credHelpers\":{\"own.example\":\"x\"},\"auths\":{\"h.example\":{},"
		"\"k.example\":{\"auth\":\"aG9zdDox\"}}}",
		0600);
	assert_int_equal(credentials_find(&b->places, "h.example", "a", NULL, &c, NULL), 0);
	assert_string_equal(c->source, "docker-credential-x");
	expect(b, "k.example", "a", "host:1");
	expect(b, "own.example", "a", "nobody");
	expect(b, "nobody.example", "a", "nobody");

	/* Without the program: missed by those alone who are logged in by it. */
	assert_int_equal(unlinkat(b->fd, "bin/docker-credential-x", 0), 0);
	expect_error(b, -EIO, "docker-credential-x", "home/.docker/config.json");
	expect(b, "k.example", "a", "host:1");
	expect(b, "nobody.example", "a", "nobody");
}

struct canceller {
	char *fifo;
	struct op *op;
};

static void *cancel_when_at_work(void *user)
{
	struct canceller *c = user;

	/* Opens when the program has opened the other end. */
	close_fd(open(c->fifo, O_RDONLY | O_CLOEXEC));
	op_cancel(c->op);
	return NULL;
}

static void test_cancel(void **state)
{
	struct bench *b = *state;
	struct canceller c = {.fifo = below(b, "fifo")};
	_cleanup_err_ struct err e = {0};
	_cleanup_free_ char *script = NULL, *got = NULL;
	struct ops *ops;
	pthread_t thread;

	assert_int_equal(mkfifo(c.fifo, 0600), 0);
	assert_true(asprintf(&script, "#!/bin/sh\n: > %s\nexec sleep 1000\n", c.fifo) > 0);
	put(b, "bin/docker-credential-slow", script, 0755);
	put(b, "home/.docker/config.json", "{\"credsStore\":\"slow\"}", 0600);
	assert_int_equal(ops_new(1, &ops, NULL), 0);
	assert_int_equal(op_begin(ops, "pull", "images/x", &c.op, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, cancel_when_at_work, &c), 0);
	got = found(b, "h.example", "a", c.op, &e);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(e.code, -EINTR);
	assert_non_null(strstr(err_text(&e), "docker-credential-slow: cancelled"));
	op_unref(c.op);
	ops_free(ops);
	free(c.fifo);
}

static int list_one(void *user, const char *host, const char *name)
{
	char **list = user, *longer;

	assert_true(asprintf(&longer, "%s%s=%s;", *list ? *list : "", host, name) > 0);
	free(*list);
	*list = longer;
	return 0;
}

static void expect_list(struct bench *b, const char *want)
{
	_cleanup_free_ char *list = NULL;

	assert_int_equal(credentials_each(&b->places, list_one, &list, NULL), 0);
	assert_string_equal(list ? list : "", want);
}

static int stop_at_once(void *user, const char *host, const char *name)
{
	(void)host, (void)name;
	++*(int *)user;
	return -ECANCELED;
}

static void test_own_file(void **state)
{
	struct credentials alice = {.user = (char *)"alice", .password = (char *)"p:w\"\\/\xc3\xa9"};
	struct credentials bob = {.user = (char *)"bob", .password = (char *)""};
	struct credentials token = {.identity_token = (char *)"tok"};
	struct bench *b = *state;
	struct stat st;
	int calls = 0;

	expect_list(b, "");
	assert_int_equal(credentials_forget(&b->places, "h.example", NULL), -ENOENT);
	assert_int_equal(faccessat(b->fd, "state/auth.json", F_OK, 0), -1);
	assert_int_equal(credentials_save(&b->places, "h.example", &alice, NULL), 0);
	assert_int_equal(fstatat(b->fd, "state/auth.json", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	expect(b, "h.example", "a/b", "alice:p:w\"\\/\xc3\xa9");
	assert_int_equal(credentials_save(&b->places, "index.docker.io", &bob, NULL), 0);
	assert_int_equal(credentials_save(&b->places, "t.example:5000", &token, NULL), 0);
	expect_list(b, "h.example=alice;docker.io=bob;t.example:5000=<token>;");
	expect(b, "docker.io", "library/a", "bob:");
	expect(b, "t.example:5000", "a", ":<tok>");
	assert_int_equal(credentials_save(&b->places, "h.example", &bob, NULL), 0);
	expect_list(b, "docker.io=bob;t.example:5000=<token>;h.example=bob;");
	assert_int_equal(credentials_each(&b->places, stop_at_once, &calls, NULL), -ECANCELED);
	assert_int_equal(calls, 1);
	assert_int_equal(credentials_forget(&b->places, "docker.io", NULL), 0);
	assert_int_equal(credentials_forget(&b->places, "docker.io", NULL), -ENOENT);
	expect_list(b, "t.example:5000=<token>;h.example=bob;");

	/* What others wrote stays, but for other names of the same. */
	put(b, "state/auth.json",
		"{\"kept\":{\"a\":[1]},\"auths\":{\"https://index.docker.io/v1/"
		"\":{\"auth\":\"eDp5\"},\"docker.io/ns\":{\"auth\":\"eDp5\"}}}",
		0600);
	assert_int_equal(credentials_save(&b->places, "docker.io", &bob, NULL), 0);
	expect_list(b, "docker.io/ns=x;docker.io=bob;");

	_cleanup_free_ char *text = NULL;
	assert_int_equal(io_read_file(b->places.state_fd, "auth.json", 4096, &text, NULL, NULL), 0);
	assert_non_null(strstr(text, "\"kept\""));

	/* One that can't be read is not written over. */
	put(b, "state/auth.json", "{\"auths\":", 0600);
	assert_int_equal(credentials_save(&b->places, "docker.io", &bob, NULL), -EBADMSG);
	assert_int_equal(credentials_forget(&b->places, "docker.io", NULL), -EBADMSG);
	assert_int_equal(credentials_each(&b->places, list_one, &text, NULL), -EBADMSG);
}

static void test_refused(void **state)
{
	struct bench *b = *state;
	static const struct credentials bad[] = {
		{.user = (char *)"a:b", .password = (char *)"p"},
		{.user = (char *)"", .password = (char *)"p"},
		{.user = (char *)"a"},
		{.password = (char *)"p"},
	};
	static const char *const hosts[] = {"", "a/b", "https://h.example", ".."};
	struct credentials good = {.user = (char *)"a", .password = (char *)"p"};

	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		assert_int_equal(credentials_save(&b->places, "h.example", &bad[i], NULL), -EINVAL);
	for (size_t i = 0; i < ELEMENTSOF(hosts); i++)
		assert_int_equal(credentials_save(&b->places, hosts[i], &good, NULL), -EINVAL);
	assert_int_equal(faccessat(b->fd, "state/auth.json", F_OK, 0), -1);
}

enum { WRITERS = 4, WRITES = 10 };

struct writer {
	struct bench *bench;
	unsigned number;
};

static void *write_some(void *user)
{
	struct writer *w = user;
	struct credentials c = {.user = (char *)"u", .password = (char *)"p"};

	for (unsigned i = 0; i < WRITES; i++) {
		_cleanup_free_ char *host = NULL;

		if (asprintf(&host, "h%u-%u.example", w->number, i) < 0 ||
			credentials_save(&w->bench->places, host, &c, NULL) < 0)
			return w;
	}
	return NULL;
}

static int count_one(void *user, const char *host, const char *name)
{
	(void)host, (void)name;
	++*(int *)user;
	return 0;
}

static void test_writers(void **state)
{
	struct writer writers[WRITERS];
	pthread_t threads[WRITERS];
	void *failed;
	int count = 0;

	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){.bench = *state, .number = i};
		assert_int_equal(pthread_create(&threads[i], NULL, write_some, &writers[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	assert_int_equal(credentials_each(&writers[0].bench->places, count_one, &count, NULL), 0);
	assert_int_equal(count, WRITERS * WRITES);
}

static void test_base64(void **state)
{
	static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
	static const char *const coded[] = {
		"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"}; /* RFC 4648 10 */

	(void)state;
	for (size_t i = 0; i < ELEMENTSOF(plain); i++) {
		_cleanup_free_ char *text = NULL, *data = NULL;
		size_t n;

		assert_int_equal(secret_base64_encode(plain[i], strlen(plain[i]), &text), 0);
		assert_string_equal(text, coded[i]);
		assert_int_equal(secret_base64_decode(text, strlen(text), &data, &n), 0);
		assert_int_equal(n, strlen(plain[i]));
		assert_string_equal(data, plain[i]);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(test_passwords, setup, teardown),
		cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unreadable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_programs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_store, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_own_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_writers, setup, teardown),
		cmocka_unit_test(test_base64),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
