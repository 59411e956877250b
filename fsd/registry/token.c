#include <curl/curl.h>
#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "registry/http_redirect.h"
#include "registry/registry_state.h"
#include "registry/secret.h"
#include "registry/token.h"

#define TOKEN_BODY_MAX    (64 * 1024) /* as crane has it */
#define TOKEN_SECONDS_MIN 60          /* what the specification says of an answer that doesn't */
#define TOKEN_SECONDS_MAX 86400

int token_basic(const struct credentials *who, char **ret, struct err *e)
{
	_cleanup_secret_ char *plain = NULL, *coded = NULL;
	int n = asprintf(&plain, "%s:%s", who->user, who->password ? who->password : "");

	if (n < 0) {
		plain = NULL;
		return err_sys(e, -ENOMEM, "credentials");
	}
	if (secret_base64_encode(plain, (size_t)n, &coded) < 0 || asprintf(ret, "Basic %s", coded) < 0)
		return err_sys(e, -ENOMEM, "credentials");
	return 0;
}

/* The query, or the form, of a token's request. */
struct query {
	FILE *out;
	char *text;
	size_t n;
	const char *separator;
};

static void query_add(struct query *q, const char *key, const char *value)
{
	char *escaped;

	if (!value || !*value)
		return;
	escaped = curl_easy_escape(NULL, value, 0);
	if (escaped)
		fprintf(q->out, "%s%s=%s", q->separator, key, escaped);
	q->separator = "&";
	curl_free(escaped);
}

static void query_clear(struct query *q)
{
	if (q->out)
		fclose(q->out);
	secret_free(q->text);
}

static char *own_scope(const struct session *s)
{
	char *scope = NULL;

	if (!s->path || asprintf(&scope, "repository:%s:%s", s->path, s->actions) < 0)
		return NULL;
	return scope;
}

/* The challenged scope first: some read only one. */
static void add_scopes(struct query *q, const struct session *s, const struct challenge *c, bool form)
{
	_cleanup_free_ char *own = own_scope(s), *both = NULL;
	const char *asked = c->scope && *c->scope ? c->scope : own;
	bool two = asked && own && strcmp(asked, own) != 0;

	if (!two)
		query_add(q, "scope", asked);
	else if (form && asprintf(&both, "%s %s", asked, own) > 0)
		query_add(q, "scope", both);
	else if (!form) {
		query_add(q, "scope", asked);
		query_add(q, "scope", own);
	}
}

static int read_token(
	const struct http_answer *a, const char *realm, char **ret, uint64_t *ret_seconds, struct err *e)
{
	json_object *root = a->body ? json_tokener_parse(a->body) : NULL, *value = NULL;
	const char *token = NULL;
	int64_t seconds = TOKEN_SECONDS_MIN;

	if (json_object_is_type(root, json_type_object)) {
		if ((json_object_object_get_ex(root, "token", &value) &&
			    json_object_get_string_len(value) > 0) ||
			json_object_object_get_ex(root, "access_token", &value))
			token = json_object_is_type(value, json_type_string) ? json_object_get_string(value)
									     : NULL;
		if (json_object_object_get_ex(root, "expires_in", &value))
			seconds = json_object_get_int64(value);
	}
	/* It becomes a header: nothing that could end one. */
	if (token &&
		(!*token ||
			token[strspn(token,
				"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=")]))
		token = NULL;
	*ret = token ? strdup(token) : NULL;
	json_object_put(root);
	if (!*ret)
		return err_set(e, -EBADMSG, "%s answered without a token", realm);
	if (seconds < TOKEN_SECONDS_MIN)
		seconds = TOKEN_SECONDS_MIN;
	*ret_seconds = seconds < TOKEN_SECONDS_MAX ? (uint64_t)seconds : TOKEN_SECONDS_MAX;
	return 0;
}

