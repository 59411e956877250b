/* The file of credentials that is banger's own. */
#include "tests/unit/registry/credentials.h"

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
		cmocka_unit_test_setup_teardown(test_own_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_writers, setup, teardown),
		cmocka_unit_test(test_base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
