#include "registry/auth.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "banger/io.h"
#include "banger/wait.h"
#include "registry/registry_state.h"
#include "registry/secret.h"
#include "registry/token.h"

/* A token is given up so long before it ends, for the request that carries it to arrive. */
#define MARGIN_SEC 10
/* User and password are the same for as long as the files say so: which are looked at again by then. */
#define BASIC_SEC       300
#define WAIT_SLICE_MSEC 100 /* how late a waiter notices that it was stopped */

static char *key_of(const struct session *s)
{
	char *key = NULL;

	if (asprintf(&key, "%s %s %s %s", s->endpoints[s->at].base, s->path ? s->path : "", s->actions,
		    s->from ? s->from : "") < 0)
		return NULL;
	return key;
}

static void grant_free(struct grant *g)
{
	secret_free(g->header);
	free(g->key);
	free(g);
}

/* With the lock held. */
static struct grant *find(struct registry *r, const char *key)
{
	struct grant *g;

	LIST_FOREACH (g, &r->grants, link)
		if (strcmp(g->key, key) == 0)
			return g;
	return NULL;
}

char *auth_known(const struct session *s)
{
	_cleanup_free_ char *key = key_of(s);
	struct registry *r = s->registry;
	char *header = NULL;
	struct grant *g;

	/* Who is to be tried is tried, whoever was let in before. */
	if (!key || s->as)
		return NULL;
	pthread_mutex_lock(&r->lock);
	g = find(r, key);
	if (g && g->until > io_now_usec())
		header = strdup(g->header);
	pthread_mutex_unlock(&r->lock);
	return header;
}

static void remember(struct session *s, const char *header, uint64_t seconds)
{
	_cleanup_free_ char *key = key_of(s), *copy = strdup(header);
	struct registry *r = s->registry;
	struct grant *g, *fresh = calloc(1, sizeof(*fresh));

	if (!key || !copy || !fresh || s->as) {
		free(fresh);
		return;
	}
	*fresh = (struct grant){.key = TAKE_PTR(key),
		.header = TAKE_PTR(copy),
		.until = io_now_usec() + (seconds - MARGIN_SEC) * 1000000};
	pthread_mutex_lock(&r->lock);
	g = find(r, fresh->key);
	if (g) {
		LIST_REMOVE(g, link);
		grant_free(g);
	}
	LIST_INSERT_HEAD(&r->grants, fresh, link);
	pthread_mutex_unlock(&r->lock);
}

void registry_forget(struct registry *r)
{
	pthread_mutex_lock(&r->lock);
	while (!LIST_EMPTY(&r->grants)) {
		struct grant *g = LIST_FIRST(&r->grants);

		LIST_REMOVE(g, link);
		grant_free(g);
	}
	pthread_mutex_unlock(&r->lock);
}

/* Whose credentials count: a mirror's are its own. */
static char *host_asked(const struct session *s)
{
	const struct endpoint *at = &s->endpoints[s->at];
	const char *host;

	if (!at->mirror)
		return strdup(s->host);
	host = strstr(at->base, "://");
	host = host ? host + 3 : at->base;
	return strndup(host, strcspn(host, "/"));
}

static int who_to_be(struct session *s, struct credentials **ret, struct err *e)
{
	_cleanup_free_ char *host = host_asked(s);

	if (!host)
		return err_sys(e, -ENOMEM, "credentials");
	return credentials_find(&s->registry->places, host, s->path ? s->path : "", s->op, ret, e);
}

static int basic(struct session *s, const struct credentials *who, char **ret, struct err *e)
{
	if (!who || !who->user)
		return err_set(e, -EACCES, "%s wants to know who asks: log in: banger image login %s",
			s->host, s->host);
	return token_basic(who, ret, e);
}

static const struct challenge *choose(const struct challenges *list)
{
	const struct challenge *found = NULL;

	for (size_t i = 0; i < list->count; i++)
		if (!found || (found->scheme == CHALLENGE_BASIC && list->list[i].scheme == CHALLENGE_BEARER))
			found = &list->list[i];
	return found;
}

static int obtain(struct session *s, struct http *h, const struct challenge *challenge, char **ret,
	uint64_t *ret_seconds, struct err *e)
{
	_cleanup_(credentials_freep) struct credentials *found = NULL;
	_cleanup_free_ char *token = NULL;
	const struct credentials *who = s->as;
	int r = 0;

	if (!who) {
		r = who_to_be(s, &found, e);
		who = found;
	}
	if (r < 0)
		return r;
	if (challenge->scheme == CHALLENGE_BASIC) {
		*ret_seconds = BASIC_SEC;
		return basic(s, who, ret, e);
	}
	r = token_get(s, h, challenge, who, &token, ret_seconds, e);
	if (r == 0 && asprintf(ret, "Bearer %s", token) < 0)
		r = err_sys(e, -ENOMEM, "token");
	return r;
}

/* With the lock held. */
static bool is_renewed(const struct registry *r, const char *key)
{
	const struct renewal *one;

	LIST_FOREACH (one, &r->renewals, link)
		if (strcmp(one->key, key) == 0)
			return true;
	return false;
}

/* One at a time asks for what ONE's key is granted; the others wait for what he gets, as long as nobody stops them. */
static int renewal_begin(struct registry *r, struct http *h, struct renewal *one, struct err *e)
{
	int code = 0;

	pthread_mutex_lock(&r->lock);
	while (code == 0 && is_renewed(r, one->key)) {
		wait_msec(&r->renewed, &r->lock, WAIT_SLICE_MSEC);
		code = http_wait(h, 0, e);
	}
	if (code == 0)
		LIST_INSERT_HEAD(&r->renewals, one, link);
	pthread_mutex_unlock(&r->lock);
	return code;
}

static void renewal_end(struct registry *r, struct renewal *one)
{
	pthread_mutex_lock(&r->lock);
	LIST_REMOVE(one, link);
	pthread_cond_broadcast(&r->renewed);
	pthread_mutex_unlock(&r->lock);
}

int auth_renew(struct session *s, struct http *h, const struct challenges *challenges, const char *used,
	char **ret, struct err *e)
{
	const struct challenge *challenge = choose(challenges);
	_cleanup_free_ char *known = NULL, *header = NULL, *key = key_of(s);
	struct renewal renewal = {.key = key};
	uint64_t seconds = 0;
	int r = 0;

	if (!challenge)
		return err_set(e, -EACCES, "%s wants a login of a kind that banger doesn't know", s->host);
	if (!key)
		return err_sys(e, -ENOMEM, "credentials");
	r = renewal_begin(s->registry, h, &renewal, e);
	if (r < 0)
		return r;
	known = auth_known(s);
	if (known && (!used || strcmp(known, used) != 0)) {
		header = TAKE_PTR(known);
	} else {
		r = obtain(s, h, challenge, &header, &seconds, e);
		if (r == 0)
			remember(s, header, seconds);
	}
	renewal_end(s->registry, &renewal);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(header);
	return 0;
}