static int ask(struct session *s, struct http *h, const struct http_request *request, const char *realm,
	const struct credentials *who, char **ret, uint64_t *ret_seconds, struct err *e)
{
	_cleanup_(http_answer_clear) struct http_answer a = {0};
	int r = http_run(h, request, &a, e);

	/* A connection that breaks is whose business the token is for. */
	for (int tries = 0; r == 0 && session_may_retry(tries, 0, &a); tries++) {
		r = session_wait(s, h, tries, &a, e);
		http_answer_clear(&a);
		if (r == 0)
			r = http_run(h, request, &a, e);
	}
	if (r < 0)
		return r;
	if (a.status == 200)
		return read_token(&a, realm, ret, ret_seconds, e);
	if ((a.status == 401 || a.status == 403) && who)
		return err_set(e, -EACCES,
			"%s refuses the login of \"%s\" (from %s): log in again: banger image login %s",
			s->host, who->user ? who->user : "", who->source ? who->source : "the command",
			s->host);
	if (a.status == 401 || a.status == 403)
		return err_set(e, -EACCES, "%s wants to know who asks: log in: banger image login %s",
			s->host, s->host);
	if (a.status == 429)
		return session_refused(s, realm, &a, e);
	return err_set(e, -EIO, "%s, which lets people into %s, answers with HTTP status %ld", realm, s->host,
		a.status);
}

static int by_form(struct session *s, struct http *h, const struct challenge *c,
	const struct credentials *who, char **ret, uint64_t *ret_seconds, struct err *e)
{
	_cleanup_(query_clear) struct query q = {.separator = ""};
	_cleanup_free_ char *realm = url_shown(c->realm);
	struct http_request request = {.endpoint = &s->endpoints[s->at],
		.method = "POST",
		.url = c->realm,
		.content_type = "application/x-www-form-urlencoded",
		.slow_sec = s->registry->limits.slow_sec,
		.body_max = TOKEN_BODY_MAX};

	q.out = open_memstream(&q.text, &q.n);
	if (!q.out)
		return err_sys(e, -ENOMEM, "token");
	query_add(&q, "grant_type", "refresh_token");
	query_add(&q, "refresh_token", who->identity_token);
	query_add(&q, "client_id", "banger");
	query_add(&q, "service", c->service);
	add_scopes(&q, s, c, true);
	if (fflush(q.out) != 0)
		return err_sys(e, -ENOMEM, "token");
	request.data = q.text;
	request.data_size = q.n;
	return ask(s, h, &request, realm, who, ret, ret_seconds, e);
}

static int by_query(struct session *s, struct http *h, const struct challenge *c,
	const struct credentials *who, char **ret, uint64_t *ret_seconds, struct err *e)
{
	_cleanup_(query_clear) struct query q = {.separator = strchr(c->realm, '?') ? "&" : "?"};
	_cleanup_free_ char *realm = url_shown(c->realm);
	_cleanup_secret_ char *header = NULL;
	struct http_request request = {.endpoint = &s->endpoints[s->at],
		.slow_sec = s->registry->limits.slow_sec,
		.body_max = TOKEN_BODY_MAX};

	q.out = open_memstream(&q.text, &q.n);
	if (!q.out)
		return err_sys(e, -ENOMEM, "token");
	fputs(c->realm, q.out);
	query_add(&q, "service", c->service);
	add_scopes(&q, s, c, false);
	if (who)
		query_add(&q, "account", who->user);
	if (fflush(q.out) != 0)
		return err_sys(e, -ENOMEM, "token");
	if (who && token_basic(who, &header, e) < 0)
		return -ENOMEM;
	request.url = q.text;
	request.authorization = header;
	return ask(s, h, &request, realm, who, ret, ret_seconds, e);
}

int token_get(struct session *s, struct http *h, const struct challenge *challenge,
	const struct credentials *who, char **ret_token, uint64_t *ret_seconds, struct err *e)
{
	const struct endpoint *at = &s->endpoints[s->at];
	int r;

	if (!challenge->realm)
		return err_set(e, -EBADMSG, "%s wants a token and doesn't say whose", at->base);
	r = url_may_follow(at, at->base, challenge->realm, e);
	if (r < 0)
		return r;
	if (who && who->identity_token)
		return by_form(s, h, challenge, who, ret_token, ret_seconds, e);
	return by_query(s, h, challenge, who, ret_token, ret_seconds, e);
}
