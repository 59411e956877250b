/*
 * Names of registries: HOST or HOST:PORT, as they stand in references, in settings and as folders' names. Pure functions, any thread.
 */
#ifndef BANGER_REGISTRY_HOST_NAME_H
#define BANGER_REGISTRY_HOST_NAME_H

#include <stdbool.h>
#include <stddef.h>

/*
 * By the grammar of distribution/reference: labels of letters, digits and '-' with single dots between them, or an IPv6 address in
 * brackets; then a port of 1 to 65535 if there is one. What passes has no '/', doesn't begin with '.', and is safe in a URL and as a file's name.
 */
bool host_name_valid(const char *s);

/* "docker.io" for each of the names that docker.io goes by, else HOST itself. */
const char *host_name_canonical(const char *host);

/* Whether the N bytes of NAME are HOST, in whatever case, or another name of docker.io's where HOST is one. */
bool host_name_same(const char *name, size_t n, const char *host);

#endif
