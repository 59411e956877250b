#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>

#include "registry/hosts.h"

struct range {
	uint32_t first;
	unsigned bits;
};

static bool in_range(uint32_t address, struct range range)
{
	return (address ^ range.first) >> (32 - range.bits) == 0;
}

static bool ipv4_is_internal(uint32_t address)
{
	static const struct range ranges[] = {
		{0x00000000, 8},  /* 0/8: this network; 0.0.0.0 reaches the host itself */
		{0x0a000000, 8},  /* 10/8 */
		{0x64400000, 10}, /* 100.64/10: shared */
		{0x7f000000, 8},  /* 127/8: loopback */
		{0xa9fe0000, 16}, /* 169.254/16: link-local, clouds' metadata */
		{0xac100000, 12}, /* 172.16/12 */
		{0xc0a80000, 16}, /* 192.168/16 */
	};

	for (size_t i = 0; i < ELEMENTSOF(ranges); i++)
		if (in_range(address, ranges[i]))
			return true;
	return false;
}

static uint32_t word(const struct in6_addr *a, unsigned byte)
{
	uint32_t value;

	memcpy(&value, a->s6_addr + byte, sizeof(value));
	return ntohl(value);
}

/* The IPv4 address that a packet to A ends at, when A is only a way to write or to translate one. */
static bool ipv4_within(const struct in6_addr *a, uint32_t *ret)
{
	if (word(a, 0) == 0 && word(a, 4) == 0 && (word(a, 8) == 0 || word(a, 8) == 0xffff)) {
		*ret = word(a, 12); /* ::a.b.c.d (with :: and ::1 in 0/8), ::ffff:a.b.c.d */
		return true;
	}
	if (word(a, 0) == 0x0064ff9b && word(a, 4) == 0 && word(a, 8) == 0) {
		*ret = word(a, 12); /* RFC 6052: 64:ff9b::/96 */
		return true;
	}
	if (word(a, 0) >> 16 == 0x2002) {
		*ret = word(a, 2); /* RFC 3056: 6to4 */
		return true;
	}
	return false;
}

static bool ipv6_is_internal(const struct in6_addr *a)
{
	uint32_t v4, top = word(a, 0);

	if (ipv4_within(a, &v4))
		return ipv4_is_internal(v4);
	return top >> 25 == 0xfc >> 1 ||                     /* fc00::/7: unique local */
	       top >> 22 == 0xfe80 >> 6 ||                   /* fe80::/10: link-local */
	       top >> 22 == 0xfec0 >> 6 ||                   /* fec0::/10: site-local, as it was */
	       (top == 0x0064ff9b && word(a, 4) >> 16 == 1); /* RFC 8215: 64:ff9b:1::/48, local translation */
}

bool host_is_internal_address(const char *name)
{
	struct in6_addr v6;
	struct in_addr v4;
	_cleanup_free_ char *bare = strndup(name, strcspn(name, "%")); /* fe80::1%eth0 */

	/* Who is out of memory is told the safe thing. */
	if (!bare)
		return true;
	if (inet_pton(AF_INET6, bare, &v6) == 1)
		return ipv6_is_internal(&v6);
	/* Not inet_pton(): what connects takes 127.1 and 0x7f000001 too. */
	return inet_aton(bare, &v4) && ipv4_is_internal(ntohl(v4.s_addr));
}

static bool name_is_loopback(const char *name)
{
	static const char local[] = "localhost";
	size_t n = strlen(name), k = strlen(local);
	struct in6_addr v6;
	struct in_addr v4;
	uint32_t within;

	if (n >= k && strcasecmp(name + n - k, local) == 0)
		return n == k || name[n - k - 1] == '.';
	/* Strict here, as it makes for trust. */
	if (inet_pton(AF_INET, name, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	if (inet_pton(AF_INET6, name, &v6) != 1)
		return false;
	if (IN6_IS_ADDR_V4MAPPED(&v6))
		return ipv4_within(&v6, &within) && within >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&v6);
}

bool host_is_loopback(const char *host)
{
	const char *colon = strchr(host, ':');
	_cleanup_free_ char *name = NULL;

	if (*host == '[')
		name = strndup(host + 1, strcspn(host + 1, "]"));
	else if (colon && !strchr(colon + 1, ':'))
		name = strndup(host, (size_t)(colon - host));
	else
		name = strdup(host); /* no port, or an IPv6 address without brackets */
	return name && name_is_loopback(name);
}
