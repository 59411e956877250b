#include "registry/host_name.h"

#include "banger/cleanup.h"

#define DIGITS  "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool port_valid(const char *s)
{
	size_t n = strspn(s, DIGITS);
	unsigned port = 0;

	if (n == 0 || n > 5 || s[n])
		return false;
	for (; *s; s++)
		port = port * 10 + (unsigned)(*s - '0');
	return port >= 1 && port <= 65535;
}

bool host_name_valid(const char *s)
{
	if (*s == '[') {
		size_t n = strspn(s + 1, DIGITS "abcdefABCDEF:");

		if (n < 2 || s[n + 1] != ']')
			return false;
		s += n + 2;
		return !*s || (*s == ':' && port_valid(s + 1));
	}
	for (;;) {
		size_t n = strspn(s, LETTERS DIGITS "-");

		if (n == 0 || s[0] == '-' || s[n - 1] == '-')
			return false;
		s += n;
		if (!*s)
			return true;
		if (*s == ':')
			return port_valid(s + 1);
		if (*s++ != '.')
			return false;
	}
}

/* "docker.io" comes first: the one that references have. */
static const char *const docker[] = {"docker.io", "index.docker.io", "registry-1.docker.io"};

static bool equal(const char *name, size_t n, const char *other)
{
	return strlen(other) == n && strncasecmp(name, other, n) == 0;
}

static bool is_docker(const char *name, size_t n)
{
	for (size_t i = 0; i < ELEMENTSOF(docker); i++)
		if (equal(name, n, docker[i]))
			return true;
	return false;
}

const char *host_name_canonical(const char *host)
{
	return is_docker(host, strlen(host)) ? docker[0] : host;
}

bool host_name_same(const char *name, size_t n, const char *host)
{
	return equal(name, n, host) || (is_docker(name, n) && is_docker(host, strlen(host)));
}
