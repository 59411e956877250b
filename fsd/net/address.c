#include <fcntl.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "net/address.h"

uint32_t subnet_last(const struct subnet *s)
{
	return s->prefix >= 31 ? 0 : (uint32_t)((1ull << (32 - s->prefix)) - 2);
}

uint32_t subnet_address(const struct subnet *s, uint32_t index)
{
	return s->network + index;
}

unsigned resolvers_of_host(uint32_t *ret, unsigned max)
{
	_cleanup_free_ char *text = NULL;
	char *rest, *line;
	unsigned n = 0;

	if (io_read_file(AT_FDCWD, "/etc/resolv.conf", 65536, &text, NULL, NULL) < 0)
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
