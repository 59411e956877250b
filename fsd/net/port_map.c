#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "banger/cleanup.h"
#include "banger/io.h"
#include "banger/parse.h"
#include "net/port_map.h"

#define PORT_MAX 65535

struct range {
	uint16_t first, last;
};

static int parse_port(const char *text, uint16_t *ret, struct err *e)
{
	uint64_t v;
	int r = parse_u64(text, 1, PORT_MAX, &v);

	if (r < 0)
		return err_set(e, r, "'%.32s' is no port: 1 to %d", text, PORT_MAX);
	*ret = (uint16_t)v;
	return 0;
}

/* PORT or FIRST-LAST; TEXT is cut. */
static int parse_range(char *text, struct range *ret, struct err *e)
{
	char *last = strchr(text, '-');
	int r;

	if (last)
		*last++ = '\0';
	r = parse_port(text, &ret->first, e);
	if (r == 0)
		r = parse_port(last ? last : text, &ret->last, e);
	if (r == 0 && ret->last < ret->first)
		r = err_set(e, -EINVAL, "%u-%u: the first port is above the last", ret->first, ret->last);
	return r;
}

static int check_lowest(uint16_t port, uint16_t lowest, struct err *e)
{
	if (port >= lowest)
		return 0;
	return err_set(e, -EACCES,
		"%u: ports below %u are root's: take a higher one, or: sysctl -w "
		"net.ipv4.ip_unprivileged_port_start=%u",
		port, lowest, port);
}

static int add(struct port_map *m, const struct range *host, const struct range *guest, struct err *e)
{
	for (unsigned i = 0; i <= (unsigned)host->last - host->first; i++) {
		struct port_pair p = {(uint16_t)(host->first + i), (uint16_t)(guest->first + i)};

		if (port_map_has_host(m, p.host))
			return err_set(e, -EEXIST, "port %u of the host is there twice", p.host);
		if (m->count == PORT_MAP_MAX)
			return err_set(e, -E2BIG, "at most %d ports", PORT_MAP_MAX);
		m->pairs[m->count++] = p;
	}
	return 0;
}

/* LINE is cut. */
static int parse_line(char *line, uint16_t lowest, struct port_map *m, struct err *e)
{
	char *words[3] = {NULL}, *rest = line, *word;
	struct range a, b;
	size_t n = 0;
	int r;

	while ((word = strsep(&rest, " \t")))
		if (*word && n < 3)
			words[n++] = word;
	if (n != 2)
		return err_set(e, -EINVAL, "lines of HOST GUEST, or auto FIRST-LAST, are wanted");
	r = parse_range(words[1], &b, e);
	if (r == 0 && strcmp(words[0], "auto") == 0) {
		if (m->auto_first)
			return err_set(e, -EEXIST, "auto is there twice");
		r = check_lowest(b.first, lowest, e);
		m->auto_first = b.first;
		m->auto_last = b.last;
		return r;
	}
	if (r == 0)
		r = parse_range(words[0], &a, e);
	if (r < 0)
		return r;
	if (a.last - a.first != b.last - b.first)
		return err_set(
			e, -EINVAL, "%u-%u and %u-%u are not as many", a.first, a.last, b.first, b.last);
	r = check_lowest(a.first, lowest, e);
	return r < 0 ? r : add(m, &a, &b, e);
}

int port_map_parse(const char *text, uint16_t lowest, struct port_map *ret, struct err *e)
{
	_cleanup_free_ char *copy = strdup(text);
	_cleanup_free_ struct port_map *m = calloc(1, sizeof(*m));
	char *rest = copy, *line;
	int r = 0;

	if (!copy || !m)
		return err_sys(e, -ENOMEM, "ports");
	while (*text && r == 0 && (line = strsep(&rest, "\n")))
		r = parse_line(line, lowest, m, e);
	if (r == 0)
		*ret = *m;
	return r;
}

uint16_t port_map_lowest(void)
{
	_cleanup_free_ char *text = NULL;
	uint64_t v;

	if (io_read_file(AT_FDCWD, "/proc/sys/net/ipv4/ip_unprivileged_port_start", 64, &text, NULL, NULL) <
		0)
		return 1024;
	text[strcspn(text, "\n")] = '\0';
	return parse_u64(text, 0, PORT_MAX, &v) < 0 ? 1024 : (uint16_t)v;
}

bool port_map_has_host(const struct port_map *m, uint16_t host)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->pairs[i].host == host)
			return true;
	return false;
}

bool port_map_has_guest(const struct port_map *m, uint16_t guest)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->pairs[i].guest == guest)
			return true;
	return false;
}
