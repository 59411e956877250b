#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "banger/cleanup.h"
#include "registry/http_redirect.h"

struct parts {
	CURLU *url;
	char *scheme, *host, *port;
};

static void parts_clear(struct parts *p)
{
	curl_free(p->scheme);
	curl_free(p->host);
	curl_free(p->port);
	curl_url_cleanup(p->url);
}

static int split(const char *text, struct parts *ret)
{
	size_t n;

	ret->url = curl_url();
	if (!ret->url || curl_url_set(ret->url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
		curl_url_get(ret->url, CURLUPART_SCHEME, &ret->scheme, 0) != CURLUE_OK ||
		curl_url_get(ret->url, CURLUPART_HOST, &ret->host, 0) != CURLUE_OK ||
		curl_url_get(ret->url, CURLUPART_PORT, &ret->port, CURLU_DEFAULT_PORT) != CURLUE_OK)
		return -EINVAL;
	n = strlen(ret->host);
	if (ret->host[0] == '[' && ret->host[n - 1] == ']') {
		memmove(ret->host, ret->host + 1, n - 2);
		ret->host[n - 2] = '\0';
	}
	return 0;
}

bool url_same_origin(const char *a, const char *b)
{
	_cleanup_(parts_clear) struct parts x = {0}, y = {0};

	return split(a, &x) == 0 && split(b, &y) == 0 && strcasecmp(x.scheme, y.scheme) == 0 &&
	       strcasecmp(x.host, y.host) == 0 && strcmp(x.port, y.port) == 0;
}

int url_may_follow(const struct endpoint *endpoint, const char *from, const char *url, struct err *e)
{
	_cleanup_(parts_clear) struct parts x = {0}, y = {0};
	_cleanup_free_ char *shown = url_shown(url);
	bool plain;

	if (split(from, &x) < 0 || split(url, &y) < 0)
		return err_set(e, -EPERM, "%s leads to what is no address", endpoint->base);
	plain = strcasecmp(y.scheme, "http") == 0;
	if (!plain && strcasecmp(y.scheme, "https") != 0)
		return err_set(
			e, -EPERM, "%s leads to %s, which is neither http nor https", endpoint->base, shown);
	if (plain && strcasecmp(x.scheme, "https") == 0 && !endpoint->insecure && !endpoint->try_http)
		return err_set(e, -EPERM, "%s leads from https to plain http, to %s", endpoint->base, shown);
	if (host_is_internal_address(y.host) && !host_is_internal_address(x.host) &&
		!host_is_loopback(x.host))
		return err_set(e, -EPERM, "%s leads to %s, an address of an internal network", endpoint->base,
			shown);
	return 0;
}

char *url_shown(const char *text)
{
	CURLU *url = curl_url();
	char *shown = NULL, *copy = NULL;

	if (url && curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK) {
		curl_url_set(url, CURLUPART_QUERY, NULL, 0);
		curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
		curl_url_set(url, CURLUPART_USER, NULL, 0);
		curl_url_set(url, CURLUPART_PASSWORD, NULL, 0);
		if (curl_url_get(url, CURLUPART_URL, &shown, 0) == CURLUE_OK)
			copy = strdup(shown);
		curl_free(shown);
	} else {
		copy = strdup("a malformed address");
	}
	curl_url_cleanup(url);
	return copy;
}
