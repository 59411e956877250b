#include <arpa/inet.h>
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

static bool is_http(const struct parts *p)
{
	return strcasecmp(p->scheme, "http") == 0 || strcasecmp(p->scheme, "https") == 0;
}

static int split(const char *text, struct parts *ret)
{
	size_t n;

	ret->url = curl_url();
	if (!ret->url || curl_url_set(ret->url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
		curl_url_get(ret->url, CURLUPART_SCHEME, &ret->scheme, 0) != CURLUE_OK)
		return -EINVAL;
	/* A file has no host. */
	if (!is_http(ret))
		return 0;
	if (curl_url_get(ret->url, CURLUPART_HOST, &ret->host, 0) != CURLUE_OK ||
		curl_url_get(ret->url, CURLUPART_PORT, &ret->port, CURLU_DEFAULT_PORT) != CURLUE_OK)
		return -EINVAL;
	n = strlen(ret->host);
	if (ret->host[0] == '[' && ret->host[n - 1] == ']') {
		memmove(ret->host, ret->host + 1, n - 2);
		ret->host[n - 2] = '\0';
	} else if (n > 1 && ret->host[n - 1] == '.') {
		ret->host[n - 1] = '\0';
	}
	return 0;
}

bool url_same_origin(const char *a, const char *b)
{
	_cleanup_(parts_clear) struct parts x = {0}, y = {0};

	return split(a, &x) == 0 && split(b, &y) == 0 && is_http(&x) && is_http(&y) &&
	       strcasecmp(x.scheme, y.scheme) == 0 && strcasecmp(x.host, y.host) == 0 &&
	       strcmp(x.port, y.port) == 0;
}

/* Name or address of this host, and what is next to it: link-local, where clouds keep their secrets. */
static bool is_nearest(const char *host)
{
	struct in6_addr v6;
	struct in_addr v4;
	unsigned top;

	if (host_is_loopback(host))
		return true;
	if (inet_pton(AF_INET6, host, &v6) == 1) {
		if (!IN6_IS_ADDR_V4MAPPED(&v6))
			return IN6_IS_ADDR_UNSPECIFIED(&v6) || IN6_IS_ADDR_LINKLOCAL(&v6);
		memcpy(&v4, v6.s6_addr + 12, sizeof(v4));
	} else if (!inet_aton(host, &v4)) {
		return false;
	}
	top = ntohl(v4.s_addr) >> 16;
	return top >> 8 == 0 || top >> 8 == 127 || top == 0xa9fe;
}

static bool is_internal(const char *host)
{
	return host_is_internal_address(host) || host_is_loopback(host);
}

/* This host may lead anywhere, itself to itself; an internal one to internal ones, but to nobody's own. */
static bool may_lead_inside(const char *from, const char *to)
{
	return host_is_loopback(from) || strcasecmp(from, to) == 0 ||
	       (host_is_internal_address(from) && !is_nearest(to));
}

int url_may_follow(const struct endpoint *endpoint, const char *from, const char *url, struct err *e)
{
	_cleanup_(parts_clear) struct parts x = {0}, y = {0};
	_cleanup_free_ char *shown = url_shown(url);
	bool plain;

	if (split(from, &x) < 0 || !is_http(&x) || split(url, &y) < 0)
		return err_set(e, -EPERM, "%s leads to what is no address", endpoint->base);
	plain = strcasecmp(y.scheme, "http") == 0;
	if (!is_http(&y))
		return err_set(
			e, -EPERM, "%s leads to %s, which is neither http nor https", endpoint->base, shown);
	if (plain && strcasecmp(x.scheme, "https") == 0 && !endpoint->insecure && !endpoint->try_http)
		return err_set(e, -EPERM, "%s leads from https to plain http, to %s", endpoint->base, shown);
	if (is_internal(y.host) && !may_lead_inside(x.host, y.host))
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
