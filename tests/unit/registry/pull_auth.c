/* Pulls where the registry wants to know who asks: tokens, passwords, logins, and realms that lie. */
#include "lib/pull_bench.h"

static void test_token(void **state)
{
	static const struct {
		const char *challenge, *reply, *query;
	} cases[] = {
		{CHALLENGE ",service=\"reg.example\",scope=\"repository:team/app:pull\"\r\n",
			"{\"token\":\"t1\"}",
			"/token?service=reg.example&scope=repository%3Ateam%2Fapp%3Apull"},
		{CHALLENGE "\r\n", "{\"access_token\":\"t1\",\"expires_in\":300}",
			"/token?scope=repository%3Ateam%2Fapp%3Apull"},
		{CHALLENGE ",service=\"a b&c=d\"\r\n", "{\"token\":\"\",\"access_token\":\"t1\"}",
			"/token?service=a%20b%26c%3Dd&scope=repository%3Ateam%2Fapp%3Apull"},
		{CHALLENGE ",scope=\"other\"\r\n",
			"{\"token\":\"t1\",\"access_token\":\"no\",\"expires_in\":9223372036854775807}",
			"/token?scope=other&scope=repository%3Ateam%2Fapp%3Apull"},
		{"WWW-Authenticate: Bearer realm=\"http://%s/token?a=b\"\r\n", "{\"token\":\"t1\"}",
			"/token?a=b&scope=repository%3Ateam%2Fapp%3Apull"},
		{"WWW-Authenticate: Negotiate, Basic realm=\"x, y\", Bearer realm=\"http://%s/token\"\r\n",
			"{\"token\":\"t1\",\"expires_in\":-5}",
			"/token?scope=repository%3Ateam%2Fapp%3Apull"},
		{"WWW-Authenticate: Basic realm=\"x\"\r\nWWW-Authenticate: bEARER "
		 "Realm=\"http://%s/token\"\r\n",
			"{\"token\":\"t1\"}", "/token?scope=repository%3Ateam%2Fapp%3Apull"},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct bench *b = i ? again(state) : *state;

		want_token(b, cases[i].challenge, cases[i].reply);
		scripted_rule(b->server, (struct scripted_rule){.path = TAG,
						 .authorization = "Bearer t1",
						 .status = 200,
						 .headers = TYPE,
						 .body = b->manifest.text});
		serve(b);
		assert_pulled(b);
		assert_int_equal(scripted_count(b->server, "/token"), 1);
		assert_string_equal(scripted_seen(b->server, "/token", 1).target, cases[i].query);
		assert_null(scripted_seen(b->server, "/token", 1).authorization);
		assert_string_equal(
			scripted_seen(b->server, b->layers[2].path, 1).authorization, "Bearer t1");
	}
}

static void test_token_renewed(void **state)
{
	struct bench *b = *state;

	scripted_rule(b->server,
		(struct scripted_rule){
			.path = "/token", .from = 1, .to = 1, .status = 200, .body = "{\"token\":\"t1\"}"});
	want_token(b, CHALLENGE "\r\n", "{\"token\":\"t2\"}");
	for (size_t i = 0; i < LAYERS; i++)
		scripted_rule(b->server, (struct scripted_rule){.path = b->layers[i].path,
						 .authorization = "Bearer t1",
						 .status = 401,
						 .headers = CHALLENGE ",error=\"invalid_token\"\r\n"});
	serve(b);
	assert_pulled(b);
	/* Once for all of them, side by side as they are. */
	assert_int_equal(scripted_count(b->server, "/token"), 2);
	/* Those that knew of it already needn't have tried the old one. */
	assert_string_equal(
		scripted_seen(b->server, b->layers[0].path, scripted_count(b->server, b->layers[0].path))
			.authorization,
		"Bearer t2");
}

