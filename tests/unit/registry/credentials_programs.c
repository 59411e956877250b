/* Programs that keep credentials. */
#include "tests/unit/registry/credentials.h"

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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_programs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_store, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
