#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "net/address.h"

struct subnet subnet_of(const struct helper_hello *hello)
{
	struct subnet s = {.network = hello->network,
		.prefix = hello->prefix,
		.gateway = hello->gateway,
		.has_ip6 = hello->has_ip6};

	memcpy(s.prefix6, hello->prefix6, sizeof(s.prefix6));
	return s;
}

uint32_t subnet_last(const struct subnet *s)
{
	return s->prefix >= 31 ? 0 : (uint32_t)((1ull << (32 - s->prefix)) - 2);
}

uint32_t subnet_address(const struct subnet *s, uint32_t index)
{
	return s->network + index;
}

bool host_forwards_ip6(void)
{
	_cleanup_free_ char *value = NULL;

	return access("/proc/sys/net/ipv6/conf/default/force_forwarding", F_OK) == 0 ||
	       (io_read_file(AT_FDCWD, "/proc/sys/net/ipv6/conf/all/forwarding", 16, &value, NULL, NULL) ==
			       0 &&
		       value[0] != '0');
}

static unsigned resolvers_of(const char *path, uint32_t *ret, unsigned max)
{
	_cleanup_free_ char *text = NULL;
	char *rest, *line;
	unsigned n = 0;

	if (io_read_file(AT_FDCWD, path, 65536, &text, NULL, NULL) < 0)
		return 0;
	rest = text;
	while (n < max && (line = strsep(&rest, "\n"))) {
		uint32_t address;
		char *value;

		if (strncmp(line, "nameserver", 10) != 0)
			continue;
		value = line + 10 + strspn(line + 10, " \t");
		value[strcspn(value, " \t#;")] = '\0';
		if (parse_ipv4(value, &address) == 0 && address >> 24 != 127)
			ret[n++] = address;
	}
	return n;
}

unsigned resolvers_of_host(uint32_t *ret, unsigned max)
{
	unsigned n = resolvers_of("/etc/resolv.conf", ret, max);

	/* systemd-resolved.service(8): /etc/resolv.conf */
	return n > 0 ? n : resolvers_of("/run/systemd/resolve/resolv.conf", ret, max);
}

int dns_place_parse(const char *text, uint32_t *ret_address, uint16_t *ret_port, struct err *e)
{
	_cleanup_free_ char *host = strdup(text);
	char *colon = host ? strchr(host, ':') : NULL;
	uint32_t address;
	uint64_t port;

	if (!host)
		return err_sys(e, -ENOMEM, "dns");
	if (colon)
		*colon++ = '\0';
	if (!colon || parse_ipv4(host, &address) < 0 || address >> 24 != IN_LOOPBACKNET ||
		parse_u64(colon, 1, UINT16_MAX, &port) < 0)
		return err_set(e, -EINVAL,
			"'%.64s' is no place on loopback: 127.0.0.1:PORT, or nothing for none", text);
	*ret_address = address;
	*ret_port = (uint16_t)port;
	return 0;
}