static void test_insufficient_scope(void **state)
{
	struct bench *b = *state;

	scripted_rule(b->server,
		(struct scripted_rule){
			.path = "/token", .from = 1, .to = 1, .status = 200, .body = "{\"token\":\"t1\"}"});
	want_token(b, CHALLENGE ",scope=\"small\"\r\n", "{\"token\":\"t2\"}");
	scripted_rule(
		b->server, (struct scripted_rule){.path = TAG,
				   .authorization = "Bearer t1",
				   .status = 401,
				   .headers = CHALLENGE ",scope=\"large\",error=\"insufficient_scope\"\r\n"});
	serve(b);
	assert_pulled(b);
	assert_string_equal(scripted_seen(b->server, "/token", 2).target,
		"/token?scope=large&scope=repository%3Ateam%2Fapp%3Apull");
	assert_int_equal(scripted_count(b->server, "/token"), 2);
}

/* Never enough: asked for once more, and no more. */
static void test_insufficient_for_ever(void **state)
{
	struct bench *b = *state;

	want_token(b, CHALLENGE ",scope=\"small\"\r\n", "{\"token\":\"t1\"}");
	scripted_rule(
		b->server, (struct scripted_rule){.status = 401,
				   .headers = CHALLENGE ",scope=\"l\",error=\"insufficient_scope\"\r\n"});
	assert_refused(b, -EACCES, "banger image login");
	assert_true(scripted_count(b->server, NULL) <= 6);
	assert_int_equal(count_whole(b), 0);
}

static void test_token_login(void **state)
{
	struct bench *b = *state;

	log_in(b, "me:secret:word");
	scripted_rule(b->server, (struct scripted_rule){.path = "/token",
					 .authorization = "Basic bWU6c2VjcmV0OndvcmQ=",
					 .status = 200,
					 .body = "{\"token\":\"t1\"}"});
	scripted_rule(b->server, (struct scripted_rule){.path = "/token", .status = 401});
	scripted_rule(b->server,
		(struct scripted_rule){.authorization = "", .status = 401, .headers = CHALLENGE "\r\n"});
	serve(b);
	assert_pulled(b);
	assert_non_null(strstr(scripted_seen(b->server, "/token", 1).target, "&account=me"));
	assert_null(strstr(scripted_seen(b->server, "/token", 1).target, "secret"));

	/* Somebody else is nobody there. */
	b = again(state);
	log_in(b, "me:wrong");
	scripted_rule(b->server, (struct scripted_rule){.path = "/token", .status = 401});
	scripted_rule(b->server, (struct scripted_rule){.status = 401, .headers = CHALLENGE "\r\n"});
	assert_refused(b, -EACCES, "refuses the login of \"me\"");
	assert_non_null(strstr(err_text(&b->e), format(b, "banger image login %s", b->host)));
	assert_null(strstr(err_text(&b->e), "wrong"));
	assert_int_equal(scripted_count(b->server, NULL), 2);
}

static void test_identity_token(void **state)
{
	struct bench *b = *state;

	put_auth(b, format(b, "{\"auths\":{\"%s\":{\"identitytoken\":\"re&fresh\"}}}", b->host));
	scripted_rule(b->server, (struct scripted_rule){.path = "/token",
					 .method = "POST",
					 .status = 200,
					 .body = "{\"access_token\":\"t1\"}"});
	scripted_rule(b->server,
		(struct scripted_rule){
			.authorization = "", .status = 401, .headers = CHALLENGE ",service=\"s\"\r\n"});
	serve(b);
	assert_pulled(b);
	assert_string_equal(scripted_seen(b->server, "/token", 1).body,
		"grant_type=refresh_token&refresh_token=re%26fresh&client_id=banger&service=s&scope="
		"repository%3Ateam%2Fapp%3Apull");
	assert_null(scripted_seen(b->server, "/token", 1).authorization);
}

