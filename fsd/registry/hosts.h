/*
 * How to reach a registry: addresses to try, https or http, certificates.
 *
 * Mirrors and insecure registries come from banger's own settings; certificates from certs.d/HOST (ca.crt or *.crt, client.cert with
 * client.key) in docker's and podman's folders. Blocks (reads folders): workers only.
 */
#ifndef BANGER_REGISTRY_HOSTS_H
#define BANGER_REGISTRY_HOSTS_H

#include <stdbool.h>
#include <stddef.h>

#include "banger/cleanup.h"
#include "banger/err.h"

struct hosts_config {
	const char *insecure; /* hosts ("10.0.0.1:5000"), blanks between: plain http, or https unverified */
	const char *
		mirrors; /* "docker.io=https://mirror.example ...", blanks between; tried in order before the registry itself */
	const char *home; /* ~/.config/containers/certs.d; NULL: none */
};

/* One place to ask. */
struct endpoint {
	char *base;    /* "https://registry-1.docker.io": no slash at the end */
	bool mirror;   /* what it hasn't may be at the next one; `?ns=HOST` is sent */
	bool insecure; /* certificates are not verified, http is allowed */
	bool try_http; /* https first; where nobody speaks it, http: loopback and insecure ones. A mirror that was
			   given as http:// has that in BASE, INSECURE set and this not */
	char *ca_file, *cert_file, *key_file; /* NULL: the system's, none */
};

/* Endpoints for HOST, the order in which they are tried; the last is the registry's own. -EINVAL: HOST or a setting is
 * malformed; a certs.d/HOST that can't be read is an error too. */
int hosts_endpoints(const struct hosts_config *config, const char *host, struct endpoint **ret, size_t *ret_n,
	struct err *e);
void endpoints_free(struct endpoint *list, size_t n);

/* For the settings' check: the syntax alone. -EINVAL. */
int hosts_check_insecure(const char *text, struct err *e);
int hosts_check_mirrors(const char *text, struct err *e);

/* localhost, *.localhost, 127/8, ::1, with or without a port. */
bool host_is_loopback(const char *host);
/* An address that isn't of the public internet: loopback, private (RFC 1918, RFC 4193), link-local, unspecified, shared (RFC 6598). NAME: no brackets or port. */
bool host_is_internal_address(const char *name);

#endif
