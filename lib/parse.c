#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "banger/parse.h"

/* Reads the digits at *S, leaves *S behind them. */
static int digits(const char **s, uint64_t *ret)
{
	const char *p = *s;
	uint64_t v = 0;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
			__builtin_add_overflow(v, (uint64_t)(*p - '0'), &v)) {
			/* Too large is a range error only if the rest is a number at all. */
			while (*p >= '0' && *p <= '9')
				p++;
			*s = p;
			return -ERANGE;
		}
	}
	*s = p;
	*ret = v;
	return 0;
}

int parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;
	int r = digits(&s, &v);

	if (r == -EINVAL || *s)
		return -EINVAL;
	if (r < 0 || v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int parse_size(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
	static const char units[] = "KMGT";
	uint64_t v = 0, factor = 1;
	int r = digits(&s, &v);

	if (r == -EINVAL)
		return -EINVAL;
	if (*s) {
		char upper = *s >= 'a' && *s <= 'z' ? (char)(*s - 'a' + 'A') : *s;
		const char *unit = strchr(units, upper);

		if (!unit || s[1])
			return -EINVAL;
		factor <<= 10 * (unit - units + 1);
	}
	if (r < 0 || __builtin_mul_overflow(v, factor, &v) || v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int parse_bool(const char *s, bool *ret)
{
	if ((s[0] != '0' && s[0] != '1') || s[1])
		return -EINVAL;
	*ret = s[0] == '1';
	return 0;
}

int parse_hex(const char *s, uint8_t *ret, size_t n)
{
	static const char hex[] = "0123456789abcdef";

	if (strlen(s) != 2 * n || strspn(s, hex) != 2 * n)
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		ret[i] = (uint8_t)((strchr(hex, s[2 * i]) - hex) << 4 | (strchr(hex, s[2 * i + 1]) - hex));
	return 0;
}

int parse_ipv4(const char *s, uint32_t *ret)
{
	struct in_addr a;

	if (inet_pton(AF_INET, s, &a) != 1)
		return -EINVAL;
	*ret = ntohl(a.s_addr);
	return 0;
}