static void test_basic(void **state)
{
	struct bench *b = *state;
	const char *challenge = "WWW-Authenticate: Negotiate abc=, Basic realm=\"x\"\r\n";

	log_in(b, "me:word");
	scripted_rule(
		b->server, (struct scripted_rule){.authorization = "", .status = 401, .headers = challenge});
	serve(b);
	assert_pulled(b);
	assert_string_equal(scripted_seen(b->server, TAG, 2).authorization, "Basic bWU6d29yZA==");
	/* From then on it says at once who it is. */
	assert_int_equal(scripted_count(b->server, NULL), 3 + LAYERS);

	b = again(state);
	scripted_rule(b->server, (struct scripted_rule){.status = 401, .headers = challenge});
	assert_refused(b, -EACCES, format(b, "banger image login %s", b->host));
	assert_int_equal(scripted_count(b->server, NULL), 1);

	b = again(state);
	log_in(b, "me:wrong");
	scripted_rule(b->server, (struct scripted_rule){.status = 401, .headers = challenge});
	assert_refused(b, -EACCES, format(b, "banger image login %s", b->host));
	assert_int_equal(scripted_count(b->server, NULL), 2);
	/* Corrected elsewhere, it counts at once. */
	log_in(b, "me:word");
	assert_int_equal(pull(b), -EACCES);
	assert_string_equal(scripted_seen(b->server, TAG, 4).authorization, "Basic bWU6d29yZA==");
}

static void test_refused_for_ever(void **state)
{
	static const char *const challenges[] = {CHALLENGE "\r\n", "WWW-Authenticate: Basic realm=x\r\n",
		"WWW-Authenticate: Digest realm=x\r\n", "WWW-Authenticate: \"\r\n", "",
		CHALLENGE "\r\n" CHALLENGE "\r\n" CHALLENGE "\r\n"};

	for (size_t i = 0; i < ELEMENTSOF(challenges); i++) {
		struct bench *b = i ? again(state) : *state;

		log_in(b, "me:word");
		scripted_rule(
			b->server, (struct scripted_rule){
					   .path = "/token", .status = 200, .body = "{\"token\":\"t1\"}"});
		scripted_rule(b->server, (struct scripted_rule){.status = 401, .headers = challenges[i]});
		assert_refused(b, -EACCES, "banger image login");
		assert_true(scripted_count(b->server, NULL) <= 4);
		assert_int_equal(count_whole(b), 0);
	}
}

static void test_hostile_realm(void **state)
{
	static const struct {
		const char *realm;
		int code;
	} cases[] = {
		{"file:///etc/passwd", -EPERM},
		{"ftp://127.0.0.1/token", -EPERM},
		{"gopher://127.0.0.1:6379/_FLUSHALL", -EPERM},
		{"not an address", -EPERM},
		{"http://[::1", -EPERM},
		{"/token", -EPERM},
		{"", -EPERM},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct bench *b = i ? again(state) : *state;

		log_in(b, "me:word");
		scripted_rule(
			b->server, (struct scripted_rule){.status = 401,
					   .headers = format(b, "WWW-Authenticate: Bearer realm=\"%s\"\r\n",
						   cases[i].realm)});
		assert_int_equal(pull(b), cases[i].code);
		assert_int_equal(scripted_count(b->server, NULL), 1);
		assert_int_equal(count_whole(b), 0);
	}
}

static void test_token_answers(void **state)
{
	static const struct {
		int status;
		const char *body;
		int code;
	} cases[] = {
		{200, "", -EBADMSG},
		{200, "{}", -EBADMSG},
		{200, "[]", -EBADMSG},
		{200, "{\"token\":5}", -EBADMSG},
		{200, "{\"token\":\"a\\r\\nHost: evil\"}", -EBADMSG},
		{200, "<html>", -EBADMSG},
		{404, "{}", -EIO},
		{400, "{}", -EIO},
		{302, "{}", -EIO},
		{401, "{}", -EACCES},
	};

	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct bench *b = i ? again(state) : *state;

		scripted_rule(b->server,
			(struct scripted_rule){
				.path = "/token", .status = cases[i].status, .body = cases[i].body});
		scripted_rule(b->server, (struct scripted_rule){.status = 401, .headers = CHALLENGE "\r\n"});
		assert_int_equal(pull(b), cases[i].code);
		assert_int_equal(scripted_count(b->server, NULL), 2);
	}
}

