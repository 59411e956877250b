/* Who one is for a registry: the order of files and keys, and what is malformed. */
#include "tests/unit/registry/credentials.h"

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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(test_passwords, setup, teardown),
		cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unreadable, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