/* A realm that doesn't answer holds up nobody who asks elsewhere, and nobody who stops. */
static void test_slow_realm(void **state)
{
	struct bench *b = *state;
	struct puller one, two;
	uint64_t began;

	be_patient(b);
	scripted_rule(b->server, (struct scripted_rule){.path = "/token", .gate = b->server->stop});
	scripted_rule(b->server, (struct scripted_rule){.status = 401, .headers = CHALLENGE "\r\n"});
	want_token(b, CHALLENGE "\r\n", "");
	scripted_rule(b->other,
		(struct scripted_rule){.path = "/token", .status = 200, .body = "{\"token\":\"t1\"}"});
	scripted_rule(b->other,
		(struct scripted_rule){.authorization = "", .status = 401, .headers = CHALLENGE "\r\n"});
	serve_at(b, b->other);
	puller_start(&one, b, ":1");
	scripted_await(b->server, "/token", 1);
	puller_start(&two, b, ":1");
	scripted_await(b->server, TAG, 2);
	began = io_now_usec();
	op_cancel(two.op);
	assert_int_equal(puller_end(&two), -EINTR);
	b->host = b->other->host;
	assert_pulled(b);
	op_cancel(one.op);
	assert_int_equal(puller_end(&one), -EINTR);
	assert_true(io_now_usec() - began < 1000000);
}

static int login(struct bench *b, const char *user, const char *password)
{
	struct credentials c = {.user = (char *)user, .password = (char *)password};
	struct hosts_config hosts = {
		.insecure = "", .mirrors = format(b, "%s=http://%s", b->host, b->other->host)};

	err_clear(&b->e);
	return registry_login(b->registry, &hosts, b->host, &c, b->op, &b->e);
}

static void test_login(void **state)
{
	struct bench *b = *state;

	scripted_rule(b->server,
		(struct scripted_rule){
			.path = "/v2/", .authorization = "Basic bWU6d29yZA==", .status = 200, .body = "{}"});
	scripted_rule(b->server,
		(struct scripted_rule){.status = 401, .headers = "WWW-Authenticate: Basic realm=x\r\n"});
	assert_int_equal(login(b, "me", "word"), 0);
	assert_int_equal(login(b, "me", "other"), -EACCES);
	assert_non_null(strstr(err_text(&b->e), "\"me\""));
	assert_null(strstr(err_text(&b->e), "other"));
	/* What was tried is nothing that was granted. */
	assert_int_equal(pull(b), -EACCES);
	assert_null(scripted_seen(b->server, TAG, 1).authorization);
	/* No mirror hears a password. */
	assert_int_equal(scripted_count(b->other, NULL), 0);

	b = again(state);
	scripted_rule(b->server, (struct scripted_rule){.path = "/token",
					 .authorization = "Basic bWU6d29yZA==",
					 .status = 200,
					 .body = "{\"token\":\"t1\"}"});
	scripted_rule(b->server, (struct scripted_rule){.path = "/token", .status = 401});
	scripted_rule(b->server,
		(struct scripted_rule){
			.path = "/v2/", .authorization = "Bearer t1", .status = 200, .body = "{}"});
	scripted_rule(b->server, (struct scripted_rule){.status = 401, .headers = CHALLENGE "\r\n"});
	assert_int_equal(login(b, "me", "word"), 0);
	assert_int_equal(login(b, "me", "other"), -EACCES);
	assert_int_equal(login(b, "you", "word"), -EACCES);

	b = again(state);
	assert_int_equal(login(b, "me", "word"), -ENOENT);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_token),
		TEST(test_token_renewed),
		TEST(test_insufficient_scope),
		TEST(test_insufficient_for_ever),
		TEST(test_token_login),
		TEST(test_identity_token),
		TEST(test_basic),
		TEST(test_refused_for_ever),
		TEST(test_hostile_realm),
		TEST(test_token_answers),
		TEST(test_slow_realm),
		TEST(test_login),
	};

	return run_pulls(tests);
}
